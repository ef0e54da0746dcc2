"""Server-sent events."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2

from hookline import EventName, OutputCheckError, RunEvent, RunOutput, guardrail, hook
from hookline.testing import ScriptedModel
from hookline_fastapi.event_stream import frame_of
from http_server import FailingDb, Serve, Served, parse_events, problem, waiting_model
from server_process import wait_until


def open_stream(client: Served, **fields: str) -> socket.socket:
    """Send a streaming run and read until its first event."""
    body = urlencode({"message": "hello", "stream": "true", **fields}).encode()
    reader = socket.create_connection(client.address)
    head = (
        "POST /agents/demo/runs HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader.sendall(head.encode() + body)
    received = b""
    while b"RunStarted" not in received:
        received += reader.recv(65536)
    return reader


def test_events_in_order(serve: Serve) -> None:
    @hook(run_in_background=True)
    def later() -> None: ...

    client = serve(ScriptedModel("one two three"), post_hooks=[later])
    response = client.run_agent(stream="true")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    events = parse_events(response.text)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    names = [event["event"] for event in events]
    assert names[0] == "RunStarted"
    assert names[-1] == "RunCompleted"
    assert "HookScheduled" in names
    assert "".join(event["content"] for event in events if event["event"] == "RunContent") == "one two three"
    run = events[-1]["run"]
    assert run == client.get(f"/runs/{run['run_id']}").json()


def test_heartbeat(serve: Serve) -> None:
    go = threading.Event()
    client = serve(waiting_model(go), sse_ping=0.05)
    with client.stream("POST", "/agents/demo/runs", data={"message": "a", "stream": "true"}) as response:
        pings = 0
        for line in response.iter_lines():
            pings += line == ": ping"
            if pings == 2:
                go.set()
                break
    assert pings == 2


def test_failed_run_ends_its_stream_with_run_failed(serve: Serve) -> None:
    events = serve(ScriptedModel()).stream_agent()
    assert events[-1]["event"] == "RunFailed"
    assert events[-1]["run"]["reason"] == "model_error"


def test_output_that_a_guard_refuses_is_in_no_event(serve: Serve) -> None:
    @guardrail
    def refuse(run_output: RunOutput) -> None:
        raise OutputCheckError(f"bad: {run_output.content}", check_trigger="bad")

    response = serve(ScriptedModel("the secret"), post_hooks=[refuse]).run_agent(stream="true")
    events = parse_events(response.text)
    assert events[-1]["event"] == "RunRejected"
    assert not [event for event in events if event["event"] == "RunContent"]


def test_outcome_that_cannot_be_stored_is_a_run_failed(serve: Serve, tmp_path: Path) -> None:
    db = FailingDb(str(tmp_path / "failing.db"), failing="finish_run")
    events = serve(db=db).stream_agent()
    last = events[-1]
    assert (last["event"], last["run"]["status"], last["run"]["reason"]) == ("RunFailed", "failed", "not_stored")
    assert last["sequence"] == len(events)


def test_stream_that_cannot_be_accepted_is_a_503(serve: Serve, tmp_path: Path) -> None:
    db = FailingDb(str(tmp_path / "failing.db"), failing="accept_run")
    problem(serve(db=db).run_agent(stream="true"), 503, "storage-unavailable")


def test_run_goes_on_when_its_reader_leaves(serve: Serve) -> None:
    go = threading.Event()
    called = threading.Event()

    @hook(run_in_background=True)
    def note() -> None:
        called.set()

    client = serve(waiting_model(go), post_hooks=[note])
    open_stream(client, session_id="s").close()
    go.set()
    run = wait_until(lambda: [run for run in client.items("/sessions/s/runs") if run["status"] == "completed"])[0]
    assert run["content"] == "late answer"
    assert called.wait(10)


def test_reader_that_leaves_cancels_the_run_where_settings_say_so(serve: Serve) -> None:
    client = serve(waiting_model(), cancel_on_disconnect=True)
    open_stream(client, session_id="s").close()
    wait_until(lambda: [run for run in client.items("/sessions/s/runs") if run["status"] == "cancelled"])


def test_client_that_leaves_without_a_stream_cancels_too(serve: Serve) -> None:
    client = serve(waiting_model(), cancel_on_disconnect=True)
    sender = threading.Thread(target=_post_and_give_up, args=(client,))
    sender.start()
    sender.join()
    wait_until(lambda: [run for run in client.items("/sessions/s/runs") if run["status"] == "cancelled"])


def _post_and_give_up(client: Served) -> None:
    with httpx2.Client(base_url=client.base_url, timeout=0.5) as impatient:
        try:
            impatient.post("/agents/demo/runs", data={"message": "a", "session_id": "s"})
        except httpx2.TimeoutException:
            return
    raise AssertionError("the run should have waited")


def test_streaming_leaves_no_task_behind(serve: Serve) -> None:
    client = serve()
    for _ in range(3):
        client.stream_agent()
    names = client.thread.call(_task_names())
    assert not [name for name in names if "EventStream" in name or "_wait_for_leave" in name]


async def _task_names() -> list[str]:
    return [repr(task.get_coro()) for task in asyncio.all_tasks()]


def test_frames() -> None:
    event = RunEvent(EventName.RUN_CONTENT, "r", 3, {"content": "a\nb\u2028\ud800"})
    frame = frame_of(event)
    assert frame.startswith(b"id: 3\nevent: RunContent\ndata: {")
    assert frame.endswith(b"}\n\n")
    assert frame.count(b"\n") == 4
    assert json.loads(frame.split(b"data: ")[1])["content"] == "a\nb\u2028\ud800"


def test_terminal_frame_carries_the_document_as_it_is() -> None:
    event = RunEvent(EventName.RUN_FAILED, "r", 9, {"run": {"a": 1}, "content_released": True})
    data: dict[str, Any] = json.loads(frame_of(event, '{"a": 1 }').split(b"data: ")[1])
    assert data == {"event": "RunFailed", "run_id": "r", "sequence": 9, "content_released": True, "run": {"a": 1}}
    assert b'"run":{"a": 1 }}' in frame_of(event, '{"a": 1 }')
