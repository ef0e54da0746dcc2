"""Repair: after a failure of the storage, the ledger is brought to what the client was told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from hookline.errors import StorageError
from hookline.execution.live_run import LiveRun
from hookline.execution.parts import Lines
from hookline.execution.record import message_of
from hookline.execution.rows import Rows
from hookline.runs import RunError, RunStatus
from hookline.storage import RunStorage

logger = logging.getLogger("hookline.runs")

REPAIR_SECONDS = (0.5, 30.0)
"""How long to wait before the ledger is repaired, after a failure of the storage: at first, and at most."""


class Repairs:
    """The repairs that are under way; each is tried until the storage answers again.

    Args:
        storage: what failed.
        rows: makes the rows of a run.
        lines: where the deliveries of a run go that was stored after all; None where there are none.
    """

    def __init__(self, storage: RunStorage, rows: Rows, lines: Lines | None) -> None:
        self._storage = storage
        self._rows = rows
        self._lines = lines
        self._under_way: set[asyncio.Task[None]] = set()

    def end_as_failed(self, run: LiveRun, error: StorageError) -> None:
        """Bring the ledger to what the client is told: that the run is not stored.

        An operation that failed may have been done all the same. So until the storage answers again: a run that may
        be there as `running` is ended as `failed`, reason `not_stored`, and the session is given back.
        """
        self._keep_trying(run, lambda: self._store_as_failed(run, error))

    def give_session_back(self, run: LiveRun) -> None:
        """Give the session back, where that is all there is to repair."""
        self._keep_trying(run)

    async def close(self) -> None:
        """Give up what is still tried: another server's sweep will do it."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _keep_trying(self, run: LiveRun, repair: Callable[[], Awaitable[None]] | None = None) -> None:
        """Do a repair, and give the session back, until the storage has done both."""
        task = asyncio.get_running_loop().create_task(self._try_again(run, repair), name=f"repair {run.run_id}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _try_again(self, run: LiveRun, repair: Callable[[], Awaitable[None]] | None) -> None:
        delay, longest = REPAIR_SECONDS
        while True:
            try:
                if repair is not None:
                    await repair()
                await self._storage.unlock_session(run.session_id, run.run_id)
            except StorageError as again:
                logger.error("run %s still not stored: %s", run.run_id, again, extra={"run_id": run.run_id})
                await asyncio.sleep(delay)
                delay = min(delay * 2, longest)
            else:
                return

    async def _store_as_failed(self, run: LiveRun, error: StorageError) -> None:
        output = run.output
        output.status, output.reason = RunStatus.FAILED, "not_stored"
        output.error = RunError("Storage", message_of(error))
        output.finished_at = output.finished_at or run.clock.time()
        run.state_text = run.stored_state
        run.encode()
        request = self._rows.finish_request(run, accepted=True)
        request.run.input = run.accepted_input or run.run_input.input_content
        if await self._storage.finish_run(request) and self._lines is not None:
            self._lines.line_committed(request.run, [*run.pre_deliveries, *request.deliveries], request.now)
            self._lines.hand_over(run.run_id)
