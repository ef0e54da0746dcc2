"""Runs over real HTTP with the real client of the model: streams, sessions, guards, a locked database."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from server_process import Serve, ServerProcess, wait_until
from stub_openai import StubProcess, marker

pytestmark = pytest.mark.process


@contextmanager
def locked(server: ServerProcess) -> Iterator[None]:
    """Hold the ledger's write lock, from another connection."""
    connection = sqlite3.connect(server.directory / "ledger.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


def test_the_first_content_arrives_before_the_second_chunk_is_sent(serve: Serve, stub: StubProcess) -> None:
    server = serve()
    message = "go " + marker(chunks=3, gate="second", after=1)
    seen: list[str] = []
    data = {"message": message, "stream": "true"}
    with server.client.stream("POST", "/agents/a/runs", data=data) as response:
        for line in response.iter_lines():
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: "))
            if line == "event: RunContent" and seen.count("RunContent") == 1:
                stub.wait_at_gate("second")
                stub.open_gate("second")
    assert seen.count("RunContent") == 3
    assert seen[0] == "RunStarted"
    assert seen[-1] == "RunCompleted"


def test_a_reader_that_leaves_ends_nothing(serve: Serve, stub: StubProcess) -> None:
    server = serve("three")
    message = "go " + marker(chunks=3, gate="second", after=1)
    data = {"message": message, "stream": "true", "session_id": "s"}
    with server.client.stream("POST", "/agents/a/runs", data=data) as response:
        for line in response.iter_lines():
            if line == "event: RunContent":
                break
    stub.open_gate("second")
    [run] = wait_until(lambda: server.get("/sessions/s/runs")["items"], what="the run")
    wait_until(lambda: server.get(f"/runs/{run['run_id']}")["status"] == "completed", what="the run's end")
    server.wait_delivered(run["run_id"])


def test_cancel_closes_the_models_connection(serve: Serve, stub: StubProcess) -> None:
    server = serve("three")
    answer = server.client.post("/agents/a/runs", data={"message": "go " + marker(gate="never"), "background": "true"})
    run_id = answer.json()["run_id"]
    stub.wait_at_gate("never")
    assert server.client.post(f"/runs/{run_id}/cancel").status_code == 202
    wait_until(lambda: server.get(f"/runs/{run_id}")["status"] == "cancelled", what="the cancellation")
    wait_until(lambda: stub.stats()["aborted"] == 1, what="the end of the model's connection")
    assert server.client.post(f"/runs/{run_id}/cancel").status_code == 409


@pytest.mark.parametrize("hooks", ["input-guard-down", "output-guard-down"])
@pytest.mark.parametrize("stream", ["true", "false"])
def test_a_guard_whose_backend_is_down_fails_closed(serve: Serve, stub: StubProcess, hooks: str, stream: str) -> None:
    server = serve(hooks)
    message = "say it " + marker(text="the secret text")
    answer = server.client.post("/agents/a/runs", data={"message": message, "stream": stream})
    assert "the secret text" not in answer.text
    if stream == "false" or hooks == "input-guard-down":
        assert answer.status_code == 500
        run_id = answer.json()["run_id"]
    else:
        terminal = json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))
        assert terminal["event"] == "RunFailed"
        run_id = terminal["run_id"]
    run = server.client.get(f"/runs/{run_id}")
    assert run.json()["status"] == "failed"
    assert "the secret text" not in run.text
    assert stub.stats()["calls"] == (0 if hooks == "input-guard-down" else 1)


def test_fifty_runs_at_once_on_one_session(serve: Serve, stub: StubProcess) -> None:
    server = serve("count")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: server.post_run(session_id="s"), range(50)))
    assert [answer.status_code for answer in answers] == [200] * 50
    assert len(server.get("/sessions/s/runs", limit=200)["items"]) == 50
    assert server.get("/sessions/s")["session_state"] == {"n": 50}


def test_a_database_that_is_locked_for_three_seconds(serve: Serve) -> None:
    server = serve("three")
    assert server.post_run().status_code == 200
    with ThreadPoolExecutor(1) as pool, locked(server):
        waiting = pool.submit(server.post_run)
        begun = time.monotonic()
        while time.monotonic() - begun < 3:
            assert server.client.get("/health").status_code == 200
            assert server.client.get("/agents").status_code == 200
            assert server.client.get("/deliveries").status_code == 200
    run = waiting.result()
    assert run.status_code == 200
    server.wait_delivered(run.json()["run_id"])


def test_a_database_that_is_locked_for_twelve_seconds(serve: Serve, stub: StubProcess) -> None:
    server = serve("three")
    assert server.post_run().status_code == 200
    calls = stub.stats()["calls"]
    with ThreadPoolExecutor(1) as pool, locked(server):
        refused = pool.submit(server.post_run)
        begun = time.monotonic()
        while time.monotonic() - begun < 12:
            assert server.client.get("/health").status_code == 200
            assert server.client.get("/agents").status_code == 200
            threading.Event().wait(0.05)
        answer = refused.result()
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert stub.stats()["calls"] == calls
    assert len(server.get("/sessions")["items"]) == 1  # nothing of the refused run is stored
    again = server.post_run()
    assert again.status_code == 200
    server.wait_delivered(again.json()["run_id"])


def test_a_database_that_is_locked_between_the_commits(serve: Serve, stub: StubProcess) -> None:
    server = serve("three")
    message = "go " + marker(gate="locked")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.post_run, message, session_id="s")
        stub.wait_at_gate("locked")
        with locked(server):
            stub.open_gate("locked")
            answer = waiting.result()
            assert answer.status_code == 503
    [run] = server.get("/sessions/s/runs")["items"]
    wait_until(lambda: server.get(f"/runs/{run['run_id']}")["status"] == "failed", what="the run's end in the ledger")
    assert server.get(f"/runs/{run['run_id']}")["reason"] == "not_stored"
    assert server.get("/deliveries", run_id=run["run_id"])["items"] == []
    assert server.post_run(session_id="s").status_code == 200


def test_the_ledger_is_where_it_was_said(serve: Serve, tmp_path: Path) -> None:
    server = serve("three")
    run_id = server.post_run().json()["run_id"]
    server.wait_delivered(run_id)
    connection = sqlite3.connect(tmp_path / "ledger.db")
    [(count,)] = connection.execute("SELECT count(*) FROM hookline_deliveries WHERE run_id = ?", (run_id,))
    connection.close()
    assert count == 3
