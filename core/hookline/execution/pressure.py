"""Pressure: how many deliveries are not done, known without asking the ledger on a run's way."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from hookline.execution.record import message_of

logger = logging.getLogger("hookline.deliveries")

COUNT_SECONDS = 1.0
"""How often the ledger is asked; what this process commits and ends in between is added and taken off."""

RETRY_SECONDS = 5.0
"""What a client that is turned away is told to wait."""


class BacklogStorage(Protocol):
    """What counting needs of a storage."""

    async def backlog(self, limit: int) -> int:
        """See `hookline.storage.Storage.backlog`."""
        ...


class Pressure:
    """Counts the deliveries that are not done; `limit` are too many."""

    def __init__(self, storage: BacklogStorage, limit: int) -> None:
        self.limit = limit
        self._storage = storage
        self._counted = 0
        self._since = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def undone(self) -> int:
        """How many deliveries are not done, in the whole ledger; about, and not counted beyond the limit."""
        return max(0, self._counted + self._since)

    @property
    def is_full(self) -> bool:
        """Whether there are too many."""
        return self._counted >= self.limit or self.undone >= self.limit

    def add(self, deliveries: int) -> None:
        """So many more were committed here; fewer, where they ended."""
        self._since += deliveries

    def start(self) -> None:
        """Begin to count."""
        self._task = asyncio.get_running_loop().create_task(self._count_for_ever(), name="count deliveries")

    async def stop(self) -> None:
        """Stop counting."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def count(self) -> None:
        """Ask the ledger.

        Raises:
            StorageError: it cannot tell; the last count stays.
        """
        since = self._since
        self._counted = await self._storage.backlog(self.limit)
        self._since -= since

    async def _count_for_ever(self) -> None:
        was_told = False
        while True:
            try:
                await self.count()
                was_told = False
            except Exception as error:  # noqa: BLE001 - the border to storages: the next count comes whatever it is
                if not was_told:
                    logger.error("deliveries that wait cannot be counted: %s", message_of(error))
                was_told = True
            await asyncio.sleep(COUNT_SECONDS)
