"""What goes into a storage and comes out of it: plain data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from hookline.deliveries import Delivery, DeliveryStatus, HookKey, Phase
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


AttemptOutcome = Literal["delivered", "failed", "timeout", "parked", "released", "postponed", "interrupted"]


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
        outcome: the attempt's own outcome. `released` gives the attempt back and leaves the row in line, due now;
            `postponed` gives it back too (it was not begun: its hook is paused or busy) and takes the row out of line
            until `due_at`. Neither leaves an attempt behind.
        started_at: when the attempt began; None for a row that was parked without one (no attempt row is written).
        error: JSON text `{"type", "message", "traceback"}`, or None.
        last_error: the message alone.
        max_attempts: what the row's `max_attempts` becomes, where the hook's policy has changed; None leaves it.
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
    max_attempts: int | None = None


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

    0. With `held`, deliveries that are `running` for this server, but not at the fence that it says, are given back.
    1. `settlements` and `starts` are stored (those whose fence is old are ignored).
    2. In each run that is named by a settlement, the next waiting row is made `pending` if no row is in line.
    3. Rows that are `pending` are claimed, at most `limit`: the due head of each run in `claim_runs`, then, with
       `scan`, the due head of any line, any due row out of line whose hook is not in `apart`, and of each hook in
       `claim_hooks` at most so many of those; earliest `due_at` first. Never two rows of one run, and none while
       another row of its run is `running`. What lost its lease, maybe because it ends the process, can be claimed with
       more care: see `limit_interrupted` and `suspect_after`.

    Attributes:
        apart: hooks that are paused, or limited in how many may run at once: `scan` leaves what is due of them out of
            line alone. Heads of lines it claims all the same, so that they can be postponed and hold up no line.
        claim_hooks: those of them that may start, with how many.
        limit_interrupted: at most so many of those that lost a lease are claimed, by `scan` alone and before all
            others; None: they are claimed like others.
        suspect_after: what lost its lease so often is claimed by `scan` alone, first, one in an exchange, and with
            nothing beside it; None: nothing is.
        held: the deliveries that this server knows to be its own, with their fences, said after an exchange that
            failed: it may have been done all the same, and have claimed what nobody heard of. That is given back as if
            `released`, and its fence grows.
    """

    server_id: str
    now: float
    starts: Sequence[Start] = ()
    settlements: Sequence[Settlement] = ()
    claim_runs: Collection[str] = ()
    scan: bool = False
    limit: int = 0
    apart: Collection[HookKey] = ()
    claim_hooks: Mapping[HookKey, int] = field(default_factory=dict)
    limit_interrupted: int | None = None
    suspect_after: int | None = None
    held: Mapping[str, int] | None = None


@dataclass(slots=True)
class TakeOver:
    """What the servers in `server_ids` held is set free.

    Deliveries that were running become `pending`, due now, their attempt given back, `interruptions` one more, an
    attempt row `interrupted` written; at `max_interruptions` they become `dead`. So do rows whose lease ran out
    `SILENT_SECONDS - LEASE_SECONDS` ago, whoever held them, `server_id` (the caller) excepted. The rows of the servers
    are deleted. Runs stay `running`: `finish_run` ends them, and gives back their sessions. Sessions that were held for
    runs that are not accepted are unlocked, also those of servers without a row, the caller excepted.
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
    """Which deliveries are meant; None means all.

    `created_after` and `created_before` are instants: at or after the first, before the second.
    """

    status: str | None = None
    run_id: str | None = None
    hook: str | None = None
    runnable: str | None = None
    user_id: str | None = None
    replay_id: str | None = None
    created_after: float | None = None
    created_before: float | None = None


@dataclass(slots=True)
class HookStats:
    """What became of one hook's deliveries in a span of time.

    Attributes:
        count: deliveries that ended in it, and `delivered`, `dead`, `discarded` of them.
        failed: attempts that failed or timed out in it.
        wait_p50, wait_p95: seconds from the commit to the first start; None where nothing was delivered.
        duration_p50, duration_p95: seconds of an attempt; None where there was none.
    """

    key: HookKey
    count: int
    delivered: int
    dead: int
    discarded: int
    failed: int
    wait_p50: float | None
    wait_p95: float | None
    duration_p50: float | None
    duration_p95: float | None


ReplayStatus = Literal["running", "paused", "completed", "cancelled"]


@dataclass(slots=True)
class ReplayRecord:
    """A replay: one hook over stored runs, as new deliveries.

    Attributes:
        phase, hook: the hook; `runnables` are the ids of those whose runs are meant.
        statuses: the runs' statuses that are meant.
        since, until: the runs that finished in [since, until); None: no bound.
        root_only: whether runs that another run started are left out.
        max_per_second: deliveries made in a second; None: as fast as they are done.
        matched: how many runs it is about, counted when it was made.
        made: how many deliveries it has made.
        next_at: no further delivery before this instant.
    """

    replay_id: str
    phase: Phase
    hook: str
    runnables: Sequence[str]
    statuses: Sequence[str]
    max_attempts: int
    created_at: float
    plugin: str | None = None
    since: float | None = None
    until: float | None = None
    root_only: bool = True
    max_per_second: float | None = None
    status: ReplayStatus = "running"
    matched: int = 0
    made: int = 0
    next_at: float = 0.0
    finished_at: float | None = None


@dataclass(slots=True)
class Prune:
    """What is to be deleted: what finished before these instants; None keeps all of it.

    Attributes:
        delivered_before: delivered and discarded deliveries.
        dead_before: dead ones.
        runs_before: finished runs, with their deliveries; one with a delivery that is not final is kept, and one with
            a dead delivery that `dead_before` does not cover. Sessions that lose their last run so go with it, and so
            do replays that ended before and have no delivery left.
    """

    delivered_before: float | None = None
    dead_before: float | None = None
    runs_before: float | None = None


@dataclass(slots=True)
class Pruned:
    """How many were deleted, or would be; replays are not counted."""

    deliveries: int = 0
    runs: int = 0
    sessions: int = 0


@dataclass(slots=True)
class Page(Generic[T]):
    """A part of a listing, newest first; `next_cursor` asks for what follows, None at the end."""

    items: list[T]
    next_cursor: str | None = None
