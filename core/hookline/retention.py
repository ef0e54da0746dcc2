"""Retention: how long the ledger keeps what is finished."""

from __future__ import annotations

from dataclasses import dataclass

from hookline.storage import Prune

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that something is kept after it finished; None: for ever.

    Attributes:
        deliveries: delivered and discarded deliveries.
        dead: dead deliveries.
        runs: runs with their deliveries, the sessions that lose their last run so, and replays of which nothing is
            left.
    """

    deliveries: float | None = 30.0
    dead: float | None = None
    runs: float | None = None

    def before(self, now: float) -> Prune:
        """What is to be deleted at an instant."""
        return Prune(
            delivered_before=_instant(now, self.deliveries),
            dead_before=_instant(now, self.dead),
            runs_before=_instant(now, self.runs),
        )


def _instant(now: float, days: float | None) -> float | None:
    return None if days is None else now - days * DAY
