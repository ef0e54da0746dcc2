"""Server-sent events: a run's events, as they happen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from starlette.types import Receive, Scope, Send

from hookline import EventName, HooklineError, LiveRun, RunEvent
from hookline.jsontext import dumps
from hookline_fastapi.responses import SECURITY_HEADERS

logger = logging.getLogger("hookline.http")

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
    *SECURITY_HEADERS,
]
PING = b": ping\n\n"


class EventStream:
    """The response that streams a run to one reader.

    One task reads the run's events into a list of frames, one waits for the reader to leave; the response itself
    sends whatever has gathered as one message, so that a fast run costs few writes.

    Args:
        run: its events are read from the first one.
        ping: seconds of silence after which a comment is sent, so that nobody in between takes the stream for dead.
        cancel_on_leave: whether a reader that leaves cancels the run.
    """

    def __init__(self, run: LiveRun, *, ping: float, cancel_on_leave: bool = False) -> None:
        self._run = run
        self._ping = ping
        self._cancel_on_leave = cancel_on_leave
        self._frames: list[bytes] = []
        self._something = asyncio.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the terminal event was sent or the reader has left."""
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        loop = asyncio.get_running_loop()
        reader = loop.create_task(self._read_events())
        leave = loop.create_task(_wait_for_leave(receive))
        try:
            for task in (reader, leave):
                task.add_done_callback(lambda _task: self._something.set())
            await self._send_frames(send, reader, leave)
        finally:
            reader.cancel()
            leave.cancel()
            await asyncio.gather(reader, leave, return_exceptions=True)

    async def _send_frames(self, send: Send, reader: asyncio.Task[None], leave: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            timer = loop.call_later(self._ping, self._something.set)
            await self._something.wait()
            timer.cancel()
            self._something.clear()
            if leave.done():
                if self._cancel_on_leave:
                    self._run.cancel()
                return
            complete = reader.done()
            if complete:
                reader.result()  # a reader that broke must not look like the end of the run
            frames, self._frames = self._frames or [b"" if complete else PING], []
            await send({"type": "http.response.body", "body": b"".join(frames), "more_body": not complete})
            if complete:
                return

    async def _read_events(self) -> None:
        run = self._run
        sequence = 0
        try:
            async with aclosing(cast("AsyncGenerator[RunEvent]", run.events())) as events:
                async for event in events:
                    sequence = event.sequence
                    self._frames.append(frame_of(event, run.document))
                    self._something.set()
        except HooklineError as error:
            logger.error("run not stored: %s", error, extra={"run_id": run.run_id})
            self._frames.append(frame_of(_not_stored(run, sequence + 1)))


async def _wait_for_leave(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def frame_of(event: RunEvent, document: str = "") -> bytes:
    """One event as the bytes of a server-sent event.

    Args:
        event: what happened.
        document: the finished run's JSON text, which a terminal event need not encode again.
    """
    data = event.to_dict()
    ends = bool(document) and data.pop("run", None) is not None
    text = dumps(data)
    if ends:
        text = f'{text[:-1]},"run":{document}}}'
    return f"id: {event.sequence}\nevent: {event.event}\ndata: {text}\n\n".encode()


def _not_stored(run: LiveRun, sequence: int) -> RunEvent:
    """The terminal event of a run whose outcome could not be stored: the engine has none for it."""
    failed = {
        **run.output.to_dict(),
        "status": "failed",
        "reason": "not_stored",
        "error": {"type": "Storage", "message": "the run's outcome could not be stored"},
    }
    return RunEvent(EventName.RUN_FAILED, run.run_id, sequence, {"run": failed})
