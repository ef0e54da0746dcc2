"""Many deliveries at once: chosen by filters, counted, redriven, discarded; and what the statistics say of them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hookline import hook
from http_server import Serve, Served, problem
from server_process import wait_until


@pytest.fixture
def mended() -> threading.Event:
    """Set it, and the hook `breaks` works."""
    return threading.Event()


@pytest.fixture
def broken(serve: Serve, mended: threading.Event) -> Served:
    """A client of a server with four runs, two of them alice's, each with a dead and a delivered delivery."""

    @hook(name="breaks", run_in_background=True, retries=0)
    def breaks() -> None:
        if not mended.is_set():
            raise RuntimeError("not mended yet")

    @hook(name="works", run_in_background=True)
    def works() -> None: ...

    client = serve(post_hooks=[breaks, works])
    for number in range(4):
        client.run_agent(**({"user_id": "alice"} if number % 2 else {}))
    wait_until(lambda: len(client.items("/deliveries", status="dead")) == 4)
    wait_until(lambda: len(client.items("/deliveries", status="delivered")) == 4)
    return client


def now(offset: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=offset)).isoformat()


def test_deliveries_are_listed_by_filters(broken: Served) -> None:
    def count(**filters: str) -> int:
        return len(broken.items("/deliveries", **filters))

    assert count(runnable="demo") == 8
    assert count(runnable="nobody") == 0
    assert count(user_id="alice") == 4
    assert count(user_id="alice", hook="works") == 2
    assert count(created_before=now(-3600)) == 0
    assert count(created_after=now(-3600), status="dead") == 4
    assert count(created_after=now(3600)) == 0
    assert count(replay_id="unknown") == 0
    for filters in ("created_after=yesterday", "created_after=2026-11-21T10:00:00", "status=lost", "age=3"):
        problem(broken.get(f"/deliveries?{filters}"), 422, "invalid-request")


def test_redrive_by_filter(broken: Served, mended: threading.Event) -> None:
    assert broken.post("/deliveries/redrive", json={"status": "dead", "dry_run": True}).json() == {
        "matched": 4, "changed": 0, "dry_run": True,
    }  # fmt: skip
    assert len(broken.items("/deliveries", status="dead")) == 4
    mended.set()
    one = broken.post("/deliveries/redrive", data={"user_id": "alice", "limit": "1"})
    assert one.json() == {"matched": 1, "changed": 1, "dry_run": False}
    wait_until(lambda: len(broken.items("/deliveries", hook="breaks", status="delivered")) == 1)
    assert broken.post("/deliveries/redrive", json={"hook": "works"}).json()["changed"] == 0
    assert broken.post("/deliveries/redrive", json={"runnable": "demo"}).json() == {
        "matched": 3,
        "changed": 3,
        "dry_run": False,
    }
    wait_until(lambda: len(broken.items("/deliveries", hook="breaks", status="delivered")) == 4)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"status": "delivered"}, "status"),
        ({"limit": 0}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": True}, "limit"),
        ({"dry_run": "yes"}, "dry_run"),
        ({"created_after": "2026-11-21"}, "created_after"),
        ({"created_after": 7}, "created_after"),
        ({"hook": " "}, "hook"),
        ({"hooks": "breaks"}, "hooks"),
    ],
)
def test_redrive_refuses_what_it_does_not_know(shared: Served, fields: dict[str, Any], field: str) -> None:
    body = problem(shared.post("/deliveries/redrive", json=fields), 422, "invalid-request")
    assert [error["field"] for error in body["errors"]] == [field]


@pytest.mark.parametrize("fields", [{}, {"dry_run": True}, {"limit": 5}], ids=str)
@pytest.mark.parametrize(("what", "more"), [("redrive", {}), ("discard", {"reason": "nobody wants it"})])
def test_without_a_filter_nothing_is_meant(
    broken: Served, what: str, more: dict[str, Any], fields: dict[str, Any]
) -> None:
    body = problem(broken.post(f"/deliveries/{what}", json={**more, **fields}), 422, "invalid-request")
    assert [error["field"] for error in body["errors"]] == ["body"]
    assert "give at least one filter" in body["errors"][0]["message"]
    assert len(broken.items("/deliveries", status="dead")) == 4


def test_discard_by_filter(serve: Serve) -> None:
    @hook(name="never", run_in_background=True, retries=1000)
    def never() -> None:
        raise RuntimeError("never")

    client = serve(post_hooks=[never])
    for _ in range(3):
        client.run_agent()

    def waiting() -> bool:
        found = client.items("/deliveries", hook="never")
        return all(each["status"] == "pending" and each["attempt_count"] for each in found)

    wait_until(waiting)
    fields = {"hook": "never", "reason": "nobody wants it"}
    for wrong in ({"hook": "never"}, {"reason": "x"}, {"reason": " ", "hook": "never"}):
        problem(client.post("/deliveries/discard", json=wrong), 422, "invalid-request")
    assert client.post("/deliveries/discard", json={**fields, "dry_run": True}).json()["matched"] == 3
    # One of them may be attempted just now: what is running is not discarded.
    wait_until(lambda: client.post("/deliveries/discard", json=fields).json()["matched"] == 0)
    wait_until(lambda: len(client.items("/deliveries", status="discarded")) == 3)


def test_statistics_of_hooks(broken: Served) -> None:
    breaks, works = sorted(broken.items("/hooks/stats"), key=lambda item: str(item["hook"]))
    assert (breaks["runnable"], breaks["phase"], breaks["hook"]) == ("demo", "post", "breaks")
    for span in ("last_hour", "last_day"):
        counts = {name: breaks[span][name] for name in ("count", "delivered", "dead", "discarded", "failed")}
        assert counts == {"count": 4, "delivered": 0, "dead": 4, "discarded": 0, "failed": 4}
        assert (works[span]["count"], works[span]["delivered"], works[span]["failed"]) == (4, 4, 0)
        for spread in (works[span]["wait"], works[span]["duration"]):
            assert 0.0 <= spread["p50"] <= spread["p95"] < 60.0


def test_statistics_of_an_idle_server(shared: Served) -> None:
    assert shared.items("/hooks/stats") == []
