"""A stub of OpenAI's chat completions API and its Responses API, steered by the messages that it gets.

**In a test's own event loop**

    async with StubOpenAI() as stub:
        model = OpenAIChat(base_url=stub.base_url, api_key="test")
        ...
        assert stub.stats.calls == 1

**As a process**: `python stub_openai.py --port 0` prints one line, `{"port": 40123, "base_url": "http://..."}`,
and serves until it is ended. `StubProcess` starts one, and gives its `base_url`, `stats()`,
`open_gate()` and `wait_at_gate()`.

**Steering.** Without a marker the stub answers `You said: <the last user message>`, in a stream word by word.
A marker anywhere in the last user message steers this one call; `marker(status=500)` writes one, with each
value percent-encoded:

    [[stub latency=0.5 chunks=3 gate=a after=1]]

| option | what the call does |
|---|---|
| `text=T` | answers T |
| `chunks=N` | answers in exactly N pieces, `piece-1 piece-2 ...` where no `text` is given |
| `latency=S` | waits S seconds before the first byte |
| `delay=S` | waits S seconds before each further piece |
| `gate=NAME after=N` | after N pieces (default 0; not streaming: before the answer) waits at the gate |
| `status=CODE` | answers an error; with `times=N` only the first N calls of this very message do |
| `message=T` | the text of that error |
| `retry_after=S` | adds the header `Retry-After` to it |
| `drop=N` | breaks the connection after N pieces (not streaming: before the answer) |
| `eof=N` | ends the stream in order after N pieces, without a finish reason and without `[DONE]` |
| `error=N` | sends an error event instead of piece N + 1 |
| `garbage=KIND` | `json`: broken JSON; `html`: a web page; `list empty null text parts`: wrong shapes |
| `tool=NAME:JSON` | calls a tool (again: one more at once), unless the last message is a tool's result |
| `ids=no`, `index=no` | leaves these out of tool calls |
| `finish=REASON` | the finish reason (`stop` or `tool_calls` otherwise), or what becomes of it in a response |
| `reasoning=T` | reasons so before it answers |
| `refusal=T` | refuses |
| `failed=T` | (responses) ends with the status `failed` and that error |
| `usage=no` | reports no usage |

**Other requests.** `GET /stats` answers what `Stats` holds. `POST /gates/NAME` opens a gate, for good;
`GET /gates/NAME` tells whether it is `open` and how many calls are `waiting` at it, `GET /gates/NAME/arrival` the same
as soon as a call has come to it.
`POST /reset` forgets the stats and closes all gates.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any, Self
from urllib.parse import quote, unquote

import stub_chat
import stub_responses
from stub_answers import (
    STREAM_END,
    STREAM_HEAD,
    Api,
    Call,
    error_response,
    garbage_response,
    json_response,
)

_APIS: dict[str, Api] = {"/chat/completions": stub_chat, "/responses": stub_responses}


def marker(**options: object) -> str:
    """The marker that steers a call; a list as value gives the option several times."""
    pairs = [
        f"{name}={quote(str(value), safe='')}"
        for name, values in options.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return f"[[stub {' '.join(pairs)}]]"


@dataclass
class Stats:
    """What the stub has seen; `aborted` counts calls whose client left before their answer was complete."""

    calls: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    aborted: int = 0
    connections: int = 0
    last_body: dict[str, Any] | None = None
    last_headers: dict[str, str] = field(default_factory=dict)


class _Gate:
    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.arrived = asyncio.Event()
        self.waiting = 0

    async def wait(self) -> None:
        self.waiting += 1
        self.arrived.set()
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1


class _DropError(Exception):
    """The connection must be broken."""


@dataclass
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class StubOpenAI:
    """The stub in the running event loop, an async context manager; the module's text tells what it does."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.stats = Stats()
        self._gates: dict[str, _Gate] = {}
        self._seen: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def gate(self, name: str) -> _Gate:
        return self._gates.setdefault(name, _Gate())

    def open_gate(self, name: str) -> None:
        """Let the calls that wait at a gate go on, and all later ones pass."""
        self.gate(name).open.set()

    async def arrived(self, name: str) -> None:
        """Wait until a call has come to a gate."""
        await asyncio.wait_for(self.gate(name).arrived.wait(), 30)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        connections = list(self._open)
        for connection in connections:
            connection.transport.abort()
        for connection in connections:
            await connection.closed.wait()
        await self._server.wait_closed()

    async def serve_forever(self) -> None:
        assert self._server
        await self._server.serve_forever()

    def connected(self, connection: _Connection) -> None:
        self._open.add(connection)
        self.stats.connections += 1

    def disconnected(self, connection: _Connection) -> None:
        self._open.discard(connection)

    async def answer(self, request: _Request) -> AsyncIterator[bytes]:
        """The bytes of the answer to one request."""
        path = request.path.removeprefix("/v1")
        if request.method == "POST" and (api := _APIS.get(path)):
            try:
                call = api.read_call(json.loads(request.body))
            except (ValueError, LookupError, TypeError) as error:
                yield json_response({"error": {"message": f"not a request: {error!r}"}}, 400)
                return
            self.stats.last_body = call.body
            self.stats.last_headers = request.headers
            async for data in self._counted(call, api):
                yield data
        else:
            yield await self._control(request.method, path)

    async def _control(self, method: str, path: str) -> bytes:
        if (method, path) == ("GET", "/stats"):
            return json_response(asdict(self.stats))
        if (method, path) == ("POST", "/reset"):
            self.stats = Stats(in_flight=self.stats.in_flight)
            self._gates.clear()
            self._seen.clear()
            return json_response({})
        if path.startswith("/gates/"):
            name, _, arrival = path.removeprefix("/gates/").partition("/")
            gate = self.gate(unquote(name))
            if method == "POST":
                gate.open.set()
            elif arrival:
                await gate.arrived.wait()
            return json_response({"open": gate.open.is_set(), "waiting": gate.waiting})
        return json_response({"error": {"message": f"no such path: {method} {path}"}}, 404)

    async def _counted(self, call: Call, api: Api) -> AsyncIterator[bytes]:
        self.stats.calls += 1
        self.stats.in_flight += 1
        self.stats.max_in_flight = max(self.stats.max_in_flight, self.stats.in_flight)
        try:
            async for data in self._respond(call, api):
                yield data
        except asyncio.CancelledError:
            self.stats.aborted += 1
            raise
        finally:
            self.stats.in_flight -= 1

    async def _respond(self, call: Call, api: Api) -> AsyncIterator[bytes]:
        if call.has("latency"):
            await asyncio.sleep(call.number("latency"))
        self._seen[call.user_text] += 1
        if call.has("status") and self._seen[call.user_text] <= call.number("times", 1_000_000):
            yield error_response(call)
        elif call.has("garbage"):
            yield garbage_response(call, api)
        elif call.body.get("stream"):
            async for data in self._stream(call, api):
                yield data
        else:
            await self._wait_at_gate(call, int(call.number("after")))
            if call.has("drop"):
                raise _DropError
            yield json_response(api.whole_answer(call))

    async def _wait_at_gate(self, call: Call, sent: int) -> None:
        if call.has("gate") and sent == int(call.number("after")):
            await self.gate(call.get("gate")).wait()

    async def _stream(self, call: Call, api: Api) -> AsyncIterator[bytes]:
        yield STREAM_HEAD
        for data in api.begin(call):
            yield data
        pieces = [] if call.tool_calls or call.has("refusal") else call.pieces
        for sent, piece in enumerate([*pieces, None]):
            await self._wait_at_gate(call, sent)
            if call.get("drop") == str(sent):
                raise _DropError
            if call.get("error") == str(sent):
                yield api.error(call)
                break
            if call.get("eof") == str(sent):
                break
            if piece is None:
                for data in api.end(call):
                    yield data
                break
            if sent and call.has("delay"):
                await asyncio.sleep(call.number("delay"))
            yield api.piece(call, piece)
        yield STREAM_END


