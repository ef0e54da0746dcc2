"""A load generator of the standard library alone: raw HTTP/1.1 connections, kept alive, to loopback."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
import uuid
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from benchmarks.served import AGENT_ID

LIMIT_SECONDS = 60.0
"""How long any one request may take."""
MOST_REQUESTS = 100_000

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def get_request(path: str) -> bytes:
    """The bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()


def run_request(message: str = "hello there", *, session_id: str | None = None, stream: bool = False) -> bytes:
    """The bytes of a request for a run, on a session of its own unless one is given."""
    fields = {"message": message, "stream": str(stream).lower(), "session_id": session_id or str(uuid.uuid4())}
    body = urlencode(fields)
    head = (
        f"POST /agents/{AGENT_ID}/runs HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; seconds from the request to its end, and to the first content of a stream."""

    body: bytes
    seconds: float
    first_content_seconds: float | None


class Connection:
    """One connection, for one request after the other."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def request(self, data: bytes) -> Answer:
        """Send one and read its whole answer.

        Raises:
            RuntimeError: the status is not 200, or a streamed run did not complete.
            TimeoutError: it took longer than `LIMIT_SECONDS`.
        """
        async with asyncio.timeout(LIMIT_SECONDS):
            began = time.perf_counter()
            self._writer.write(data)
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = _CONTENT_LENGTH.search(head)
            first = None
            if length is None:
                body, first = await self._read_stream()
            else:
                body = await self._reader.readexactly(int(length[1]))
            ended = time.perf_counter()
        if b" 200 " not in head[:16] or (length is None and b"RunCompleted" not in body):
            raise RuntimeError(f"not a run that completed: {head.decode()}{body[-1000:].decode(errors='replace')}")
        return Answer(body, ended - began, None if first is None else first - began)

    async def _read_stream(self) -> tuple[bytes, float | None]:
        body, first = bytearray(), None
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
            if first is None and b"RunContent" in body:
                first = time.perf_counter()
        await self._reader.readexactly(2)
        return bytes(body), first


@dataclass(slots=True)
class Load:
    """What a load came to; times in seconds."""

    wall: float = 0.0
    times: list[float] = field(default_factory=list)
    first_content: list[float] = field(default_factory=list)

    @property
    def requests_per_second(self) -> float:
        """The throughput."""
        return len(self.times) / self.wall

    def percentile(self, percent: int) -> float:
        """The time within which so many percent of the requests were answered."""
        return statistics.quantiles(self.times, n=100, method="inclusive")[percent - 1]


async def put_load(port: int, *, connections: int, seconds: float, stream: bool = False) -> Load:
    """Keep one request under way on each connection, for so long; every run has a session of its own."""
    load = Load()
    began = time.perf_counter()

    async def keep_asking() -> None:
        async with Connection(port) as connection:
            while time.perf_counter() - began < seconds and len(load.times) < MOST_REQUESTS:
                answer = await connection.request(run_request(stream=stream))
                load.times.append(answer.seconds)
                if answer.first_content_seconds is not None:
                    load.first_content.append(answer.first_content_seconds)

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(keep_asking())
    load.wall = time.perf_counter() - began
    return load
