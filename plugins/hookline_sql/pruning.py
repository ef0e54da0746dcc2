"""Pruning: what is old is deleted, or counted, some of it in each transaction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, and_, bindparam, delete, exists, func, or_, select, tuple_

from hookline.deliveries import DeliveryStatus
from hookline.storage import Prune, Pruned
from hookline_sql.schema import Tables
from hookline_sql.statements import CANCELLED, COMPLETED, DEAD, DELIVERED, DISCARDED, Prepared

DELIVERIES_AT_ONCE = 200
"""How many deliveries one transaction deletes, so that runs do not wait long for the ledger meanwhile."""

RUNS_AT_ONCE = 50
"""How many runs one transaction looks at."""

REPLAYS_AT_ONCE = 200
"""How many replays one transaction deletes."""

_NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class OldDeliveries:
    """The deliveries of one final status that ended before an instant, and how many they are."""

    status: DeliveryStatus
    before: float
    count: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far the runs of a runnable were gone through, in the order in which they finished."""

    runnable: str
    finished_at: float = _NEVER
    seq: int = 0


class Pruning:
    """The steps of pruning, each a function of a connection in a transaction."""

    def __init__(self, tables: Tables) -> None:
        self._write_deliveries(tables)
        self._write_runs(tables)
        self._write_deleting_runs(tables)
        self._write_replays(tables)

    def _write_deliveries(self, tables: Tables) -> None:
        deliveries, attempts = tables.deliveries, tables.attempts
        is_old = and_(
            deliveries.c.status == bindparam("ended_as"),
            deliveries.c.finished_at < bindparam("before"),
        )
        self._count_old = Prepared(select(func.count()).select_from(deliveries).where(is_old))
        some = select(deliveries.c.seq).where(is_old).order_by(deliveries.c.finished_at).limit(bindparam("count"))
        ids = select(deliveries.c.delivery_id).where(deliveries.c.seq.in_(some))
        self._delete_old_attempts = Prepared(delete(attempts).where(attempts.c.delivery_id.in_(ids)))
        self._delete_old = Prepared(delete(deliveries).where(deliveries.c.seq.in_(some)))

    def _write_runs(self, tables: Tables) -> None:
        runs, sessions = tables.runs, tables.sessions
        self._next_runnable = Prepared(
            select(runs.c.runnable_id)
            .where(runs.c.finished_at.is_not(None), runs.c.runnable_id > bindparam("after"))
            .order_by(runs.c.runnable_id)
            .limit(1)
        )
        old_runs = (
            select(runs.c.finished_at, runs.c.seq, runs.c.run_id, runs.c.session_id)
            .where(
                runs.c.runnable_id == bindparam("runnable"),
                runs.c.finished_at < bindparam("runs_before"),
                tuple_(runs.c.finished_at, runs.c.seq) > tuple_(bindparam("at_finished"), bindparam("at_seq")),
            )
            .order_by(runs.c.finished_at, runs.c.seq)
            .limit(bindparam("count"))
        )
        kept = _is_needed(tables, runs)
        self._old_runs = Prepared(old_runs.add_columns(kept))
        others, later = runs.alias(), runs.alias()
        is_last_of_session = ~exists().where(
            later.c.session_id == runs.c.session_id, later.c.seq > runs.c.seq
        ) & ~exists().where(
            others.c.session_id == runs.c.session_id,
            or_(
                others.c.finished_at.is_(None),
                others.c.finished_at >= bindparam("runs_before"),
                _is_needed(tables, others),
            ),
        )
        session_goes = is_last_of_session & exists().where(
            sessions.c.session_id == runs.c.session_id, sessions.c.active_run_id.is_(None)
        )
        self._count_runs = Prepared(old_runs.add_columns(kept, _more_deliveries(tables), session_goes))

    def _write_deleting_runs(self, tables: Tables) -> None:
        runs, deliveries, attempts, sessions = tables.runs, tables.deliveries, tables.attempts, tables.sessions
        of_run = deliveries.c.run_id == bindparam("run")
        ids = select(deliveries.c.delivery_id).where(of_run)
        self._delete_attempts = Prepared(delete(attempts).where(attempts.c.delivery_id.in_(ids)))
        self._delete_deliveries = Prepared(delete(deliveries).where(of_run))
        self._delete_run = Prepared(delete(runs).where(runs.c.run_id == bindparam("run")))
        self._delete_session = Prepared(
            delete(sessions).where(
                sessions.c.session_id == bindparam("session"),
                sessions.c.active_run_id.is_(None),
                ~exists().where(runs.c.session_id == sessions.c.session_id),
            )
        )

    def _write_replays(self, tables: Tables) -> None:
        replays, deliveries = tables.replays, tables.deliveries
        some = (
            select(replays.c.seq)
            .where(
                replays.c.status.in_([COMPLETED, CANCELLED]),
                replays.c.finished_at < bindparam("runs_before"),
                ~exists().where(deliveries.c.replay_id == replays.c.replay_id),
            )
            .limit(bindparam("count"))
        )
        self._delete_replays = Prepared(delete(replays).where(replays.c.seq.in_(some)))

    def old_deliveries(self, connection: Connection, request: Prune) -> list[OldDeliveries]:
        """What is old enough, by status."""
        wanted = (
            (DeliveryStatus.DELIVERED, request.delivered_before),
            (DeliveryStatus.DISCARDED, request.delivered_before),
            (DeliveryStatus.DEAD, request.dead_before),
        )
        found: list[OldDeliveries] = []
        for status, before in wanted:
            if before is not None:
                row = self._count_old.row(connection, {"ended_as": str(status), "before": before})
                if row is not None and row[0]:
                    found.append(OldDeliveries(status, before, row[0]))
        return found

    def delete_deliveries(self, connection: Connection, old: OldDeliveries) -> int:
        """Delete some; fewer than `DELIVERIES_AT_ONCE` means: all."""
        params = {"ended_as": str(old.status), "before": old.before, "count": DELIVERIES_AT_ONCE}
        self._delete_old_attempts.change(connection, params)
        return self._delete_old.change(connection, params)

    def places(self, connection: Connection) -> list[Place]:
        """Where to begin with each runnable that has finished runs."""
        places: list[Place] = []
        after = ""
        while row := self._next_runnable.row(connection, {"after": after}):
            (after,) = row
            places.append(Place(after))
        return places

    def delete_runs(self, connection: Connection, request: Prune, place: Place) -> tuple[Pruned, Place | None]:
        """Delete some of a runnable's old runs; returns what was deleted and where to go on, None at the end."""
        rows = self._old_runs.rows(connection, _run_params(request, place))
        pruned = Pruned()
        sessions: dict[str, None] = {}
        for *_, run_id, session_id, is_needed in rows:
            if not is_needed:
                run = {"run": run_id}
                self._delete_attempts.change(connection, run)
                pruned.deliveries += self._delete_deliveries.change(connection, run)
                pruned.runs += self._delete_run.change(connection, run)
                sessions[session_id] = None
        for session_id in sessions:
            pruned.sessions += self._delete_session.change(connection, {"session": session_id})
        return pruned, _next_place(place, rows)

    def count_runs(self, connection: Connection, request: Prune, place: Place) -> tuple[Pruned, Place | None]:
        """Count what `delete_runs` would delete, without the deliveries that `old_deliveries` counts."""
        rows = self._count_runs.rows(connection, _run_params(request, place))
        pruned = Pruned()
        for *_, is_needed, deliveries, session_goes in rows:
            if not is_needed:
                pruned.runs += 1
                pruned.deliveries += deliveries
                pruned.sessions += session_goes
        return pruned, _next_place(place, rows)

    def delete_replays(self, connection: Connection, runs_before: float) -> int:
        """Delete some that ended before and have no delivery left; fewer than `REPLAYS_AT_ONCE` means: all."""
        return self._delete_replays.change(connection, {"runs_before": runs_before, "count": REPLAYS_AT_ONCE})


