"""The HTTP protocol: uvicorn's, whose own refusals are problems too."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast

from hookline_fastapi.problems import MALFORMED, TOO_MANY_HEADERS, Problem, refused

DISCARD_SECONDS = 1.0
"""How long a client that is refused in the middle of its request may take to read why."""


class ProblemProtocol(asyncio.Protocol):
    """What is the same over uvicorn's protocols: how bytes that are no request are refused."""

    transport: asyncio.Transport
    cycle: Any

    def send_400_response(self, _msg: str) -> None:
        """Answer what could not be parsed; uvicorn calls this while it handles the parser's error."""
        transport, cycle = self.transport, self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            transport.write(_response_bytes(_problem_of(sys.exception())))
        self.connection_lost(ConnectionAbortedError())  # what waits for the rest of a body waits in vain
        if transport.can_write_eof():
            transport.write_eof()
        transport.set_protocol(_Discard(transport))


class _Discard(asyncio.Protocol):
    """Reads on for a while: a connection that is closed before all was read is reset, and the answer is lost."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._timer = asyncio.get_running_loop().call_later(DISCARD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()


def with_problems(protocol: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """A protocol of uvicorn, with problems for what it refuses."""
    made = type(f"Problem{protocol.__name__}", (ProblemProtocol, protocol), {})
    return cast("type[asyncio.Protocol]", made)


def _problem_of(error: BaseException | None) -> Problem:
    if getattr(error, "error_status_hint", 400) == 431:
        return refused(TOO_MANY_HEADERS, "headers", "they are too large")
    return refused(MALFORMED, "request", "it cannot be parsed")


def _response_bytes(problem: Problem) -> bytes:
    response = problem.response()
    lines = [f"HTTP/1.1 {problem.kind.status} {problem.kind.title}".encode(), b"connection: close"]
    lines += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(response.body)])
