"""A signal that wakes all who wait for the next one."""

from __future__ import annotations

import asyncio
import contextlib


class Signal:
    """Something that happens again and again."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def give(self) -> None:
        """It happens."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self, limit: float) -> None:
        """Wait until it happens, for `limit` seconds at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._next.wait(), limit)
