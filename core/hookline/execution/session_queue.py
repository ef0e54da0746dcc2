"""Runs on one session are taken one after the other, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from hookline.errors import SessionBusyError
from hookline.runnable import OnBusy


@dataclass(slots=True)
class _Hold:
    """That a run holds a session; what it starts inherits it, and may outlive it."""

    session: tuple[str, str]
    is_held: bool = True


_holds: ContextVar[tuple[_Hold, ...]] = ContextVar("hookline_session_holds", default=())


class SessionQueue:
    """The queues of one ledger on one event loop; across loops and processes the ledger's own lock decides.

    Args:
        ledger: what tells one ledger from another within this process; None where sessions are not kept at all, and
            need no turns.
    """

    def __init__(self, ledger: str | None) -> None:
        self._ledger = ledger
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, session_id: str, on_busy: OnBusy) -> AsyncIterator[None]:
        """Hold the session.

        Raises:
            SessionBusyError: it is taken and `on_busy` is `reject`; or a run that holds it asks for it again, from
                one of its hooks or tools, and would wait for itself.
        """
        if self._ledger is None:
            yield
            return
        hold = _Hold((self._ledger, session_id))
        holds = tuple(other for other in _holds.get() if other.is_held)
        if any(other.session == hold.session for other in holds):
            raise SessionBusyError(
                f"session {session_id!r} is held by the run that asks for it: give the nested run another session_id"
            )
        await self._enter(session_id, on_busy)
        token = _holds.set((*holds, hold))
        try:
            yield
        finally:
            hold.is_held = False
            _holds.reset(token)
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
