"""Whatever is wrong with the model: a 502, in a stream `RunFailed`, and a failed run that is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hookline_openai import OpenAIChat
from http_server import Serve, Served, problem
from server_process import free_port
from stub_openai import StubProcess, marker

FAILURES = {
    "401": marker(status=401),
    "429": marker(status=429),
    "500": marker(status=500),
    "503": marker(status=503),
    "drop": marker(drop=0),
    "garbage": marker(garbage="json"),
    "web page": marker(garbage="html"),
    "wrong shape": marker(garbage="list"),
    "no choices": marker(garbage="empty"),
}

STREAM_FAILURES = {
    "401": marker(status=401),
    "429": marker(status=429),
    "500": marker(status=500),
    "drop in the middle": marker(chunks=3, drop=2),
    "end in the middle": marker(chunks=3, eof=2),
    "error in the middle": marker(chunks=3, error=1),
    "garbage": marker(garbage="json"),
}


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProcess]:
    with StubProcess() as process:
        yield process


@pytest.fixture
def client(serve: Serve, stub: StubProcess) -> Served:
    return serve(OpenAIChat("test-model", api_key="sk-test-0123456789", base_url=stub.base_url, max_retries=0))


def check_stored(client: Served, run_id: str) -> dict[str, Any]:
    run: dict[str, Any] = client.get(f"/runs/{run_id}").json()
    assert (run["status"], run["reason"], run["error"]["type"]) == ("failed", "model_error", "Model")
    return run


@pytest.mark.parametrize("name", FAILURES)
def test_failure_is_a_502(client: Served, name: str) -> None:
    body = problem(client.run_agent(FAILURES[name], session_id="s"), 502, "model-error")
    check_stored(client, body["run_id"])
    assert client.run_agent("good", session_id="s").json()["content"] == "You said: good"


@pytest.mark.parametrize("name", STREAM_FAILURES)
def test_failure_in_a_stream_is_a_run_failed(client: Served, name: str) -> None:
    events = client.stream_agent(STREAM_FAILURES[name], session_id="s")
    assert [event["event"] for event in events if event["event"].startswith("Run")][-1] == "RunFailed"
    assert events[-1]["run"] == check_stored(client, events[-1]["run_id"])
    assert client.stream_agent("good", session_id="s")[-1]["run"]["content"] == "You said: good"


@pytest.mark.parametrize("name", ["unreachable", "no key"])
def test_model_that_is_never_reached(serve: Serve, name: str) -> None:
    key = None if name == "no key" else "sk-test-0123456789"
    model = OpenAIChat("test-model", api_key=key, base_url=f"http://127.0.0.1:{free_port()}/v1", max_retries=0)
    client = serve(model)
    body = problem(client.run_agent(), 502, "model-error")
    check_stored(client, body["run_id"])
    events = client.stream_agent()
    assert events[-1]["event"] == "RunFailed"
    check_stored(client, events[-1]["run_id"])
    if name == "no key":
        assert "OPENAI_API_KEY" in body["detail"]
    assert client.get("/ready").status_code == 200


def test_missing_key_in_a_detached_run(serve: Serve) -> None:
    client = serve(OpenAIChat("test-model", max_retries=0))
    accepted = client.run_agent(background="true")
    assert accepted.status_code == 202
    client.thread.call(client.agent_os.drain())
    check_stored(client, accepted.json()["run_id"])
