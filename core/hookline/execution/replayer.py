"""The replayer: makes the deliveries of replays, a few at a time, so that neither memory nor the ledger fills up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable

from hookline.clock import Clock
from hookline.deliveries import DeliveryStatus
from hookline.errors import StorageError
from hookline.storage import DeliveryFilter, ReplayRecord, Storage

logger = logging.getLogger("hookline.replays")

POLL_SECONDS = 1.0
AT_ONCE = 200
"""Deliveries made in one transaction."""
MOST_UNDONE = 1000
"""Deliveries of one replay that wait to be done; more are made when some are."""
MOST_SIDE_BY_SIDE = 100


class Replayer:
    """Carries on with every replay that is `running`, whoever began it.

    Any number of servers may do so: the ledger sees to it that no run gets two deliveries of one replay, and that
    together they keep to its rate. `on_made` is told when there are new deliveries.
    """

    def __init__(self, storage: Storage, clock: Clock, *, on_made: Callable[[], None]) -> None:
        self._storage = storage
        self._clock = clock
        self._on_made = on_made
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Carry on with what is running, now and later."""
        self._task = asyncio.get_running_loop().create_task(self._advance_for_ever(), name="replays")

    async def stop(self) -> None:
        """Leave the replays where they are; they go on when a server is there again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def wake(self) -> None:
        """A replay was made or resumed: look now."""
        self._wake.set()

    async def _advance_for_ever(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = await self._advance_all()
            except Exception as error:
                unexpected = None if isinstance(error, StorageError) else error
                logger.error("replays cannot go on now: %s", error, exc_info=unexpected)
                pause = POLL_SECONDS * 2
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)

    async def _advance_all(self) -> float:
        """Advance each running replay once; returns the seconds to wait."""
        page = await self._storage.list_replays(status="running", limit=MOST_SIDE_BY_SIDE, cursor=None)
        pauses = [await self._advance(replay) for replay in page.items]
        return min(pauses, default=POLL_SECONDS)

    async def _advance(self, replay: ReplayRecord) -> float:
        limit = min(AT_ONCE, MOST_UNDONE - await self._undone(replay))
        if replay.max_per_second is not None:  # a part of a second's worth at a time
            limit = min(limit, max(1, math.floor(replay.max_per_second / 4)))
        if limit <= 0:
            return POLL_SECONDS / 4
        now = self._clock.time()
        advanced = await self._storage.advance_replay(replay.replay_id, now, limit)
        if advanced is None:
            return POLL_SECONDS
        if advanced.made > replay.made:
            self._on_made()
        if advanced.status == "completed":
            logger.info("replay %s of %r: all %d deliveries are made", replay.replay_id, replay.hook, advanced.made)
        return min(POLL_SECONDS, max(0.0, advanced.next_at - now)) if advanced.status == "running" else POLL_SECONDS

    async def _undone(self, replay: ReplayRecord) -> int:
        if replay.made == 0:
            return 0
        undone = 0
        for status in (DeliveryStatus.PENDING, DeliveryStatus.RUNNING):
            where = DeliveryFilter(status=status.value, replay_id=replay.replay_id)
            undone += await self._storage.count_deliveries(where, MOST_UNDONE)
        return undone
