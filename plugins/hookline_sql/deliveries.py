"""Deliveries as people see them: listing, counting, redriving, discarding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, null, select, update

from hookline.mending import DISCARDABLE, REDRIVABLE
from hookline.storage import DeliveryFilter, DeliveryRecord, Page
from hookline_sql import cursors
from hookline_sql.filters import Filters
from hookline_sql.lines import Lines
from hookline_sql.records import attempts_from, record_columns, record_from
from hookline_sql.schema import Tables
from hookline_sql.statements import (
    DEAD,
    DELIVERED,
    DISCARDED,
    ONE,
    OUT_OF_LINE,
    PARKED,
    PENDING,
    RUNNING,
    WAITING,
    ZERO,
    Prepared,
)

MEND_AT_ONCE = 200
"""How many deliveries one transaction redrives or discards, so that runs do not wait long for the ledger meanwhile."""


class Deliveries:
    """The operations on deliveries that people use, each a function of a connection in a transaction."""

    def __init__(self, tables: Tables, lines: Lines, filters: Filters) -> None:
        self._lines = lines
        self._filters = filters
        self._write_reading(tables)
        self._write_changes(tables)

    def _write_reading(self, tables: Tables) -> None:
        deliveries, attempts = tables.deliveries, tables.attempts
        shown = (attempts.c.started_at, attempts.c.duration, attempts.c.outcome, attempts.c.error)
        self._get = Prepared(select(*record_columns(deliveries)).where(deliveries.c.delivery_id == bindparam("id")))
        self._attempts = Prepared(
            select(*shown).where(attempts.c.delivery_id == bindparam("id")).order_by(attempts.c.number)
        )
        self._of_run = Prepared(
            select(*record_columns(deliveries))
            .where(deliveries.c.run_id == bindparam("run"))
            .order_by(deliveries.c.position, deliveries.c.seq)
        )
        self._attempts_of_run = Prepared(
            select(attempts.c.delivery_id, *shown)
            .join_from(deliveries, attempts, attempts.c.delivery_id == deliveries.c.delivery_id)
            .where(deliveries.c.run_id == bindparam("run"))
            .order_by(attempts.c.delivery_id, attempts.c.number)
        )
        these = deliveries.c.seq.in_(bindparam("seqs", expanding=True))
        self._page = (
            select(*record_columns(deliveries), deliveries.c.seq).where(these).order_by(deliveries.c.seq.desc())
        )
        self._ids = select(deliveries.c.delivery_id).where(these).order_by(deliveries.c.seq)
        open_ones = (
            select(deliveries.c.seq)
            .where(deliveries.c.status != DELIVERED, deliveries.c.status.in_([WAITING, PENDING, RUNNING]))
            .limit(bindparam("limit"))
        )
        self._backlog = Prepared(select(func.count()).select_from(open_ones.subquery()))

    def _write_changes(self, tables: Tables) -> None:
        deliveries = tables.deliveries
        one = update(deliveries).where(deliveries.c.delivery_id == bindparam("id"))
        self._redrive = Prepared(
            one.where(deliveries.c.status.in_([DEAD, PARKED])).values(
                status=PENDING,
                in_line=OUT_OF_LINE,
                due_at=bindparam("now"),
                fence=deliveries.c.fence + ONE,
                attempt_count=ZERO,
                interruptions=ZERO,
                finished_at=null(),
            )
        )
        was_head = select(deliveries.c.run_id, deliveries.c.in_line & (deliveries.c.status == PENDING)).where(
            deliveries.c.delivery_id == bindparam("id"),
            deliveries.c.status.in_([WAITING, PENDING, PARKED]),
        )
        self._was_head = Prepared(was_head)
        discard = one.values(
            status=DISCARDED,
            in_line=OUT_OF_LINE,
            due_at=null(),
            fence=deliveries.c.fence + ONE,
            discard_reason=bindparam("reason"),
            finished_at=bindparam("now"),
        )
        self._discard = Prepared(discard)

    def get(self, connection: Connection, delivery_id: str) -> DeliveryRecord | None:
        """One delivery with its attempts."""
        row = self._get.row(connection, {"id": delivery_id})
        if row is None:
            return None
        record = record_from(row)
        record.attempts = attempts_from(self._attempts.rows(connection, {"id": delivery_id}))
        return record

    def of_run(self, connection: Connection, run_id: str) -> list[DeliveryRecord]:
        """A run's deliveries with their attempts, in the order of the line."""
        records = [record_from(row) for row in self._of_run.rows(connection, {"run": run_id})]
        attempts: dict[str, list[Any]] = {record.delivery.delivery_id: [] for record in records}
        for delivery_id, *attempt in self._attempts_of_run.rows(connection, {"run": run_id}):
            attempts[delivery_id].append(attempt)
        for record in records:
            record.attempts = attempts_from(attempts[record.delivery.delivery_id])
        return records

    def page(
        self, connection: Connection, where: DeliveryFilter, limit: int, cursor: str | None
    ) -> Page[DeliveryRecord]:
        """Deliveries without their attempts, newest first."""
        seqs = self._filters.newest(connection, where, before=cursors.before(cursor), count=limit + 1)
        rows = connection.execute(self._page, {"seqs": seqs}).all()
        return cursors.page_of(rows, limit, record_from)

    def count(self, connection: Connection, where: DeliveryFilter, limit: int) -> int:
        """How many a filter lets through, counted up to `limit`."""
        return self._filters.count(connection, where, limit)

    def backlog(self, connection: Connection, limit: int) -> int:
        """How many are still to be done, counted up to `limit`."""
        row = self._backlog.row(connection, {"limit": limit})
        return 0 if row is None else row[0]

    def redrivable(self, connection: Connection, where: DeliveryFilter, limit: int) -> list[str]:
        """The ids of the oldest deliveries that a filter lets through and that are dead or parked."""
        return self._ids_of(connection, self._filters.oldest(connection, where, REDRIVABLE, limit))

    def discardable(self, connection: Connection, where: DeliveryFilter, limit: int) -> list[str]:
        """The ids of the oldest deliveries that a filter lets through and that are neither final nor running."""
        return self._ids_of(connection, self._filters.oldest(connection, where, DISCARDABLE, limit))

    def _ids_of(self, connection: Connection, seqs: Sequence[int]) -> list[str]:
        ids: list[str] = []
        for start in range(0, len(seqs), MEND_AT_ONCE):
            some = seqs[start : start + MEND_AT_ONCE]
            ids += connection.execute(self._ids, {"seqs": some}).scalars()
        return ids

    def redrive(self, connection: Connection, delivery_id: str, now: float) -> DeliveryRecord | None:
        """Give a dead or parked delivery fresh attempts; its fence grows, so that older words on it are ignored."""
        if not self.redrive_some(connection, [delivery_id], now):
            return None
        return self.get(connection, delivery_id)

    def redrive_some(self, connection: Connection, ids: Sequence[str], now: float) -> int:
        """As `redrive`, of several; returns how many could be."""
        return self._redrive.change_many(connection, [{"id": delivery_id, "now": now} for delivery_id in ids])

    def discard(self, connection: Connection, delivery_id: str, reason: str, now: float) -> DeliveryRecord | None:
        """End a delivery that nobody is executing."""
        if not self._end(connection, delivery_id, reason, now):
            return None
        return self.get(connection, delivery_id)

    def discard_some(self, connection: Connection, ids: Sequence[str], reason: str, now: float) -> int:
        """As `discard`, of several; returns how many could be."""
        return sum(self._end(connection, delivery_id, reason, now) for delivery_id in ids)

    def _end(self, connection: Connection, delivery_id: str, reason: str, now: float) -> bool:
        """Discard one.

        Only the head of a line gives up its place: what follows a waiting one has a head already, or belongs to a run
        that is not finished.
        """
        row = self._was_head.row(connection, {"id": delivery_id})
        if row is None:
            return False
        run_id, was_head = row
        self._discard.change(connection, {"id": delivery_id, "reason": reason, "now": now})
        if was_head:
            self._lines.promote(connection, run_id, now)
        return True