def _is_needed(tables: Tables, runs: FromClause) -> ColumnElement[bool]:
    """Whether a finished run has a delivery that must be kept: one to be done yet, or a dead one that is not old."""
    kept = tables.deliveries.alias()
    is_kept = or_(
        kept.c.status.not_in([DELIVERED, DISCARDED, DEAD]),
        and_(kept.c.status == DEAD, kept.c.finished_at >= bindparam("dead_before")),
    )
    return exists().where(kept.c.run_id == runs.c.run_id, is_kept)


def _more_deliveries(tables: Tables) -> ColumnElement[int]:
    """How many deliveries of a run are not old enough to be deleted by themselves."""
    deliveries = tables.deliveries
    is_old = or_(
        and_(deliveries.c.status.in_([DELIVERED, DISCARDED]), deliveries.c.finished_at < bindparam("delivered_before")),
        and_(deliveries.c.status == DEAD, deliveries.c.finished_at < bindparam("dead_before")),
    )
    return (
        select(func.count())
        .select_from(deliveries)
        .where(deliveries.c.run_id == tables.runs.c.run_id, ~is_old)
        .correlate(tables.runs)
        .scalar_subquery()
    )


def _run_params(request: Prune, place: Place) -> dict[str, Any]:
    return {
        "runnable": place.runnable,
        "runs_before": request.runs_before,
        "delivered_before": _NEVER if request.delivered_before is None else request.delivered_before,
        "dead_before": _NEVER if request.dead_before is None else request.dead_before,
        "at_finished": place.finished_at,
        "at_seq": place.seq,
        "count": RUNS_AT_ONCE,
    }


def _next_place(place: Place, rows: Any) -> Place | None:
    if len(rows) < RUNS_AT_ONCE:
        return None
    finished_at, seq = rows[-1][:2]
    return Place(place.runnable, finished_at, seq)
