"""The sweep: what a silent server held is taken over, by whoever notices first."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from hookline.deliveries import DeliveryStatus
from hookline.errors import StorageError
from hookline.execution.heartbeat import is_gone
from hookline.execution.record import message_of
from hookline.execution.snapshot import output_of
from hookline.jsontext import dumps
from hookline.runs import RunStatus
from hookline.storage import DeliveryFilter, FinishRun, Prune, RunRecord, ServerRecord, Storage, TakeOver

logger = logging.getLogger("hookline.ledger")

SWEEP_SECONDS = 5.0
HOUSEKEEPING_SECONDS = 3600.0


async def end_interrupted(storage: Storage, record: RunRecord, now: float) -> None:
    """End a run whose definition is not at hand: `failed`, reason `interrupted`, with the hooks it has already."""
    failed = replace(record, status=RunStatus.FAILED, reason="interrupted", finished_at=now)
    failed.document = dumps(output_of(failed).to_dict())
    await storage.finish_run(FinishRun(failed, accepted=True, deliveries=(), session_state=None, now=now))


class Sweeper:
    """Looks for silent servers, and for what is old enough to be deleted.

    `end_run` ends a run whose server is gone (default: without its definition); `on_taken` is told when deliveries
    were set free; finished deliveries are kept for `retention` seconds.
    """

    def __init__(
        self,
        storage: Storage,
        server: ServerRecord,
        *,
        end_run: Callable[[RunRecord], Awaitable[None]] | None = None,
        on_taken: Callable[[], None] | None = None,
        max_interruptions: int = 3,
        retention: float = 30 * 86_400.0,
    ) -> None:
        self._storage = storage
        self._server = server
        self._end_run = end_run
        self._on_taken = on_taken
        self._max_interruptions = max_interruptions
        self._retention = retention
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sweep now and then."""
        self._task = asyncio.get_running_loop().create_task(self._sweep_for_ever(), name="sweep")

    async def stop(self) -> None:
        """Stop sweeping."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def sweep(self) -> None:
        """Take over once what dead servers held.

        Raises:
            StorageError: the ledger could not be read or written; the next sweep goes on.
        """
        now = time.time()
        servers = await self._storage.list_servers()
        gone = [server.server_id for server in servers if is_gone(server, self._server, now)]
        for run in await self._storage.list_orphans(gone):
            logger.warning("run %s taken over: its server ended", run.run_id, extra={"run_id": run.run_id})
            if self._end_run is not None:
                await self._end_run(run)
            else:
                await end_interrupted(self._storage, run, now)
        request = TakeOver(self._server.server_id, gone, now, self._max_interruptions)
        if taken := await self._storage.take_over(request):
            logger.warning("%d interrupted deliveries taken over", taken)
            if self._on_taken is not None:
                self._on_taken()

    async def _keep_house(self) -> None:
        """What is due now and then: delete what is old, and tell of what waits for a person."""
        await self._storage.prune(Prune(delivered_before=time.time() - self._retention))
        parked = DeliveryFilter(status=DeliveryStatus.PARKED)
        if (await self._storage.list_deliveries(parked, limit=1, cursor=None)).items:
            logger.warning(
                "there are parked deliveries (hookline deliveries list --status parked): redrive or discard them"
            )

    async def _sweep_for_ever(self) -> None:
        keep_house_at = 0.0
        while True:
            try:
                await self.sweep()
                if time.monotonic() >= keep_house_at:
                    keep_house_at = time.monotonic() + HOUSEKEEPING_SECONDS
                    await self._keep_house()
            except Exception as error:
                unexpected = None if isinstance(error, StorageError) else error
                logger.error("sweep not done: %s", message_of(error), exc_info=unexpected)
            await asyncio.sleep(SWEEP_SECONDS)
