"""The operations of a storage."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from hookline.sessions import Session
from hookline.storage.records import (
    ClaimedDelivery,
    DeliveryFilter,
    DeliveryRecord,
    Exchange,
    FinishRun,
    HookStats,
    LockedSession,
    NewDelivery,
    Page,
    Prune,
    Pruned,
    ReplayRecord,
    ReplayStatus,
    RunRecord,
    ServerRecord,
    SessionLock,
    TakeOver,
)


class RunStorage(Protocol):
    """What the engine needs of a storage while it executes a run."""

    async def lock_session(self, request: SessionLock) -> LockedSession | None:
        """Make the session the run's own, creating it if it is new; None while another run holds it."""
        ...

    async def unlock_session(self, session_id: str, run_id: str) -> None:
        """Give the session back, for a run that ends without `finish_run`."""

    async def accept_run(self, run: RunRecord, deliveries: Sequence[NewDelivery]) -> None:
        """Commit 1: store the run as `running`, and its background pre-hooks.

        Raises:
            RunLostError: a root run whose session is not its own any more (see `TakeOver`); nothing is stored.
        """

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

    async def count_deliveries(self, where: DeliveryFilter, limit: int) -> int:
        """How many deliveries a filter lets through, counted up to `limit`."""
        ...

    async def backlog(self, limit: int) -> int:
        """How many deliveries are `waiting`, `pending` or `running`, counted up to `limit`."""
        ...

    async def redrive_many(self, where: DeliveryFilter, now: float, limit: int) -> int:
        """As `redrive`, of the oldest `limit` that the filter lets through and that can be; returns how many were."""
        ...

    async def discard_many(self, where: DeliveryFilter, reason: str, now: float, limit: int) -> int:
        """As `discard`, of the oldest `limit` that the filter lets through and that can be; returns how many were."""
        ...

    async def hook_stats(self, since: float) -> list[HookStats]:
        """What became of each hook's deliveries since then, sorted by hook."""
        ...

    async def prune(self, request: Prune, *, dry_run: bool = False) -> Pruned:
        """Delete what is old, or only count it; in steps, so that runs are not held up meanwhile."""
        ...

    # replays
    async def create_replay(self, replay: ReplayRecord) -> ReplayRecord:
        """Store a replay; returns it with `matched` counted."""
        ...

    async def count_replay(self, replay: ReplayRecord) -> int:
        """How many runs a replay would be about; nothing is stored."""
        ...

    async def get_replay(self, replay_id: str) -> ReplayRecord | None:
        """One replay."""
        ...

    async def list_replays(self, *, status: str | None, limit: int, cursor: str | None) -> Page[ReplayRecord]:
        """Replays, newest first."""
        ...

    async def advance_replay(self, replay_id: str, now: float, limit: int) -> ReplayRecord | None:
        """Make the deliveries of the replay's next runs, oldest first, at most `limit`; returns it as it is then.

        Nothing is made before `next_at`, nor for a replay that is not `running`. Each is `pending`, out of line, due
        now, its position behind those of its run; a run gets at most one of a replay. With no run left the replay
        is `completed`. None if it is unknown.
        """
        ...

    async def set_replay_status(self, replay_id: str, status: ReplayStatus, now: float) -> ReplayRecord | None:
        """Pause, resume or cancel a replay that is `running` or `paused`; None if it is neither, or unknown.

        Cancelling discards its deliveries that were not begun; where there are some, it cancels a `completed` one, too.
        """
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


@runtime_checkable
class Upgradable(Database, Protocol):
    """A database whose tables have revisions."""

    def upgrade(self) -> tuple[str | None, str]:
        """Make or migrate its tables, also where `open` would not; called in a thread.

        Returns:
            Its schema's revision before (None: there were no tables) and after.

        Raises:
            StorageError: it cannot be done; nothing has changed then.
        """
        ...
