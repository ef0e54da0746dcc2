"""Replays: one hook over stored runs, as new deliveries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, bindparam, exists, func, null, or_, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert

from hookline.jsontext import dumps, loads
from hookline.storage import Page, ReplayRecord, ReplayStatus
from hookline.uuids import uuid7
from hookline_sql import cursors
from hookline_sql.schema import Tables
from hookline_sql.statements import (
    COMPLETED,
    DISCARDED,
    ONE,
    OUT_OF_LINE,
    PARKED,
    PAUSED,
    PENDING,
    RUNNING,
    WAITING,
    ZERO,
    Prepared,
)

MADE_AT_ONCE = 200
"""How many deliveries one transaction makes, so that runs do not wait long for the ledger meanwhile."""

CANCELLED = "the replay was cancelled"

_FIELDS = (
    "replay_id",
    "phase",
    "hook",
    "runnables",
    "statuses",
    "max_attempts",
    "created_at",
    "plugin",
    "since",
    "until",
    "root_only",
    "max_per_second",
    "status",
    "matched",
    "made",
    "next_at",
    "finished_at",
)
_values = attrgetter(*_FIELDS)


class Place(NamedTuple):
    """A run's place in the order in which runs are replayed: that in which they finished."""

    finished_at: float = -math.inf
    seq: int = 0


