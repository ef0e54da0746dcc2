"""Runs on one session are taken one after the other, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from hookline.errors import SessionBusyError
from hookline.runnable import OnBusy

_held: ContextVar[frozenset[str]] = ContextVar("hookline_sessions_held", default=frozenset())


class SessionQueue:
    """The queues of one event loop; across processes the ledger's lock decides."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, session_id: str, on_busy: OnBusy) -> AsyncIterator[None]:
        """Hold the session.

        Raises:
            SessionBusyError: it is taken and `on_busy` is `reject`; or a run that holds it asks for it again, from
                one of its hooks or tools, and would wait for itself.
        """
        held = _held.get()
        if session_id in held:
            raise SessionBusyError(
                f"session {session_id!r} is held by the run that asks for it: give the nested run another session_id"
            )
        await self._enter(session_id, on_busy)
        token = _held.set(held | {session_id})
        try:
            yield
        finally:
            _held.reset(token)
            self._leave(session_id)

    async def _enter(self, session_id: str, on_busy: OnBusy) -> None:
        queue = self._waiting.get(session_id)
        if queue is None:
            self._waiting[session_id] = deque()
            return
        if on_busy == "reject":
            raise SessionBusyError(f"session {session_id!r} is busy with another run")
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(session_id)  # the turn came together with the cancellation: pass it on
            raise

    def _leave(self, session_id: str) -> None:
        queue = self._waiting[session_id]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[session_id]
