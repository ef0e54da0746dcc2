"""Storage: the ledger's operations, as a storage plugin implements them.

Every operation is whole: it happens entirely, in one transaction, or not at all; it takes and gives plain data.
No connection or transaction crosses this border. All methods may be awaited from any event loop of the process.
Instants are seconds since the epoch, given by the caller.

**Lines and fences.** The deliveries of one run form a line, in the order of `position`. Rows are stored `waiting`;
the first in line is made `pending` once its run is finished, the next as soon as its predecessor has left the line
(settled, or out of line because it must wait: backoff, parked, delayed). A row's `fence` grows by one whenever
somebody takes it: who names an older fence has lost it, and what they say of it is ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar, runtime_checkable

from hookline.deliveries import Delivery, DeliveryStatus, Phase
from hookline.runs import RunStatus
from hookline.sessions import Session

T = TypeVar("T")

LEASE_SECONDS = 10.0
"""How long a started delivery stays its server's without a renewal."""

RESERVE_SECONDS = 2.0
"""How long after commit 2 a line stays with the server that ran the run; then any worker may take it."""

SILENT_SECONDS = 15.0
"""A server whose heartbeat is older is taken for dead, and what it held is taken over."""


@dataclass(slots=True)
class ServerRecord:
    """A process that uses the ledger.

    `host`, `boot_id` and `pid_namespace` tell whether another process can look at `pid`; `pid_started` (clock ticks
    since boot) tells whether the pid is still the same process.
    """

    server_id: str
    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    pid_started: int
    started_at: float
    heartbeat_at: float


@dataclass(slots=True)
class SessionLock:
    """A run asks for its session: `state` is the `session_state` that a new session starts with (JSON text)."""

    session_id: str
    user_id: str | None
    run_id: str
    server_id: str
    now: float
    state: str = "{}"
    history_runs: int = 0
    runnable_id: str | None = None


@dataclass(slots=True)
class LockedSession:
    """A session that is now the run's own; `history` holds the documents of its latest completed root runs.

    Documents are JSON texts, oldest first, at most `history_runs`, only those of the runnable `runnable_id`.
    """

    session: Session
    state: str
    history: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RunRecord:
    """A run as it is stored.

    Attributes:
        input: the text of the input as accepted; None where it must not be kept.
        document: JSON text of `RunOutput.to_dict()`; None while the run is running.
        hook_calls: JSON text, a list of inline hook calls (see `hookline.execution.record`).
        snapshot: JSON text of what background hooks need besides: `session_state`, `session`, `dependencies`.
        metadata: JSON text of an object.
        format_version: the version of all these texts.
    """

    run_id: str
    session_id: str
    user_id: str | None
    runnable_kind: str
    runnable_id: str
    server_id: str
    created_at: float
    status: RunStatus = RunStatus.RUNNING
    reason: str | None = None
    parent_run_id: str | None = None
    traceparent: str | None = None
    input: str | None = None
    metadata: str = "{}"
    document: str | None = None
    hook_calls: str = "[]"
    snapshot: str = "{}"
    finished_at: float | None = None
    format_version: int = 1


@dataclass(slots=True)
class NewDelivery:
    """A delivery to be stored `waiting`; one with `due_at` waits out of line until then (a plugin delayed it)."""

    delivery_id: str
    phase: Phase
    hook: str
    position: int
    max_attempts: int
    due_at: float | None = None
    plugin: str | None = None


@dataclass(slots=True)
class FinishRun:
    """Commit 2, or the one commit of a run that was never accepted.

    Attributes:
        run: the run with its final status; `server_id` is who must hold it.
        accepted: whether `accept_run` stored it before: then a compare-and-set on status `running` and `server_id`,
            otherwise an insert.
        deliveries: the background post-hooks' rows.
        session_state: JSON text of the new state, None if it has not changed.
        now: the head of the line becomes due at `now + RESERVE_SECONDS`.
    """

    run: RunRecord
    accepted: bool
    deliveries: Sequence[NewDelivery]
    session_state: str | None
    now: float


