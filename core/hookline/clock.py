"""The clock: what time it is, from one place, so that a test can move it (`hookline.testing.ManualClock`).

What is *due* goes by this clock: backoff, leases, retention, a circuit's pause, `max_age`. How long something *takes*
(time limits of hooks, pauses between two looks at the ledger, durations) goes by the machine's own monotonic clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def time(self) -> float:
        """The present instant, in seconds since the epoch; it may be set back."""
        ...

    def monotonic(self) -> float:
        """Seconds since some instant; never set back."""
        ...

    def subscribe(self, on_move: Callable[[], None]) -> Callable[[], None]:
        """Have somebody told, from any thread, when time was moved; returns what ends that."""
        ...


class SystemClock:
    """The machine's clock; that it was set is told by nobody."""

    def time(self) -> float:
        """The present instant, in seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some instant."""
        return time.monotonic()

    def subscribe(self, on_move: Callable[[], None]) -> Callable[[], None]:
        """Nobody is ever told."""
        return lambda: None


SYSTEM_CLOCK = SystemClock()


class MovedClock:
    """Lets a task of the running event loop wait for some real time, or until somebody moves the clock."""

    def __init__(self, clock: Clock) -> None:
        self._loop = asyncio.get_running_loop()
        self._moved = asyncio.Event()
        self.unsubscribe = clock.subscribe(self._tell)

    async def wait(self, seconds: float) -> bool:
        """Wait; returns whether the clock was moved."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        moved = self._moved.is_set()
        self._moved.clear()
        return moved

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._moved.set)
