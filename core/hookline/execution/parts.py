"""What an engine is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hookline.calling import Caller
from hookline.clock import SYSTEM_CLOCK, Clock
from hookline.execution.points import Points
from hookline.storage import NewDelivery, RunRecord, RunStorage
from hookline.threads import DaemonThreads


class Lines(Protocol):
    """Where the deliveries of a committed run go."""

    def line_committed(self, run: RunRecord, deliveries: list[NewDelivery], now: float) -> None:
        """Take note of a run's line; it may start once the response was handed over."""

    def hand_over(self, run_id: str) -> None:
        """The response was handed over."""


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What an engine is made of.

    `ledger` tells one database from another within this process, None where nothing is kept; `lines` is None where
    hooks are never in the background.
    """

    storage: RunStorage
    server_id: str
    ledger: str | None
    caller: Caller
    hook_threads: DaemonThreads
    tool_threads: DaemonThreads
    points: Points
    lines: Lines | None = None
    store_rejected_input: bool = False
    clock: Clock = SYSTEM_CLOCK