AttemptOutcome = Literal["delivered", "failed", "timeout", "parked", "released", "interrupted"]


@dataclass(slots=True)
class Start:
    """This server begins (or has just begun) an attempt of a delivery that it found at `fence`."""

    delivery_id: str
    fence: int


@dataclass(slots=True)
class Settlement:
    """What an attempt came to.

    Attributes:
        fence: the row's fence as this server knows it: that after its start, or, where the start was not stored yet
            (`started=False`), the one before it.
        started: whether the start was stored; if not, settling counts the attempt too.
        status: what the row becomes: `delivered`, `dead`, `parked`, `pending` (to be tried again at `due_at`), or
            `discarded`.
        outcome: the attempt's own outcome. `released` gives the attempt back and leaves the row in line, due now.
        started_at: when the attempt began; None for a row that was parked without one (no attempt row is written).
        error: JSON text `{"type", "message", "traceback"}`, or None.
        last_error: the message alone.
    """

    delivery_id: str
    run_id: str
    fence: int
    started: bool
    status: DeliveryStatus
    outcome: AttemptOutcome
    started_at: float | None
    duration: float
    due_at: float | None = None
    error: str | None = None
    last_error: str | None = None


@dataclass(slots=True)
class ClaimedDelivery:
    """A delivery that is now this server's, its attempt counted, with the run that it belongs to."""

    delivery: Delivery
    fence: int
    interruptions: int
    run: RunRecord


@dataclass(slots=True)
class Exchange:
    """What a server says to the ledger, and asks of it, in one transaction, in this order.

    1. `settlements` and `starts` are stored (those whose fence is old are ignored).
    2. In each run that is named by a settlement, the next waiting row is made `pending` if no row is in line.
    3. Rows that are `pending` are claimed, at most `limit`: the due head of each run in `claim_runs`, and, with
       `scan`, any due row, earliest `due_at` first. Never two rows of one run, and none while another row of its
       run is `running`.
    """

    server_id: str
    now: float
    starts: Sequence[Start] = ()
    settlements: Sequence[Settlement] = ()
    claim_runs: Collection[str] = ()
    scan: bool = False
    limit: int = 0


@dataclass(slots=True)
class TakeOver:
    """What the servers in `server_ids` held is set free.

    Deliveries that were running become `pending`, due now, their attempt given back, `interruptions` one more, an
    attempt row `interrupted` written; at `max_interruptions` they become `dead`. So do rows whose lease ran out
    `SILENT_SECONDS - LEASE_SECONDS` ago, whoever held them, `server_id` (the caller) excepted. Sessions that they
    held are unlocked and the rows of the servers deleted. Runs stay `running`: `finish_run` ends them.
    """

    server_id: str
    server_ids: Sequence[str]
    now: float
    max_interruptions: int = 3


@dataclass(slots=True)
class Attempt:
    """One attempt of a delivery, as stored; `error` is JSON text or None."""

    number: int
    started_at: float
    duration: float
    outcome: AttemptOutcome
    error: str | None


@dataclass(slots=True)
class DeliveryRecord:
    """A delivery with what is kept about it."""

    delivery: Delivery
    plugin: str | None
    user_id: str | None
    created_at: float
    finished_at: float | None
    interruptions: int
    discard_reason: str | None
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(slots=True)
class DeliveryFilter:
    """Which deliveries to list; None means all."""

    status: str | None = None
    run_id: str | None = None
    hook: str | None = None
    user_id: str | None = None


@dataclass(slots=True)
class Page(Generic[T]):
    """A part of a listing, newest first; `next_cursor` asks for what follows, None at the end."""

    items: list[T]
    next_cursor: str | None = None


