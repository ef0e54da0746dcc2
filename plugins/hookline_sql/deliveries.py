"""Deliveries as people see them: listing, redriving, discarding, pruning."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, null, select, update

from hookline.deliveries import DeliveryStatus
from hookline.storage import DeliveryFilter, DeliveryRecord, Page
from hookline_sql import cursors
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
    WAITING,
    ZERO,
    Prepared,
)

PRUNE_AT_ONCE = 500
"""How many deliveries one transaction deletes, so that runs do not wait long for the ledger meanwhile."""


class Deliveries:
    """The operations on single deliveries, each a function of a connection in a transaction."""

    def __init__(self, tables: Tables, lines: Lines) -> None:
        self._lines = lines
        self._deliveries = tables.deliveries
        self._write_reading(tables)
        self._write_changes(tables)
        self._write_pruning(tables)

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
        self._page = (
            select(*record_columns(deliveries), deliveries.c.seq)
            .where(deliveries.c.seq < bindparam("before"))
            .order_by(deliveries.c.seq.desc())
            .limit(bindparam("count"))
        )

    def _write_changes(self, tables: Tables) -> None:
        deliveries = tables.deliveries
        one = update(deliveries).where(deliveries.c.delivery_id == bindparam("id"))
        self._redrive = Prepared(
            one.where(deliveries.c.status.in_([DEAD, PARKED]))
            .values(
                status=PENDING,
                in_line=OUT_OF_LINE,
                due_at=bindparam("now"),
                fence=deliveries.c.fence + ONE,
                attempt_count=ZERO,
                interruptions=ZERO,
                finished_at=null(),
            )
            .returning(deliveries.c.seq)
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

    def _write_pruning(self, tables: Tables) -> None:
        deliveries, attempts = tables.deliveries, tables.attempts
        old = (
            select(deliveries.c.seq)
            .where(
                deliveries.c.status.in_([DELIVERED, DISCARDED]),
                deliveries.c.finished_at < bindparam("before"),
            )
            .order_by(deliveries.c.finished_at, deliveries.c.seq)
            .limit(bindparam("count"))
        )
        ids = select(deliveries.c.delivery_id).where(deliveries.c.seq.in_(old))
        self._prune_attempts = Prepared(delete(attempts).where(attempts.c.delivery_id.in_(ids)))
        self._prune = Prepared(delete(deliveries).where(deliveries.c.seq.in_(old)))

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
        params = {"before": cursors.before(cursor), "count": limit + 1}
        rows = connection.execute(self.filtered(where), params).all()
        return cursors.page_of(rows, limit, record_from)

    def filtered(self, where: DeliveryFilter) -> Select[Any]:
        """The listing of what a filter lets through."""
        columns = self._deliveries.c
        statement = self._page
        for column, wanted in (
            (columns.status, where.status),
            (columns.run_id, where.run_id),
            (columns.hook, where.hook),
            (columns.user_id, where.user_id),
        ):
            if wanted is not None:
                statement = statement.where(column == wanted)
        if where.status not in (None, DeliveryStatus.DELIVERED):
            # The condition of an index that only listings may use: for claims it would be the wrong one.
            statement = statement.where(columns.status != DELIVERED)
        return statement

    def redrive(self, connection: Connection, delivery_id: str, now: float) -> DeliveryRecord | None:
        """Give a dead or parked delivery fresh attempts; its fence grows, so that older words on it are ignored."""
        if self._redrive.row(connection, {"id": delivery_id, "now": now}) is None:
            return None
        return self.get(connection, delivery_id)

    def discard(self, connection: Connection, delivery_id: str, reason: str, now: float) -> DeliveryRecord | None:
        """End a delivery that nobody is executing.

        Only the head of a line gives up its place: what follows a waiting one has a head already, or belongs to a run
        that is not finished.
        """
        row = self._was_head.row(connection, {"id": delivery_id})
        if row is None:
            return None
        run_id, was_head = row
        self._discard.change(connection, {"id": delivery_id, "reason": reason, "now": now})
        if was_head:
            self._lines.promote(connection, run_id, now)
        return self.get(connection, delivery_id)

    def prune(self, connection: Connection, before: float) -> int:
        """Delete some of the old deliveries that are done with; fewer than `PRUNE_AT_ONCE` means: all."""
        params = {"before": before, "count": PRUNE_AT_ONCE}
        self._prune_attempts.change(connection, params)
        return self._prune.change(connection, params)
