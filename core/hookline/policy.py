"""Policy: how often, how long and how many at once a background hook is attempted."""

from __future__ import annotations

import random
from dataclasses import dataclass

BACKOFF_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of one background hook, everything decided.

    Attributes:
        timeout: seconds for one attempt.
        retries: attempts after the first one.
        backoff: seconds to wait at most after the first failed attempt; doubled after each further one, with full
            jitter, at most 300 s.
        max_age: seconds after the run's commit at which no further attempt is begun: it is dead; None: never.
        concurrency: how many attempts of this hook may be under way at once in one process; None: as many as there
            is room for.
        circuit_threshold: after so many failed attempts in a row, across runs, the hook is paused; 0: never.
        circuit_cooldown: seconds that it is paused; then one attempt is made, and its result decides.
    """

    timeout: float = 60.0
    retries: int = 3
    backoff: float = BACKOFF_SECONDS
    max_age: float | None = None
    concurrency: int | None = None
    circuit_threshold: int = 20
    circuit_cooldown: float = 60.0

    @property
    def max_attempts(self) -> int:
        """How many attempts there are at most."""
        return self.retries + 1

    def wait_after(self, failures: int) -> float:
        """Seconds to wait after so many failed attempts: doubling, with full jitter, capped."""
        longest = min(BACKOFF_CAP_SECONDS, self.backoff * 2.0 ** min(failures - 1, 60))
        return random.uniform(0.0, longest)  # noqa: S311 - spreads load, guards nothing