class _Connection(asyncio.Protocol):
    """One client's connection: requests one after the other; a client that goes away cancels its call."""

    transport: asyncio.Transport

    def __init__(self, stub: StubOpenAI) -> None:
        self._stub = stub
        self._received = b""
        self._task: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._stub.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stub.disconnected(self)
        if self._task:
            self._task.add_done_callback(lambda _: self.closed.set())
            self._task.cancel()
        else:
            self.closed.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._begin()

    def _begin(self) -> None:
        if self._task is None and (request := self._next_request()):
            self._task = asyncio.get_running_loop().create_task(self._respond(request))

    def _next_request(self) -> _Request | None:
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines]
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return None
        self._received = rest[length:]
        method, path, _ = first.split(" ", 2)
        return _Request(method, path, headers, rest[:length])

    async def _respond(self, request: _Request) -> None:
        try:
            async for data in self._stub.answer(request):
                self.transport.write(data)
        except _DropError:
            # Unlike `abort`, `close` sends what was written: a drop comes *after* the pieces before it.
            self.transport.close()
        self._task = None
        self._begin()


class StubProcess:
    """The stub as a process of its own: a context manager for tests that start servers."""

    def __init__(self) -> None:
        self.base_url = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.base_url = json.loads(self._process.stdout.readline())["base_url"]
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.terminate()
        self._process.communicate(timeout=10)

    def stats(self) -> dict[str, Any]:
        return self._ask("GET", "/stats")

    def open_gate(self, name: str) -> None:
        """Let the calls that wait at a gate go on, and all later ones pass."""
        self._ask("POST", f"/gates/{quote(name, safe='')}")

    def wait_at_gate(self, name: str, timeout: float = 30) -> None:
        """Wait until a call has come to a gate; `timeout` is in seconds."""
        self._ask("GET", f"/gates/{quote(name, safe='')}/arrival", timeout)

    def _ask(self, method: str, path: str, timeout: float = 10) -> dict[str, Any]:
        request = urllib.request.Request(self.base_url.removesuffix("/v1") + path, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
            return answer


async def _main() -> None:
    parser = argparse.ArgumentParser(description="A stub of OpenAI's APIs.")
    parser.add_argument("--port", type=int, default=0)
    async with StubOpenAI(parser.parse_args().port) as stub:
        print(json.dumps({"port": stub.port, "base_url": stub.base_url}), flush=True)
        await stub.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(_main())
    except KeyboardInterrupt:
        sys.exit(130)
