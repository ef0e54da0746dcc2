"""Lines: what this process knows of a run's deliveries while they are on their way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Protocol

from hookline.deliveries import Delivery
from hookline.execution.attempt import Found, Verdict
from hookline.execution.gates import Gate
from hookline.storage import RESERVE_SECONDS, ClaimedDelivery, Exchange, NewDelivery, RunRecord, Settlement

SUSPECT_AFTER = 2
"""A delivery that lost its lease so often may be what ends the process: it runs alone."""
MOST_PREPARED = 1000
"""Lines kept in memory until their turn comes; the others are found in the ledger."""
MOST_PREPARED_SIZE = 32_000_000
"""What their runs may hold together, in characters."""


class DeliveryStorage(Protocol):
    """What deliveries need of a storage."""

    async def exchange(self, request: Exchange) -> list[ClaimedDelivery]:
        """See `hookline.storage.Storage.exchange`."""
        ...


@dataclass(slots=True, eq=False)
class Pass:
    """That an attempt was let in: what is attempted, and the number to leave its gate with."""

    found: Found
    gate: Gate
    turn: int


@dataclass(slots=True, eq=False)
class Row:
    """One delivery on its way.

    `fence` is as this server knows it, `taken` once the ledger knows that it was begun; `let_in` while it is allowed
    to be attempted.
    """

    delivery: Delivery
    fence: int
    taken: bool
    let_in: Pass | None = None
    verdict: Verdict | None = None


@dataclass(slots=True, eq=False)
class Line:
    """Deliveries of one run, attempted one after the other.

    `reserved_from`: when its reservation for this server began (monotonic); `claimed`: taken from the ledger, which
    knows what comes next; `interruptions`: how often what was claimed lost its lease before; `started`: it has one of
    the places; `unsettled`: verdicts that the ledger does not know yet.
    """

    run: RunRecord
    rows: list[Row]
    reserved_from: float
    claimed: bool = False
    interruptions: int = 0
    started: bool = False
    unsettled: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what ends the process."""
        return self.interruptions >= SUSPECT_AFTER

    @property
    def size(self) -> int:
        """Roughly how much memory it takes, in characters of its run's texts."""
        run = self.run
        return len(run.document or "") + len(run.input or "") + len(run.snapshot) + len(run.metadata)


class Prepared:
    """Lines that were just committed and wait for their response to be handed over, or for a place: a bounded few."""

    def __init__(self) -> None:
        self._waiting: dict[str, Line] = {}
        self._lines = 0
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, line: Line) -> bool:
        """Keep a line, if there is room for it; otherwise it is found in the ledger. Returns whether it is kept."""
        if self._lines >= MOST_PREPARED or self._size + line.size > MOST_PREPARED_SIZE:
            return False
        self._waiting[line.run.run_id] = line
        self._lines += 1
        self._size += line.size
        return True

    def take(self, run_id: str) -> Line | None:
        """The line of a run whose response was handed over; it counts until it is let go."""
        return self._waiting.pop(run_id, None)

    def let_go(self, line: Line) -> None:
        """A line that was taken has got its place, or is left to the ledger."""
        self._lines -= 1
        self._size -= line.size

    def drop(self, now: float) -> bool:
        """Forget lines that nobody handed over in time: they are due in the ledger for all. Whether there were any."""
        old = list(takewhile(lambda line: now - line.reserved_from >= RESERVE_SECONDS, self._waiting.values()))
        for line in old:
            del self._waiting[line.run.run_id]
            self.let_go(line)
        return bool(old)

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()


def delivery_of(run: RunRecord, row: NewDelivery) -> Delivery:
    """A delivery that was just stored."""
    return Delivery(
        delivery_id=row.delivery_id,
        run_id=run.run_id,
        runnable=run.runnable_id,
        phase=row.phase,
        hook=row.hook,
        position=row.position,
        max_attempts=row.max_attempts,
    )


def settlement_of(row: Row) -> Settlement:
    """What the ledger is told of a row that has a verdict."""
    verdict = row.verdict
    assert verdict is not None  # noqa: S101 - only rows with a verdict are settled
    return Settlement(
        delivery_id=row.delivery.delivery_id,
        run_id=row.delivery.run_id,
        fence=row.fence,
        started=row.taken,
        status=verdict.status,
        outcome=verdict.outcome,
        started_at=verdict.started_at,
        duration=verdict.duration,
        due_at=verdict.due_at,
        error=verdict.error,
        last_error=verdict.message,
        max_attempts=verdict.max_attempts,
    )