class Replays:
    """The operations on replays, each a function of a connection in a transaction.

    A replay is about the runs that were there when it was made: those from `at_*` to `end_*`.
    """

    def __init__(self, tables: Tables) -> None:
        self._write_replays(tables)
        self._write_runs(tables)
        self._write_deliveries(tables)

    def _write_replays(self, tables: Tables) -> None:
        replays = tables.replays
        shown = [replays.c[name] for name in _FIELDS]
        places = ("at_finished", "at_seq", "end_finished", "end_seq")
        self._insert = Prepared(insert(replays).values({name: bindparam(name) for name in (*_FIELDS, *places)}))
        self._get = Prepared(select(*shown).where(replays.c.replay_id == bindparam("id")))
        self._places = Prepared(
            select(*(replays.c[name] for name in places)).where(replays.c.replay_id == bindparam("id"))
        )
        page = (
            select(*shown, replays.c.seq)
            .where(replays.c.seq < bindparam("before"))
            .order_by(replays.c.seq.desc())
            .limit(bindparam("count"))
        )
        self._page = Prepared(page)
        self._page_of_status = Prepared(page.where(replays.c.status == bindparam("one_status")))
        one = update(replays).where(replays.c.replay_id == bindparam("id"))
        changed = ("status", "made", "next_at", "finished_at", "at_finished", "at_seq")
        self._advance = Prepared(one.values({name: bindparam(name) for name in changed}))
        change = one.values(status=bindparam("new_status"), finished_at=bindparam("finished"))
        self._set_status = Prepared(change.where(replays.c.status.in_([RUNNING, PAUSED])))
        self._cancel_undone = Prepared(change.where(replays.c.status.in_([RUNNING, PAUSED, COMPLETED])))

    def _write_runs(self, tables: Tables) -> None:
        runs = tables.runs
        meant = (
            runs.c.runnable_id == bindparam("runnable"),
            runs.c.finished_at >= bindparam("since"),
            runs.c.finished_at < bindparam("until"),
            runs.c.status.in_(bindparam("statuses", expanding=True)),
            or_(runs.c.parent_run_id.is_(None), bindparam("nested", type_=Integer) == ONE),
        )
        place = tuple_(runs.c.finished_at, runs.c.seq)
        self._count = select(func.count()).select_from(runs).where(*meant)
        self._last = (
            select(runs.c.finished_at, runs.c.seq)
            .where(*meant)
            .order_by(runs.c.finished_at.desc(), runs.c.seq.desc())
            .limit(1)
        )
        self._next_runs = (
            select(runs.c.finished_at, runs.c.seq, runs.c.run_id, runs.c.runnable_id, runs.c.user_id)
            .where(
                *meant,
                place > tuple_(bindparam("at_finished"), bindparam("at_seq")),
                place <= tuple_(bindparam("end_finished"), bindparam("end_seq")),
            )
            .order_by(runs.c.finished_at, runs.c.seq)
            .limit(bindparam("count"))
        )

    def _write_deliveries(self, tables: Tables) -> None:
        deliveries, attempts = tables.deliveries, tables.attempts
        behind = (
            select(func.coalesce(func.max(deliveries.c.position) + ONE, ZERO))
            .where(deliveries.c.run_id == bindparam("run_id"))
            .scalar_subquery()
        )
        new = insert(deliveries).values(
            delivery_id=bindparam("delivery_id"),
            run_id=bindparam("run_id"),
            runnable_id=bindparam("runnable_id"),
            user_id=bindparam("user_id"),
            phase=bindparam("phase"),
            hook=bindparam("hook"),
            plugin=bindparam("plugin"),
            position=behind,
            status=PENDING,
            in_line=OUT_OF_LINE,
            max_attempts=bindparam("max_attempts"),
            due_at=bindparam("now"),
            created_at=bindparam("now"),
            replay_id=bindparam("replay_id"),
            fence=ZERO,
            attempt_count=ZERO,
            interruptions=ZERO,
        )
        self._make = Prepared(new.on_conflict_do_nothing())
        self._discard = Prepared(
            update(deliveries)
            .where(
                deliveries.c.replay_id == bindparam("id"),
                deliveries.c.status.in_([WAITING, PENDING, PARKED]),
                ~exists().where(attempts.c.delivery_id == deliveries.c.delivery_id),
            )
            .values(
                status=DISCARDED,
                in_line=OUT_OF_LINE,
                due_at=null(),
                fence=deliveries.c.fence + ONE,
                discard_reason=bindparam("reason"),
                finished_at=bindparam("now"),
            )
        )

    def count(self, connection: Connection, replay: ReplayRecord) -> int:
        """How many runs it would be about."""
        return sum(
            connection.execute(self._count, {**_meant(replay), "runnable": runnable}).scalar_one()
            for runnable in dict.fromkeys(replay.runnables)
        )

    def last(self, connection: Connection, replay: ReplayRecord) -> Place:
        """The place of the last run that it would be about."""
        ends = [Place()]
        for runnable in dict.fromkeys(replay.runnables):
            row = connection.execute(self._last, {**_meant(replay), "runnable": runnable}).first()
            if row is not None:
                ends.append(Place(*row))
        return max(ends)

    def create(self, connection: Connection, replay: ReplayRecord, end: Place) -> ReplayRecord:
        """Store a replay of the runs up to that place."""
        values = dict(zip(_FIELDS, _values(replay), strict=True))
        start = Place()
        values |= {
            "runnables": dumps(list(replay.runnables)),
            "statuses": dumps(list(replay.statuses)),
            "root_only": int(replay.root_only),
            "at_finished": start.finished_at,
            "at_seq": start.seq,
            "end_finished": end.finished_at,
            "end_seq": end.seq,
        }
        self._insert.change(connection, values)
        return replay

    def get(self, connection: Connection, replay_id: str) -> ReplayRecord | None:
        """One replay."""
        row = self._get.row(connection, {"id": replay_id})
        return None if row is None else _replay_from(row)

    def page(self, connection: Connection, status: str | None, limit: int, cursor: str | None) -> Page[ReplayRecord]:
        """Replays, newest first."""
        params: dict[str, Any] = {"before": cursors.before(cursor), "count": limit + 1}
        if status is None:
            rows = self._page.rows(connection, params)
        else:
            rows = self._page_of_status.rows(connection, {**params, "one_status": status})
        return cursors.page_of(rows, limit, _replay_from)

    def advance(
        self, connection: Connection, replay_id: str, now: float, limit: int
    ) -> tuple[ReplayRecord | None, int]:
        """Make its next deliveries, at most `limit` and `MADE_AT_ONCE`, and what its rate allows; and say how many."""
        replay = self.get(connection, replay_id)
        if replay is None or replay.status != "running" or now < replay.next_at or limit <= 0:
            return replay, 0
        most = min(limit, MADE_AT_ONCE, _most_in_a_second(replay))
        at, end = self._places_of(connection, replay_id)
        following = self._following(connection, replay, at, end, most + 1)
        made = self._make.change_many(connection, [_delivery_params(replay, now, row) for row in following[:most]])
        advanced = replace(replay, made=replay.made + made)
        if replay.max_per_second is not None:
            advanced.next_at = now + made / replay.max_per_second
        if len(following) <= most:
            advanced.status, advanced.finished_at = "completed", now
        self._store(connection, advanced, Place(*following[:most][-1][:2]) if following else at)
        return advanced, made

    def set_status(
        self, connection: Connection, replay_id: str, status: ReplayStatus, now: float
    ) -> ReplayRecord | None:
        """Pause, resume or end a replay that has not ended."""
        change: Prepared = self._set_status
        finished: float | None = None
        if status == "cancelled":
            finished = now
            if self._discard.change(connection, {"id": replay_id, "reason": CANCELLED, "now": now}):
                change = self._cancel_undone
        if not change.change(connection, {"id": replay_id, "new_status": status, "finished": finished}):
            return None
        return self.get(connection, replay_id)

    def _places_of(self, connection: Connection, replay_id: str) -> tuple[Place, Place]:
        row = self._places.row(connection, {"id": replay_id})
        assert row is not None  # noqa: S101 - for the type checker: the replay was read in this transaction
        return Place(*row[:2]), Place(*row[2:])

    def _following(
        self, connection: Connection, replay: ReplayRecord, at: Place, end: Place, count: int
    ) -> list[Sequence[Any]]:
        """The runs behind a place, those that finished first before others."""
        bounds = {"at_finished": at.finished_at, "at_seq": at.seq, "end_finished": end.finished_at, "end_seq": end.seq}
        found: list[Sequence[Any]] = []
        for runnable in dict.fromkeys(replay.runnables):
            params = {**_meant(replay), **bounds, "runnable": runnable, "count": count}
            found += connection.execute(self._next_runs, params)
        found.sort(key=lambda row: (row[0], row[1]))
        return found[:count]

    def _store(self, connection: Connection, replay: ReplayRecord, at: Place) -> None:
        self._advance.change(
            connection,
            {
                "id": replay.replay_id,
                "status": replay.status,
                "made": replay.made,
                "next_at": replay.next_at,
                "finished_at": replay.finished_at,
                "at_finished": at.finished_at,
                "at_seq": at.seq,
            },
        )


