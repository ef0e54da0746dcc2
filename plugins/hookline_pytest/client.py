"""An HTTP client of an app on another event loop of this process; what it sees is what a client of a server sees."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
from collections.abc import Iterator
from typing import Any

import httpx2

from hookline import ConfigurationError
from hookline.testing import RunningAgentOS

logger = logging.getLogger("hookline.testing")

ADDRESS = ("127.0.0.1", 7777)
TIMEOUT = 30.0
"""Seconds without anything from the app."""


def client_of(running: RunningAgentOS) -> httpx2.Client:
    """A client of the app that serves a running AgentOS.

    Raises:
        ConfigurationError: there is no transport for it.
    """
    app = running.app if running.app is not None else running.served.get_app()
    base_url = "http://{}:{}".format(*ADDRESS)
    return httpx2.Client(transport=AppTransport(app, running), base_url=base_url, timeout=TIMEOUT, trust_env=False)


class AppTransport(httpx2.BaseTransport):
    """Carries requests to an ASGI app on the event loop of a running AgentOS."""

    def __init__(self, app: Any, running: RunningAgentOS) -> None:
        self._app = app
        self._running = running

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; returns as soon as the app has begun to answer.

        Raises:
            httpx2.ReadTimeout: nothing came in time.
        """
        exchange = _Exchange(_scope_of(request, self._running.state), request)
        self._running.start(exchange.serve(self._app))
        head = exchange.next_message()
        body = _Body(exchange, self._running)
        return httpx2.Response(head["status"], headers=head.get("headers", ()), stream=body)


class _Exchange:
    """One request and its answer; the app's side is on the event loop, the client's in the test's thread."""

    def __init__(self, scope: dict[str, Any], request: httpx2.Request) -> None:
        self._scope = scope
        self._request = request
        self._body: bytes | None = request.read()
        self._timeout = request.extensions.get("timeout", {}).get("read")
        self._said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._has_begun = False
        self.over = asyncio.Event()

    async def serve(self, app: Any) -> None:
        """Let the app answer."""
        try:
            await app(self._scope, self._receive, self._send)
        except Exception:
            logger.exception("the app failed at %s %s", self._request.method, self._request.url)
        if not self._has_begun:
            await self._send({"type": "http.response.start", "status": 500, "headers": []})
            await self._send({"type": "http.response.body", "body": b"Internal Server Error"})
        self._said.put({"type": "end"})

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self._has_begun = True
        if message["type"] == "http.response.body":
            if self._request.method == "HEAD":
                message = {**message, "body": b""}
            if not message.get("more_body", False):
                self.over.set()
        self._said.put(message)

    async def leave(self) -> None:
        """The client has read all that it wants."""
        self.over.set()

    def next_message(self) -> dict[str, Any]:
        """What the app says next; for the client's thread."""
        try:
            message = self._said.get(timeout=self._timeout)
        except queue.Empty:
            what = f"nothing came from the app for {self._timeout:g} s"
            raise httpx2.ReadTimeout(what, request=self._request) from None
        return message

    def body(self) -> Iterator[bytes]:
        """The body, until the app has returned: what it does after its answer is then done too."""
        is_complete = False
        while (message := self.next_message())["type"] != "end":
            if message["type"] == "http.response.body":
                is_complete = not message.get("more_body", False)
                yield message.get("body", b"")
        if not is_complete:
            raise httpx2.RemoteProtocolError("the app broke off its answer: see the log", request=self._request)


class _Body(httpx2.SyncByteStream):
    """The body of an answer, as it is written; closing it before its end is a client that leaves."""

    def __init__(self, exchange: _Exchange, running: RunningAgentOS) -> None:
        self._exchange = exchange
        self._running = running

    def __iter__(self) -> Iterator[bytes]:
        return self._exchange.body()

    def close(self) -> None:
        with contextlib.suppress(ConfigurationError):  # it has ended meanwhile, and the exchange with it
            self._running.start(self._exchange.leave())


def _scope_of(request: httpx2.Request, state: dict[str, Any]) -> dict[str, Any]:
    url = request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "query_string": url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 50000),
        "server": ADDRESS,
        "state": dict(state),
    }