class RunStorage(Protocol):
    """What the engine needs of a storage while it executes a run."""

    async def lock_session(self, request: SessionLock) -> LockedSession | None:
        """Make the session the run's own, creating it if it is new; None while another run holds it."""
        ...

    async def unlock_session(self, session_id: str, run_id: str) -> None:
        """Give the session back, for a run that ends without `finish_run`."""

    async def accept_run(self, run: RunRecord, deliveries: Sequence[NewDelivery]) -> None:
        """Commit 1: store the run as `running`, and its background pre-hooks."""

    async def finish_run(self, request: FinishRun) -> bool:
        """Commit 2: the outcome, the session's state, the deliveries; unlocks the session.

        Returns False, with nothing stored, if the run is no longer `running` on `run.server_id`.
        """
        ...


@runtime_checkable
class Storage(RunStorage, Protocol):
    """A ledger, opened.

    Raises:
        StorageError: from every method, when the operation could not be done; nothing of it is stored then.
        ValueError: from the listings, for a `cursor` that no listing gave.
    """

    @property
    def description(self) -> str:
        """What it is, for people: `sqlite:///path/to/hookline.db`."""
        ...

    async def check(self) -> None:
        """Raise unless the ledger can be written."""

    # servers
    async def beat(self, server: ServerRecord) -> None:
        """Write the server's row and renew the leases of all deliveries that it is running.

        The new leases end at `server.heartbeat_at + LEASE_SECONDS`.
        """

    async def list_servers(self) -> list[ServerRecord]:
        """All servers that have a row."""
        ...

    async def list_orphans(self, server_ids: Collection[str]) -> list[RunRecord]:
        """The runs that are `running` and whose server is in `server_ids` or has no row."""
        ...

    async def take_over(self, request: TakeOver) -> int:
        """Set free what silent servers held; returns how many deliveries were."""
        ...

    async def retire(self, server_id: str) -> None:
        """Delete a server's row; it holds nothing any more."""

    # runs
    async def release_line(self, run_id: str, now: float) -> None:
        """Make the head of a finished run's line due at once: nobody here is going to start it."""

    async def get_run(self, run_id: str) -> RunRecord | None:
        """One run."""
        ...

    async def list_runs(self, session_id: str, *, limit: int, cursor: str | None) -> Page[RunRecord]:
        """The runs of one session."""
        ...

    # sessions
    async def get_session(self, session_id: str) -> Session | None:
        """One session."""
        ...

    async def list_sessions(self, *, user_id: str | None, limit: int, cursor: str | None) -> Page[Session]:
        """Sessions, most recently created first."""
        ...

    # deliveries
    async def exchange(self, request: Exchange) -> list[ClaimedDelivery]:
        """Store what became of attempts and claim new ones."""
        ...

    async def get_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """One delivery with its attempts."""
        ...

    async def list_deliveries(self, where: DeliveryFilter, *, limit: int, cursor: str | None) -> Page[DeliveryRecord]:
        """Deliveries, without their attempts."""
        ...

    async def run_deliveries(self, run_id: str) -> list[DeliveryRecord]:
        """All deliveries of one run with their attempts, in the order of the line."""
        ...

    async def redrive(self, delivery_id: str, now: float) -> DeliveryRecord | None:
        """Give a dead or parked delivery fresh attempts, due now; None if it is neither, or unknown."""
        ...

    async def discard(self, delivery_id: str, reason: str, now: float) -> DeliveryRecord | None:
        """End a delivery that is not final and not running; None if it is either, or unknown.

        The next in its line takes its place.
        """
        ...

    async def prune(self, before: float) -> int:
        """Delete delivered and discarded deliveries that finished before that instant; returns how many."""
        ...

    async def close(self) -> None:
        """Finish what is under way and close."""


@runtime_checkable
class Database(Protocol):
    """A light description of a storage, as users write it: `SqliteDb(db_file="tmp/agent.db")`.

    Two descriptions with the same `url` are one database.
    """

    @property
    def url(self) -> str:
        """What identifies the database within this process."""
        ...

    def open(self) -> Storage:
        """Open it, making or migrating its tables; called in a thread.

        Raises:
            StorageError: it cannot be opened; the message says why and what to do.
        """
        ...
