"""Runs, sessions and deliveries: read, listed, redriven, discarded."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from hookline import Delivery, InputCheckError, RunInput, RunOutput, guardrail, hook
from hookline.storage import RunRecord
from http_server import Serve, Served, problem, waiting_model
from server_process import wait_until


class Mendable:
    """A background hook that fails until it is mended."""

    def __init__(self) -> None:
        self.mended = threading.Event()
        self.keys: list[str] = []

    def hooks(self) -> list[Any]:
        @hook(run_in_background=True, retries=0)
        def breaks(delivery: Delivery) -> None:
            self.keys.append(delivery.idempotency_key)
            if not self.mended.is_set():
                raise RuntimeError("not mended yet")

        @hook(run_in_background=True)
        def works() -> None: ...

        return [breaks, works]


def dead_delivery(client: Served) -> dict[str, Any]:
    run = client.run_agent(session_id="s").json()
    found = wait_until(lambda: client.items("/deliveries", run_id=run["run_id"], status="dead"))
    return found[0]


def test_hooks_of_a_run(serve: Serve) -> None:
    def inline(run_input: RunInput) -> None: ...

    def failing(run_output: RunOutput) -> None:
        raise RuntimeError("on purpose")

    @hook(run_in_background=True)
    def early() -> None: ...

    client = serve(pre_hooks=[inline, early], post_hooks=[failing, *Mendable().hooks()])
    run_id = client.run_agent().json()["run_id"]

    def settled() -> list[dict[str, Any]] | None:
        found = client.items(f"/runs/{run_id}/hooks")
        return found if {each["status"] for each in found[2:]} <= {"delivered", "dead"} else None

    items = wait_until(settled)
    assert [(each["kind"], each["phase"], each["status"]) for each in items] == [
        ("inline", "pre", "completed"),
        ("inline", "post", "failed"),
        ("delivery", "pre", "delivered"),
        ("delivery", "post", "dead"),
        ("delivery", "post", "delivered"),
    ]
    assert [each["hook"].split(".")[-1] for each in items] == ["inline", "failing", "early", "breaks", "works"]
    for item in items:
        assert list(item) == [
            "kind", "hook", "phase", "plugin", "status", "started_at", "duration", "error", "guardrail_mode",
            "check_trigger", "delivery_id", "replay_id", "attempts",
        ]  # fmt: skip
        assert item["started_at"].endswith("Z")
    assert items[0]["delivery_id"] is None
    assert items[1]["error"]["message"] == "on purpose"
    assert "RuntimeError" in items[1]["error"]["traceback"]
    (attempt,) = items[3]["attempts"]
    assert list(attempt) == ["number", "started_at", "duration", "outcome", "error"]
    assert (attempt["number"], attempt["error"]["type"]) == (1, "RuntimeError")
    assert items[3]["error"] == attempt["error"]
    assert items[4]["error"] is None


def test_rejecting_guard_is_among_the_hooks(serve: Serve) -> None:
    @guardrail
    def refuse() -> None:
        raise InputCheckError("no", check_trigger="never")

    client = serve(pre_hooks=[refuse])
    run_id = client.run_agent().json()["run_id"]
    assert client.items(f"/runs/{run_id}/hooks")[0]["status"] == "rejected"


def test_sessions(client: Served) -> None:
    for number in range(3):
        client.run_agent(f"message {number}", session_id=f"s{number}", user_id=f"u{number % 2}")
    client.run_agent("again", session_id="s0")
    sessions = client.items("/sessions")
    assert [session["session_id"] for session in sessions] == ["s2", "s1", "s0"]
    assert list(sessions[0]) == ["session_id", "user_id", "session_state", "created_at", "updated_at"]
    assert client.get("/sessions/s2").json() == sessions[0]
    assert [session["session_id"] for session in client.items("/sessions", user_id="u0")] == ["s2", "s0"]
    runs = client.items("/sessions/s0/runs")
    assert [run["messages"][0]["content"] for run in runs] == ["again", "message 0"]
    assert runs[0] == client.get(f"/runs/{runs[0]['run_id']}").json()
    problem(client.get("/sessions/s9/runs"), 404, "not-found")


@pytest.mark.parametrize("path", ["/sessions", "/sessions/s/runs", "/deliveries", "/hooks"])
def test_pages(serve: Serve, path: str) -> None:
    client = serve(post_hooks=Mendable().hooks())
    client.run_agent(session_id="r")
    client.run_agent(session_id="s")
    client.run_agent(session_id="s")
    everything = client.items(path)
    assert len(everything) >= 2
    found, cursor = [], None
    while True:
        page = client.get(path, params={"limit": 1} | ({"cursor": cursor} if cursor else {})).json()
        assert list(page) == ["items", "next_cursor"]
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert len(page["items"]) == 1
    assert [identity(item) for item in found] == [identity(item) for item in everything]


def identity(item: dict[str, Any]) -> list[Any]:
    return [item.get(name) for name in ("run_id", "delivery_id", "session_id", "hook")]


LISTINGS = ["/sessions", "/deliveries", "/agents", "/plugins", "/hooks"]


@pytest.mark.parametrize("path", LISTINGS)
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=201", "limit"), ("limit=ten", "limit"), ("limit=", "limit"),
        ("limit=1&limit=2", "limit"), ("cursor=nonsense", "cursor"), ("cursor=%00", "cursor"), ("colour=red", "colour"),
    ],
)  # fmt: skip
def test_queries_that_are_refused(shared: Served, path: str, query: str, field: str) -> None:
    body = problem(shared.get(f"{path}?{query}"), 422, "invalid-request")
    assert [error["field"] for error in body["errors"]] == [field]


def test_filters_that_are_refused(shared: Served) -> None:
    problem(shared.get("/deliveries?status=lost"), 422, "invalid-request")
    problem(shared.get("/deliveries?hook=%00"), 422, "invalid-request")
    problem(shared.get("/runs/x?verbose=1"), 422, "invalid-request")
    problem(shared.get("/health?verbose=1"), 422, "invalid-request")


@pytest.mark.parametrize(
    "path",
    [
        "/runs/unknown", "/runs/unknown/hooks", "/runs/%00", "/runs/%ED%A0%80", "/sessions/unknown", "/sessions/a%00",
        "/sessions/unknown/runs", "/deliveries/unknown", "/deliveries/%0a", "/agents/unknown",
    ],
)  # fmt: skip
def test_ids_that_nothing_has(shared: Served, path: str) -> None:
    problem(shared.get(path), 404, "not-found")


def test_delivery(serve: Serve) -> None:
    client = serve(post_hooks=Mendable().hooks())
    delivery = dead_delivery(client)
    assert list(delivery) == [
        "delivery_id", "run_id", "runnable", "phase", "hook", "position", "status", "attempt_count", "max_attempts",
        "due_at", "last_error", "replay_id",
    ]  # fmt: skip
    assert delivery["last_error"] == "RuntimeError: not mended yet"
    assert client.get(f"/deliveries/{delivery['delivery_id']}").json() == delivery
    assert client.items("/deliveries", hook=delivery["hook"]) == [delivery]
    assert client.items("/deliveries", hook="nobody") == []


def test_redrive(serve: Serve) -> None:
    mendable = Mendable()
    client = serve(post_hooks=mendable.hooks())
    dead = dead_delivery(client)
    mendable.mended.set()
    path = f"/deliveries/{dead['delivery_id']}"
    redriven = client.post(f"{path}/redrive")
    assert redriven.status_code == 200
    assert redriven.json()["delivery_id"] == dead["delivery_id"]
    assert redriven.json()["status"] != "dead"
    wait_until(lambda: client.get(path).json()["status"] == "delivered")
    assert mendable.keys == [dead["delivery_id"]] * 2
    body = problem(client.post(f"{path}/redrive"), 409, "delivery-status")
    assert "delivered" in body["detail"]
    problem(client.post("/deliveries/unknown/redrive"), 404, "not-found")
    problem(client.post(f"{path}/redrive", data={"force": "true"}), 422, "invalid-request")


def test_discard(serve: Serve) -> None:
    client = serve(post_hooks=[_delayed()])
    run = client.run_agent().json()
    delivery = wait_until(
        lambda: [each for each in client.items("/deliveries", run_id=run["run_id"]) if each["attempt_count"]]
    )[0]
    path = f"/deliveries/{delivery['delivery_id']}"
    wait_until(lambda: client.get(path).json()["status"] == "pending")
    for fields in ({}, {"reason": " "}, {"reason": "x", "by": "me"}):
        problem(client.post(f"{path}/discard", data=fields), 422, "invalid-request")
    response = client.post(f"{path}/discard", json={"reason": "the customer has left"})
    assert response.status_code == 200
    assert response.json()["status"] == "discarded"
    problem(client.post(f"{path}/discard", data={"reason": "again"}), 409, "delivery-status")
    problem(client.post("/deliveries/unknown/discard", data={"reason": "x"}), 404, "not-found")


def _delayed() -> Any:
    @hook(run_in_background=True, retries=1000)
    def never_works() -> None:
        raise RuntimeError("never")

    return never_works


def test_run_of_another_server_cannot_be_cancelled_here(client: Served) -> None:
    record = RunRecord(
        run_id="elsewhere", session_id="s", user_id=None, runnable_kind="agent", runnable_id="demo",
        server_id="another", created_at=1.0,
    )  # fmt: skip
    client.thread.call(client.agent_os.storage.accept_run(record, []))
    body = problem(client.post("/runs/elsewhere/cancel"), 409, "run-elsewhere")
    assert body["run_id"] == "elsewhere"


def test_sessions_runs_show_what_is_running(serve: Serve) -> None:
    go = threading.Event()
    client = serve(waiting_model(go))
    run = client.run_agent(background="true", session_id="s", metadata='{"a": 1}').json()
    found = client.items("/sessions/s/runs")[0]
    assert (found["run_id"], found["status"], found["metadata"]) == (run["run_id"], "running", {"a": 1})
    assert found["finished_at"] is None
    go.set()
