"""The clock: what time it is, from one place, so that a test can move it (`hookline.testing.ManualClock`).

What is *due* goes by this clock: backoff, leases, retention, a circuit's pause, `max_age`. How long something *takes*
(time limits of hooks, pauses between two looks at the ledger, durations) goes by the machine's own monotonic clock.
"""

from __future__ import annotations

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
