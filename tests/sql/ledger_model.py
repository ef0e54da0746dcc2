"""A small model of a ledger's deliveries: what the storage must do, in plain objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from hookline.deliveries import FINAL_STATUSES, HookKey
from hookline.storage import LEASE_SECONDS, RESERVE_SECONDS, SILENT_SECONDS

UNFINISHED = ("waiting", "pending", "running")
MAX_INTERRUPTIONS = 3


@dataclass
class Row:
    """A delivery."""

    delivery_id: str
    run_id: str
    hook: HookKey
    position: int
    status: str = "waiting"
    in_line: bool = True
    due_at: float | None = None
    fence: int = 0
    attempts: int = 0
    interruptions: int = 0
    owner: str | None = None
    lease: float = 0.0
    finished_at: float | None = None
    outcomes: list[str] = field(default_factory=list)
    """Of its attempts, as they are written down."""

    def begin(self, server: str, now: float) -> None:
        self.status, self.owner, self.lease = "running", server, now + LEASE_SECONDS
        self.fence += 1
        self.attempts += 1

    def end(self, status: str, now: float, *, due_at: float | None = None) -> None:
        self.status, self.in_line, self.due_at, self.owner = status, False, due_at, None
        self.finished_at = now if status in FINAL_STATUSES else None

    def give_back(self, due_at: float) -> None:
        self.status, self.due_at, self.owner = "pending", due_at, None
        self.attempts -= 1


@dataclass
class Run:
    """A run with its deliveries, in the order of the line."""

    run_id: str
    server: str
    rows: list[Row] = field(default_factory=list)
    is_finished: bool = False
    reserved_until: float = 0.0
    made: int = 0
    """How many deliveries of its own it has had; pruned ones count."""

    @property
    def is_busy(self) -> bool:
        return any(row.status == "running" for row in self.rows)

    def promote(self, due_at: float) -> None:
        """The next one waiting is the head, unless there is one."""
        if not any(row.in_line and row.status in {"pending", "running"} for row in self.rows):
            following = next((row for row in self.rows if row.status == "waiting"), None)
            if following is not None:
                following.status, following.due_at = "pending", due_at

    def finish(self, now: float) -> None:
        self.is_finished, self.reserved_until = True, now + RESERVE_SECONDS
        self.promote(now + RESERVE_SECONDS)

    def next_of_line(self) -> Row | None:
        """What the server that ran the run starts next, without asking."""
        if not self.is_finished or self.is_busy:
            return None
        return next((row for row in self.rows if row.in_line and row.status in {"waiting", "pending"}), None)


@dataclass
class LedgerModel:
    """All runs; each operation is as `Storage` describes it."""

    runs: dict[str, Run] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        return [row for run in self.runs.values() for row in run.rows]

    def row(self, delivery_id: str) -> Row | None:
        return next((row for row in self.rows if row.delivery_id == delivery_id), None)

    def startable(self, now: float) -> list[Row]:
        """What is due, of runs of which nothing is running, or just beginning where the run was."""
        found = []
        for run in self.runs.values():
            due = [row for row in run.rows if row.status == "pending" and (row.due_at or 0.0) <= now]
            reserved = any(row.in_line and row.status == "pending" and row not in due for row in run.rows)
            if run.is_finished and not run.is_busy and not reserved:
                found += due
        return found

    def due(self, now: float, apart: Collection[HookKey], rooms: Mapping[HookKey, int]) -> list[Row]:
        """What a scan may claim: at most one of each run, the lowest position of those that may be."""
        first: dict[str, Row] = {}
        for row in self.startable(now):
            if row.in_line or row.hook not in apart or row.hook in rooms:
                first.setdefault(row.run_id, row)
        return list(first.values())

    def take_over(self, by: str, servers: Iterable[str], now: float) -> int:
        expired = now - (SILENT_SECONDS - LEASE_SECONDS)
        gone = set(servers)
        lost = [
            row
            for row in self.rows
            if row.status == "running" and (row.owner in gone or (row.lease < expired and row.owner != by))
        ]
        for row in lost:
            row.give_back(now)
            row.fence += 1
            row.interruptions += 1
            row.outcomes.append("interrupted")
            if row.interruptions >= MAX_INTERRUPTIONS:
                row.end("dead", now)
        for row in lost:
            if row.status == "dead":
                self.runs[row.run_id].promote(now)
        return len(lost)

    def redrive(self, row: Row, now: float) -> bool:
        if row.status not in {"dead", "parked"}:
            return False
        row.status, row.in_line, row.due_at, row.finished_at = "pending", False, now, None
        row.attempts = row.interruptions = 0
        row.fence += 1
        return True

    def discard(self, row: Row, now: float) -> bool:
        if row.status not in {"waiting", "pending", "parked"}:
            return False
        was_head = row.in_line and row.status == "pending"
        row.end("discarded", now)
        row.fence += 1
        if was_head:
            self.runs[row.run_id].promote(now)
        return True

    def prune(self, before: float) -> int:
        """Delivered, discarded and dead ones that ended before then are gone."""
        gone = 0
        for run in self.runs.values():
            kept = [row for row in run.rows if row.finished_at is None or row.finished_at >= before]
            gone += len(run.rows) - len(kept)
            run.rows = kept
        return gone
