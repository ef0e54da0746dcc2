"""The runs of somebody who has no database: every operation of a run, with nothing kept."""

from __future__ import annotations

from collections.abc import Sequence

from hookline.sessions import Session
from hookline.storage import FinishRun, LockedSession, NewDelivery, RunRecord, SessionLock


class Unstored:
    """Takes the place of a storage for `Agent.run()` without `db`."""

    async def lock_session(self, request: SessionLock) -> LockedSession | None:
        """Every session is new."""
        session = Session(request.session_id, request.user_id, created_at=request.now, updated_at=request.now)
        return LockedSession(session, request.state)

    async def unlock_session(self, session_id: str, run_id: str) -> None:
        """Nothing is held."""

    async def accept_run(self, run: RunRecord, deliveries: Sequence[NewDelivery]) -> None:
        """Nothing is kept."""

    async def finish_run(self, request: FinishRun) -> bool:
        """Nothing is kept, so nobody else can have taken the run."""
        return True
