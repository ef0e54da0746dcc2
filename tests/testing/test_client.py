"""The client of the fixtures: what it sees is what a client of a server sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from core_support import agent
from hookline import AgentOS, Settings
from hookline.testing import RunningAgentOS
from hookline_pytest.client import AppTransport
from hookline_sql import SqliteDb


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningAgentOS]:
    """What has the event loop."""
    settings = Settings(plugins=[])
    with RunningAgentOS(AgentOS(agents=[agent()], db=SqliteDb(tmp_path / "a.db"), settings=settings)) as running:
        yield running


def client_of(app: Any, running: RunningAgentOS, timeout: float = 20.0) -> httpx2.Client:
    """A client of any ASGI app."""
    return httpx2.Client(transport=AppTransport(app, running), base_url="http://127.0.0.1:7777", timeout=timeout)


def test_what_the_app_is_told(running: RunningAgentOS) -> None:
    told: dict[str, Any] = {}

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        told.update(scope, body=(await receive())["body"])
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"1"), (b"x-a", b"2")]})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        await send({"type": "http.response.body", "body": b"k"})
        told["after"] = await receive()

    running.state["opened"] = "by the lifespan"
    with client_of(app, running) as client:
        response = client.put("/a%20b/c?q=1&q=2", content=[b"he", b"llo"], headers={"X-Test": "Yes"})
    assert (response.status_code, response.text, response.headers.get_list("x-a")) == (201, "ok", ["1", "2"])
    assert {name: told[name] for name in ("method", "path", "raw_path", "query_string", "body")} == {
        "method": "PUT",
        "path": "/a b/c",
        "raw_path": b"/a%20b/c",
        "query_string": b"q=1&q=2",
        "body": b"hello",
    }
    assert (b"x-test", b"Yes") in told["headers"]
    assert (b"host", b"127.0.0.1:7777") in told["headers"]
    assert (told["state"], told["after"]) == ({"opened": "by the lifespan"}, {"type": "http.disconnect"})


def test_an_app_that_raises_is_a_500(running: RunningAgentOS, caplog: pytest.LogCaptureFixture) -> None:
    async def app(*_asgi: Any) -> None:
        raise LookupError("no such thing")

    with client_of(app, running) as client:
        assert client.get("/x").status_code == 500
    assert "the app failed at GET http://127.0.0.1:7777/x" in caplog.text
    assert "no such thing" in caplog.text


def test_an_app_that_says_nothing_is_a_500(running: RunningAgentOS) -> None:
    async def app(*_asgi: Any) -> None: ...

    with client_of(app, running) as client:
        assert client.get("/").status_code == 500


def test_an_answer_that_breaks_off_is_no_answer(running: RunningAgentOS) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"half of", "more_body": True})
        raise LookupError

    with client_of(app, running) as client, pytest.raises(httpx2.RemoteProtocolError, match="broke off"):
        client.get("/")


def test_an_app_that_never_answers_is_not_waited_for(running: RunningAgentOS) -> None:
    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        while True:
            await receive()

    with client_of(app, running, timeout=0.05) as client, pytest.raises(httpx2.ReadTimeout, match=r"for 0\.05 s"):
        client.get("/")


def test_a_client_that_outlives_the_system_can_be_closed(running: RunningAgentOS) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        while (await receive())["type"] != "http.disconnect":
            pass

    with client_of(app, running) as client, client.stream("GET", "/") as response:
        running.__exit__(None, None, None)
        response.close()
