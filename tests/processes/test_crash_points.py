"""Every crash point of a run over HTTP: the process ends before and after each operation of the storage.

The server is started again each time, on the same ledger; what it finds there it brings to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server_process import ServerProcess, wait_until

pytestmark = pytest.mark.process

HOOKS = ["pre", "slow", "stumbling", "last"]
OF_A_RUN = ["lock_session", "accept_run", "finish_run", "exchange: start", "exchange: settle"]
OF_A_TAKEOVER = ["list_servers", "list_orphans", "get_session", "finish_run", "release_line", "take_over"]
POINTS = [f"{operation} {moment}" for operation in OF_A_RUN for moment in ("before", "after")] + [
    "exchange: scan before",
    "exchange: claim after",
    "beat before",
    "beat after",
]

LEFT = {
    "lock_session-before": [],
    "lock_session-after": [],
    "accept_run-before": [],
    "accept_run-after": ["failed"],
    "finish_run-before": ["failed"],
    "finish_run-after": ["completed"],
}
"""What is left of the run, by the session that is named for the point."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, app="crashing_app.py", env={"PYTHONPATH": os.pathsep.join(sys.path)}) as server:
        yield server


def answers(server: ServerProcess) -> bool:
    try:
        return server.client.get("/health").status_code == 200
    except httpx2.TransportError:
        return False


def ends(server: ServerProcess) -> int:
    """How many processes have ended so far."""
    return sum("ended" in line for line in server.events())


def ask(server: ServerProcess, mode: str, message: str) -> str:
    """Run over HTTP; returns what was said: `completed`, `accepted` or `nothing`."""
    fields = {"message": message, "session_id": message.replace(" ", "-").replace(":", "-"), "stream": "false"}
    fields |= {"json": {}, "stream": {"stream": "true"}, "detached": {"background": "true"}}[mode]
    try:
        answer = server.client.post("/agents/a/runs", data=fields)
    except httpx2.TransportError:
        return "nothing"
    assert answer.status_code == {"json": 200, "stream": 200, "detached": 202}[mode], answer.text
    if mode == "stream":
        return "completed" if "event: RunCompleted" in answer.text else "nothing"
    return "accepted" if mode == "detached" else answer.json()["status"]


def crash(server: ServerProcess, point: str, mode: str) -> tuple[str, str]:
    """Run, and end the process at a point of it; returns the run's session and what the client was told."""
    before = ends(server)
    (server.directory / "point").write_text(point)
    message = f"{mode} {point}"
    said = ask(server, mode, message)
    wait_until(lambda: ends(server) > before, what=f"the end at: {point}")
    wait_until(lambda: answers(server), what="the next process")
    return message.replace(" ", "-").replace(":", "-"), said


def is_quiet(server: ServerProcess) -> bool:
    return not any(server.deliveries(status=status) for status in ("waiting", "pending", "running"))


def runs_of(server: ServerProcess, session_id: str) -> list[dict[str, Any]]:
    answer = server.client.get(f"/sessions/{session_id}/runs")
    assert answer.status_code in (200, 404), answer.text
    items: list[dict[str, Any]] = answer.json()["items"] if answer.status_code == 200 else []
    return items


def all_ended(server: ServerProcess, session_ids: Iterable[str]) -> bool:
    return not any(run["status"] == "running" for session_id in session_ids for run in runs_of(server, session_id))


def check(server: ServerProcess, told: dict[str, str]) -> None:
    """The promises, of all runs, once nothing is left to be done."""
    wait_until(lambda: all_ended(server, told), what="the end of all runs")
    wait_until(lambda: is_quiet(server), what="the end of all deliveries")
    for session_id, said in told.items():
        runs = runs_of(server, session_id)
        assert len(runs) <= 1
        assert runs or said == "nothing", f"{session_id}: {said}, and not stored"
        for run in runs:
            assert said != "completed" or run["status"] == "completed", session_id
            rows = server.deliveries(run_id=run["run_id"])
            assert [(row["hook"], row["status"]) for row in rows] == [(name, "delivered") for name in HOOKS], session_id
            starts = [line["hook"] for line in server.events(run_id=run["run_id"], event="start")]
            assert list(dict.fromkeys(starts)) == HOOKS, session_id
    for row in server.deliveries():
        assert server.client.get(f"/runs/{row['run_id']}").status_code == 200
    asked = [line["model"] for line in server.events() if "model" in line]
    assert len(asked) == len(set(asked)), "a model call was repeated"


@pytest.mark.parametrize("mode", ["json", "stream", "detached"])
def test_a_process_that_ends_at_any_point_of_a_run_loses_nothing(server: ServerProcess, mode: str) -> None:
    told: dict[str, str] = {}
    for point in POINTS:
        wait_until(lambda: all_ended(server, told), what="the end of earlier runs")
        session_id, told[session_id] = crash(server, point, mode)
    check(server, told)
    left = {session_id.removeprefix(f"{mode}-"): runs_of(server, session_id) for session_id in told}
    assert {point: [run["status"] for run in left[point]] for point in LEFT} == LEFT
    assert {line["ended"] for line in server.events() if "ended" in line} == {9}
    said = set(told.values())
    assert "nothing" in said
    assert len(said) == 2, "some were answered"


def test_a_process_that_ends_while_it_takes_over_loses_nothing(server: ServerProcess) -> None:
    """A process is killed in mid run; the next one ends where it takes the run over; the one after that does it."""
    told = {}
    for point in (f"{operation} {moment}" for operation in OF_A_TAKEOVER for moment in ("before", "after")):
        message = f"wait {point}"
        session_id = message.replace(" ", "-").replace(":", "-")
        told[session_id] = ask(server, "detached", message)
        model_called = {"model": message}
        wait_until(lambda: server.events(**model_called), what="the model's call")  # noqa: B023 - called at once
        before = ends(server)
        (server.directory / "point").write_text(point)
        kill_child(server)
        wait_until(lambda: ends(server) >= before + 2, what=f"the end at: {point}")  # noqa: B023 - called at once
        wait_until(lambda: answers(server), what="the next process")
    check(server, told)
    statuses = {(run["status"], run["reason"]) for session_id in told for run in runs_of(server, session_id)}
    assert statuses == {("failed", "interrupted")}


def kill_child(server: ServerProcess) -> None:
    """SIGKILL for the process that serves, as its last event tells."""
    pid = server.events()[-1]["pid"]
    assert pid != server.pid, json.dumps(server.events()[-1])
    os.kill(pid, signal.SIGKILL)
