"""Replays over HTTP: a background hook over runs that are stored."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from hookline import Delivery, RunOutput, guardrail, hook
from http_server import Serve, Served, problem
from server_process import wait_until


class Evaluation:
    """A hook that notes what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str | None]] = []

    def hooks(self) -> list[Any]:
        @hook(name="evaluate", run_in_background=True)
        def evaluate(run_output: RunOutput, delivery: Delivery) -> None:
            self.calls.append((run_output.run_id, delivery.replay_id))

        @hook(name="inline")
        def inline() -> None: ...

        @guardrail(name="guard")
        def guard() -> None: ...

        return [evaluate, inline, guard]


@pytest.fixture
def evaluation() -> Evaluation:
    """What the served agent's hook noted."""
    return Evaluation()


@pytest.fixture
def client(serve: Serve, evaluation: Evaluation) -> Served:
    """A client of a server that has made five runs."""
    served = serve(post_hooks=evaluation.hooks())
    for _ in range(5):
        served.run_agent()
    wait_until(lambda: len(evaluation.calls) == 5)
    return served


def ended(client: Served, replay_id: str) -> dict[str, Any]:
    """The replay, once all its deliveries are done."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/replays/{replay_id}").json()
        return found if found["status"] != "running" and found["delivered"] == found["made"] else None

    return wait_until(look)


def test_every_stored_run_gets_one_more_delivery(client: Served, evaluation: Evaluation) -> None:
    counted = client.post("/replays", json={"hook": "evaluate", "dry_run": True})
    assert counted.status_code == 200
    assert {name: counted.json()[name] for name in ("replay_id", "status", "matched", "made")} == {
        "replay_id": None, "status": "planned", "matched": 5, "made": 0,
    }  # fmt: skip
    response = client.post("/replays", json={"hook": "evaluate"})
    assert response.status_code == 201
    replay = ended(client, response.json()["replay_id"])
    assert (replay["status"], replay["matched"], replay["made"], replay["delivered"]) == ("completed", 5, 5, 5)
    assert (replay["runnables"], replay["statuses"]) == (["demo"], ["completed"])
    again = [run_id for run_id, replay_id in evaluation.calls if replay_id == replay["replay_id"]]
    assert Counter(again) == Counter(run_id for run_id, replay_id in evaluation.calls if replay_id is None)
    marked = client.items("/deliveries", replay_id=replay["replay_id"])
    assert len(marked) == 5
    hooks = client.items(f"/runs/{again[0]}/hooks")
    assert [each["replay_id"] for each in hooks if each["hook"] == "evaluate"] == [None, replay["replay_id"]]
    assert client.items("/replays") == [replay]


def test_slow_replay_is_paused_resumed_and_cancelled(client: Served, evaluation: Evaluation) -> None:
    path = (
        f"/replays/{client.post('/replays', data={'hook': 'evaluate', 'max_per_second': '0.01'}).json()['replay_id']}"
    )
    wait_until(lambda: client.get(path).json()["made"] == 1)
    assert client.post(f"{path}/pause").json()["status"] == "paused"
    assert client.items("/replays", status="running") == []
    assert client.post(f"{path}/resume").json()["status"] == "running"
    assert client.get(path).json()["made"] == 1, "the rate is kept across a pause"
    assert client.post(f"{path}/cancel").json()["status"] == "cancelled"
    for word in ("pause", "resume", "cancel"):
        problem(client.post(f"{path}/{word}"), 409, "replay-status")
    assert len(evaluation.calls) <= 6


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "hook"),
        ({"hook": "evaluat"}, "hook"),
        ({"hook": "inline"}, "hook"),
        ({"hook": "guard"}, "hook"),
        ({"hook": "evaluate", "phase": "pre"}, "hook"),
        ({"hook": "evaluate", "phase": "middle"}, "phase"),
        ({"hook": "evaluate", "runnable": "nobody"}, "runnable"),
        ({"hook": "evaluate", "status": "running"}, "status"),
        ({"hook": "evaluate", "since": "yesterday"}, "since"),
        ({"hook": "evaluate", "since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"hook": "evaluate", "until": "9999-12-31T23:59:59-14:00"}, "until"),
        ({"hook": "evaluate", "since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "since"),
        ({"hook": "evaluate", "max_per_second": 0}, "max_per_second"),
        ({"hook": "evaluate", "max_per_second": "NaN"}, "max_per_second"),
        ({"hook": "evaluate", "speed": 1}, "speed"),
    ],
)
def test_replay_that_has_no_meaning(client: Served, fields: dict[str, Any], field: str) -> None:
    body = problem(client.post("/replays", json=fields), 422, "invalid-request")
    assert [error["field"] for error in body["errors"]] == [field]
    assert client.items("/replays") == []


def test_unknown_replay(shared: Served) -> None:
    for method, path in (("GET", "/replays/x"), ("POST", "/replays/x/cancel"), ("GET", "/replays/%00")):
        problem(shared.request(method, path), 404, "not-found")
