"""The storage: hookline's protocol, each operation handed to the writer or to the readers of a ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, update

from hookline.errors import StorageError
from hookline.sessions import Session
from hookline.storage import (
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
from hookline_sql.database import SqliteDb
from hookline_sql.deliveries import MEND_AT_ONCE
from hookline_sql.ledger import Ledger, Ledgers
from hookline_sql.pruning import DELIVERIES_AT_ONCE, REPLAYS_AT_ONCE, OldDeliveries, Place

T = TypeVar("T")

_ledgers = Ledgers()


def open_storage(description: SqliteDb) -> SqlStorage:
    """Open a database, or share it with those who have it open in this process.

    Raises:
        StorageError: it cannot be opened.
    """
    return SqlStorage(_ledgers.open(description), _ledgers)


class SqlStorage:
    """A ledger in an SQLite file; see `hookline.storage.Storage` for what each operation does.

    An operation whose caller stops waiting for it is done nevertheless.
    """

    def __init__(self, ledger: Ledger, ledgers: Ledgers) -> None:
        self._ledger = ledger
        self._ledgers = ledgers
        self._is_closed = False

    @property
    def description(self) -> str:
        """The URL of the file."""
        return self._ledger.description.url

    async def check(self) -> None:
        """Write something, which takes the lock, room on the disk and a flush."""
        version = self._ledger.tables.version
        touch = update(version).values(version_num=version.c.version_num)
        await self._write(lambda connection: connection.execute(touch).rowcount)

    # servers

    async def beat(self, server: ServerRecord) -> None:
        """Write the server's row, renew the leases of what it is running."""
        await self._write(partial(self._ledger.servers.beat, server=server))

    async def list_servers(self) -> list[ServerRecord]:
        """All servers that have a row."""
        return await self._read(self._ledger.servers.all)

    async def list_orphans(self, server_ids: Collection[str]) -> list[RunRecord]:
        """The running runs of those servers, and of servers without a row."""
        return await self._read(partial(self._ledger.servers.list_orphans, server_ids=server_ids))

    async def take_over(self, request: TakeOver) -> int:
        """Set free what silent servers held; returns how many deliveries were."""
        return await self._write(partial(self._ledger.servers.take_over, request=request))

    async def retire(self, server_id: str) -> None:
        """Delete a server's row."""
        await self._write(partial(self._ledger.servers.retire, server_id=server_id))

    # runs

    async def lock_session(self, request: SessionLock) -> LockedSession | None:
        """Make the session the run's own; its `session.session_state` stays empty, `state` is the text of it."""
        return await self._write(partial(self._ledger.sessions.lock, request=request))

    async def unlock_session(self, session_id: str, run_id: str) -> None:
        """Give the session back."""
        await self._write(partial(self._ledger.sessions.unlock, session_id=session_id, run_id=run_id))

    async def accept_run(self, run: RunRecord, deliveries: Sequence[NewDelivery]) -> None:
        """Commit 1."""
        await self._write(partial(self._ledger.runs.accept, run=run, deliveries=deliveries))

    async def finish_run(self, request: FinishRun) -> bool:
        """Commit 2; a run that is no longer the session's holder changes nothing of the session."""
        return await self._write(partial(self._ledger.runs.finish, request=request))

    async def release_line(self, run_id: str, now: float) -> None:
        """Make the head of a finished run's line due at once."""
        await self._write(partial(self._ledger.lines.release, run_id=run_id, now=now))

    async def get_run(self, run_id: str) -> RunRecord | None:
        """One run."""
        return await self._read(partial(self._ledger.runs.get, run_id=run_id))

    async def list_runs(self, session_id: str, *, limit: int, cursor: str | None) -> Page[RunRecord]:
        """The runs of one session; a cursor that no listing gave raises ValueError."""
        return await self._read(partial(self._ledger.runs.page, session_id=session_id, limit=limit, cursor=cursor))

    # sessions

    async def get_session(self, session_id: str) -> Session | None:
        """One session."""
        return await self._read(partial(self._ledger.sessions.get, session_id=session_id))

    async def list_sessions(self, *, user_id: str | None, limit: int, cursor: str | None) -> Page[Session]:
        """Sessions; a cursor that no listing gave raises ValueError."""
        return await self._read(partial(self._ledger.sessions.page, user_id=user_id, limit=limit, cursor=cursor))

    # deliveries

    async def exchange(self, request: Exchange) -> list[ClaimedDelivery]:
        """Store what became of attempts and claim new ones."""
        return await self._write(partial(self._ledger.exchanges.exchange, request=request))

    async def get_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """One delivery with its attempts."""
        return await self._read(partial(self._ledger.deliveries.get, delivery_id=delivery_id))

    async def list_deliveries(self, where: DeliveryFilter, *, limit: int, cursor: str | None) -> Page[DeliveryRecord]:
        """Deliveries without their attempts; a cursor that no listing gave raises ValueError."""
        return await self._read(partial(self._ledger.deliveries.page, where=where, limit=limit, cursor=cursor))

    async def run_deliveries(self, run_id: str) -> list[DeliveryRecord]:
        """All deliveries of one run with their attempts, in the order of the line."""
        return await self._read(partial(self._ledger.deliveries.of_run, run_id=run_id))

    async def redrive(self, delivery_id: str, now: float) -> DeliveryRecord | None:
        """Give a dead or parked delivery fresh attempts."""
        return await self._write(partial(self._ledger.deliveries.redrive, delivery_id=delivery_id, now=now))

    async def discard(self, delivery_id: str, reason: str, now: float) -> DeliveryRecord | None:
        """End a delivery that is not final and not running."""
        return await self._write(
            partial(self._ledger.deliveries.discard, delivery_id=delivery_id, reason=reason, now=now)
        )

    async def count_deliveries(self, where: DeliveryFilter, limit: int) -> int:
        """How many deliveries a filter lets through, counted up to `limit`."""
        return await self._read(partial(self._ledger.deliveries.count, where=where, limit=limit))

    async def backlog(self, limit: int) -> int:
        """How many deliveries are still to be done, counted up to `limit`."""
        return await self._read(partial(self._ledger.deliveries.backlog, limit=limit))

    async def redrive_many(self, where: DeliveryFilter, now: float, limit: int) -> int:
        """Redrive the oldest, some in each transaction: after an error those of earlier ones are redriven."""
        ids = await self._read(partial(self._ledger.deliveries.redrivable, where=where, limit=limit))
        redrive = self._ledger.deliveries.redrive_some
        return sum([await self._write_gently(partial(redrive, ids=some, now=now)) for some in _in_parts(ids)])

    async def discard_many(self, where: DeliveryFilter, reason: str, now: float, limit: int) -> int:
        """Discard the oldest, some in each transaction: after an error those of earlier ones are discarded."""
        ids = await self._read(partial(self._ledger.deliveries.discardable, where=where, limit=limit))
        discard = self._ledger.deliveries.discard_some
        return sum(
            [await self._write_gently(partial(discard, ids=some, reason=reason, now=now)) for some in _in_parts(ids)]
        )

    async def hook_stats(self, since: float) -> list[HookStats]:
        """What became of each hook's deliveries since then.

        Counts are exact; percentiles are those of the latest 5,000 deliveries of each hook and status.
        """
        return await self._read(partial(self._ledger.statistics.hooks, since=since))

    # pruning

    async def prune(self, request: Prune, *, dry_run: bool = False) -> Pruned:
        """Delete what is old, some in each transaction: after an error what earlier ones deleted is gone."""
        pruned = Pruned()
        for old in await self._read(partial(self._ledger.pruning.old_deliveries, request=request)):
            pruned.deliveries += old.count if dry_run else await self._delete(old)
        if request.runs_before is not None:
            for place in await self._read(self._ledger.pruning.places):
                await self._prune_runs(request, place, pruned, dry_run=dry_run)
            if not dry_run:
                await self._prune_replays(request.runs_before)
        return pruned

    async def _delete(self, old: OldDeliveries) -> int:
        total = 0
        while True:
            deleted = await self._write_gently(partial(self._ledger.pruning.delete_deliveries, old=old))
            total += deleted
            if deleted < DELIVERIES_AT_ONCE:
                return total

    async def _prune_runs(self, request: Prune, place: Place, total: Pruned, *, dry_run: bool) -> None:
        """Prune the runs of one runnable, and add what was to `total`."""
        following: Place | None = place
        while following is not None:
            if dry_run:
                step = partial(self._ledger.pruning.count_runs, request=request, place=following)
                pruned, following = await self._read(step)
            else:
                step = partial(self._ledger.pruning.delete_runs, request=request, place=following)
                pruned, following = await self._write_gently(step)
            total.deliveries += pruned.deliveries
            total.runs += pruned.runs
            total.sessions += pruned.sessions

    async def _prune_replays(self, runs_before: float) -> None:
        step = partial(self._ledger.pruning.delete_replays, runs_before=runs_before)
        while await self._write_gently(step) == REPLAYS_AT_ONCE:
            pass

    # replays

    async def create_replay(self, replay: ReplayRecord) -> ReplayRecord:
        """Store a replay of the runs that have finished; returns it with `matched` counted."""
        replays = self._ledger.replays
        end = await self._read(partial(replays.last, replay=replay))
        counted = replace(replay, matched=await self.count_replay(replay))
        return await self._write(partial(replays.create, replay=counted, end=end))

    async def count_replay(self, replay: ReplayRecord) -> int:
        """How many runs a replay would be about."""
        return await self._read(partial(self._ledger.replays.count, replay=replay))

    async def get_replay(self, replay_id: str) -> ReplayRecord | None:
        """One replay."""
        return await self._read(partial(self._ledger.replays.get, replay_id=replay_id))

    async def list_replays(self, *, status: str | None, limit: int, cursor: str | None) -> Page[ReplayRecord]:
        """Replays; a cursor that no listing gave raises ValueError."""
        return await self._read(partial(self._ledger.replays.page, status=status, limit=limit, cursor=cursor))

    async def advance_replay(self, replay_id: str, now: float, limit: int) -> ReplayRecord | None:
        """Make the deliveries of the replay's next runs, some in each transaction."""
        left = limit
        while True:
            advance = partial(self._ledger.replays.advance, replay_id=replay_id, now=now, limit=left)
            replay, made = await self._write(advance)
            left -= made
            if replay is None or not made or left <= 0 or replay.status != "running" or now < replay.next_at:
                return replay

    async def set_replay_status(self, replay_id: str, status: ReplayStatus, now: float) -> ReplayRecord | None:
        """Pause, resume or cancel a replay that has not ended."""
        return await self._write(partial(self._ledger.replays.set_status, replay_id=replay_id, status=status, now=now))

    async def close(self) -> None:
        """Finish what is under way; the last storage of a file closes it. Closing twice does no harm."""
        if not self._is_closed:
            self._is_closed = True
            await self._ledgers.release(self._ledger)

    async def _write(self, call: Callable[[Connection], T]) -> T:
        self._check_open()
        return await self._ledger.writer.submit(call)

    async def _write_gently(self, call: Callable[[Connection], T]) -> T:
        """A step of something long: afterwards the ledger is left to others for as long as the step took."""
        began = time.monotonic()
        result = await self._write(call)
        await asyncio.sleep(time.monotonic() - began)
        return result

    async def _read(self, call: Callable[[Connection], T]) -> T:
        self._check_open()
        return await self._ledger.readers.submit(call)

    def _check_open(self) -> None:
        if self._is_closed:
            raise StorageError(f"{self.description} is closed: open the database again")


def _in_parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Few enough for one transaction each."""
    return (ids[start : start + MEND_AT_ONCE] for start in range(0, len(ids), MEND_AT_ONCE))