def _meant(replay: ReplayRecord) -> dict[str, Any]:
    """The parameters of the condition that a run is meant."""
    return {
        "since": -math.inf if replay.since is None else replay.since,
        "until": math.inf if replay.until is None else replay.until,
        "statuses": [str(status) for status in replay.statuses],
        "nested": int(not replay.root_only),
    }


def _most_in_a_second(replay: ReplayRecord) -> int:
    return MADE_AT_ONCE if replay.max_per_second is None else max(1, int(replay.max_per_second))


def _delivery_params(replay: ReplayRecord, now: float, row: Sequence[Any]) -> dict[str, Any]:
    _, _, run_id, runnable_id, user_id = row
    return {
        "delivery_id": uuid7(),
        "run_id": run_id,
        "runnable_id": runnable_id,
        "user_id": user_id,
        "phase": replay.phase,
        "hook": replay.hook,
        "plugin": replay.plugin,
        "max_attempts": replay.max_attempts,
        "now": now,
        "replay_id": replay.replay_id,
    }


def _replay_from(row: Sequence[Any]) -> ReplayRecord:
    replay = ReplayRecord(**dict(zip(_FIELDS, row[: len(_FIELDS)], strict=True)))
    replay.runnables = loads(row[_FIELDS.index("runnables")])
    replay.statuses = loads(row[_FIELDS.index("statuses")])
    replay.root_only = bool(replay.root_only)
    return replay
