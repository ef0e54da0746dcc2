"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class ManualClock:
    """A `hookline.clock.Clock` for `AgentOS(clock=...)`: it moves only when it is told to.

    Backoff, leases, retention, a circuit's pause and `max_age` move with it, at once. Time limits of hooks do not: they
    end what really takes too long. All methods may be called from any thread.

        clock = ManualClock()
        async with AgentOS(agents=[agent], db=db, clock=clock).lifespan():
            ...                     # a hook fails, and is to be tried again
            clock.advance(300)      # now it is tried again

    Args:
        now: the instant that it begins with, in seconds since the epoch; default: the present one.
    """

    def __init__(self, now: float | None = None) -> None:
        self._lock = threading.Lock()
        self._time = time.time() if now is None else now
        self._monotonic = 0.0
        self._told: dict[object, Callable[[], None]] = {}

    def time(self) -> float:
        """The present instant, in seconds since the epoch."""
        with self._lock:
            return self._time

    def monotonic(self) -> float:
        """How far it was advanced, in seconds."""
        with self._lock:
            return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: time does not run backwards; `set_to` is the way to set the clock back.
        """
        if not seconds >= 0:
            raise ValueError(f"time cannot be advanced by {seconds!r} s: use set_to() to set the clock back")
        with self._lock:
            self._time += seconds
            self._monotonic += seconds
        self._tell()

    def set_to(self, now: float) -> None:
        """Set the clock, as somebody who sets a machine's clock does: no time passes."""
        with self._lock:
            self._time = now
        self._tell()

    def subscribe(self, on_move: Callable[[], None]) -> Callable[[], None]:
        """Have somebody told when it was moved; returns what ends that."""
        key = object()
        with self._lock:
            self._told[key] = on_move

        def unsubscribe() -> None:
            with self._lock:
                self._told.pop(key, None)

        return unsubscribe

    def _tell(self) -> None:
        with self._lock:
            told = list(self._told.values())
        for on_move in told:
            on_move()
