"""What a plugin may say about a delivery before it is stored."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Start the delivery `delay` seconds after its run is stored, out of its run's line.

    Raises:
        ValueError: the delay is negative or no finite number.
    """

    delay: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.delay) and self.delay >= 0):
            raise ValueError(f"Schedule(delay={self.delay!r}): the delay must be 0 seconds or more")


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not make the delivery at all; `reason` is recorded with the run, for people.

    Raises:
        ValueError: there is no reason.
    """

    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("Refuse(reason=...): say why, people will look for it")
