"""The sweep: what a silent server held is taken over, by whoever notices first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from hookline.clock import SYSTEM_CLOCK, Clock, MovedClock
from hookline.deliveries import DeliveryStatus
from hookline.errors import StorageError
from hookline.execution.heartbeat import Watch
from hookline.execution.record import message_of
from hookline.execution.snapshot import output_of
from hookline.jsontext import dumps
from hookline.retention import Retention
from hookline.runs import RunStatus
from hookline.storage import DeliveryFilter, FinishRun, RunRecord, ServerRecord, Storage, TakeOver

logger = logging.getLogger("hookline.ledger")

SWEEP_SECONDS = 5.0
HOUSEKEEPING_SECONDS = 3600.0
AT_ONCE = 8
"""Runs that are ended side by side."""
MOVED_SECONDS = 0.1
"""When a test has moved the clock, living servers say first that they live."""


async def end_interrupted(storage: Storage, record: RunRecord, now: float) -> None:
    """End a run whose definition is not at hand: `failed`, reason `interrupted`, with the hooks it has already."""
    failed = replace(record, status=RunStatus.FAILED, reason="interrupted", finished_at=now)
    failed.document = dumps(output_of(failed).to_dict())
    await storage.finish_run(FinishRun(failed, accepted=True, deliveries=(), session_state=None, now=now))


class Sweeper:
    """Looks for silent servers, and for what is old enough to be deleted.

    `end_run` ends a run whose server is gone (default: without its definition); `on_taken` is told when deliveries
    were set free.
    """

    def __init__(
        self,
        storage: Storage,
        server: ServerRecord,
        *,
        end_run: Callable[[RunRecord], Awaitable[None]] | None = None,
        on_taken: Callable[[], None] | None = None,
        max_interruptions: int = 3,
        retention: Retention | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._storage = storage
        self._server = server
        self._end_run = end_run
        self._on_taken = on_taken
        self._max_interruptions = max_interruptions
        self._retention = retention or Retention()
        self._clock = clock
        self._watch = Watch(server, clock)
        self._task: asyncio.Task[None] | None = None
        self._housekeeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sweep now and then."""
        self._task = asyncio.get_running_loop().create_task(self._sweep_for_ever(), name="sweep")

    async def stop(self) -> None:
        """Stop sweeping."""
        for task in (self._task, self._housekeeping):
            if task is not None:
                task.cancel()
                await asyncio.wait((task,))

    async def sweep(self) -> None:
        """Take over once what dead servers held.

        Raises:
            StorageError: the ledger could not be read or written; the next sweep goes on.
        """
        now, looked_at = self._clock.time(), self._clock.monotonic()
        gone = self._watch.gone(await self._storage.list_servers(), looked_at)
        await self._end_all(await self._storage.list_orphans(gone), now)
        request = TakeOver(self._server.server_id, gone, self._watch.time(), self._max_interruptions)
        if taken := await self._storage.take_over(request):
            logger.warning("%d interrupted deliveries taken over", taken)
            if self._on_taken is not None:
                self._on_taken()

    async def _end_all(self, runs: Iterable[RunRecord], now: float) -> None:
        """End runs, a few side by side: each may have hooks that take their time."""
        following = iter(runs)

        async def end_some() -> None:
            for run in following:
                logger.warning("run %s taken over: its server ended", run.run_id, extra={"run_id": run.run_id})
                await self._end(run, now)

        ended = await asyncio.gather(*(end_some() for _ in range(AT_ONCE)), return_exceptions=True)
        for error in filter(None, ended):
            raise error

    async def _end(self, run: RunRecord, now: float) -> None:
        """End a run; one that cannot be ended keeps nobody from what follows, and is found again by the next sweep."""
        try:
            if self._end_run is not None:
                await self._end_run(run)
            else:
                await end_interrupted(self._storage, run, now)
        except StorageError:
            raise
        except Exception:
            logger.exception("run %s cannot be ended now", run.run_id, extra={"run_id": run.run_id})

    async def _keep_house(self) -> None:
        """What is due now and then: delete what is old, and tell of what waits for a person."""
        await self._storage.prune(self._retention.before(self._clock.time()))
        parked = DeliveryFilter(status=DeliveryStatus.PARKED)
        if (await self._storage.list_deliveries(parked, limit=1, cursor=None)).items:
            logger.warning(
                "there are parked deliveries (hookline deliveries list --status parked): redrive or discard them"
            )

    async def _sweep_for_ever(self) -> None:
        keep_house_at = float("-inf")
        moved = MovedClock(self._clock)
        try:
            while True:
                await _told("sweep", self.sweep())
                is_free = self._housekeeping is None or self._housekeeping.done()
                if is_free and self._clock.monotonic() >= keep_house_at:  # aside: much to delete takes minutes
                    keep_house_at = self._clock.monotonic() + HOUSEKEEPING_SECONDS
                    self._housekeeping = asyncio.create_task(_told("housekeeping", self._keep_house()))
                is_moved = await moved.wait(SWEEP_SECONDS)
                while is_moved:
                    is_moved = await moved.wait(MOVED_SECONDS)
        finally:
            moved.unsubscribe()


async def _told(what: str, doing: Awaitable[None]) -> None:
    """Do it, and tell of an error: the next time comes."""
    try:
        await doing
    except Exception as error:
        unexpected = None if isinstance(error, StorageError) else error
        logger.error("%s not done: %s", what, message_of(error), exc_info=unexpected)
