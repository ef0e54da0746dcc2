"""Lines: the deliveries of one run in the order of their positions, of which only the head may be started."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, exists, insert, select, update

from hookline.storage import RESERVE_SECONDS, NewDelivery, RunRecord
from hookline_sql.schema import Tables
from hookline_sql.statements import (
    IN_LINE,
    PENDING,
    RUNNING,
    WAITING,
    ZERO,
    Prepared,
)

_ATTEMPT = ("delivery_id", "number", "started_at", "duration", "outcome", "error")
AttemptRow = tuple[str, int, float, float, str, str | None]
"""The values of `_ATTEMPT`."""


class Lines:
    """What several operations do with lines, each a function of a connection in a transaction."""

    def __init__(self, tables: Tables) -> None:
        deliveries, attempts = tables.deliveries, tables.attempts
        new = insert(deliveries).values(
            delivery_id=bindparam("delivery_id"),
            run_id=bindparam("run_id"),
            runnable_id=bindparam("runnable_id"),
            user_id=bindparam("user_id"),
            phase=bindparam("phase"),
            hook=bindparam("hook"),
            plugin=bindparam("plugin"),
            position=bindparam("position"),
            status=bindparam("status"),
            in_line=bindparam("in_line"),
            max_attempts=bindparam("max_attempts"),
            due_at=bindparam("due_at"),
            created_at=bindparam("created_at"),
            fence=ZERO,
            attempt_count=ZERO,
            interruptions=ZERO,
        )
        self._insert = Prepared(new)
        self._insert_attempt = Prepared(insert(attempts).values({name: bindparam(name) for name in _ATTEMPT}))
        ahead = deliveries.alias()
        following = deliveries.alias()
        head = (
            select(following.c.seq)
            .where(following.c.run_id == bindparam("run"), following.c.status == WAITING)
            .order_by(following.c.position, following.c.seq)
            .limit(1)
        )
        in_line = exists().where(
            ahead.c.run_id == bindparam("run"),
            ahead.c.in_line == IN_LINE,
            ahead.c.status.in_([PENDING, RUNNING]),
        )
        self._promote = Prepared(
            update(deliveries)
            .where(deliveries.c.seq == head.scalar_subquery(), ~in_line)
            .values(status=PENDING, due_at=bindparam("due"))
        )
        self._release = Prepared(
            update(deliveries)
            .where(
                deliveries.c.run_id == bindparam("run"),
                deliveries.c.in_line == IN_LINE,
                deliveries.c.status == PENDING,
            )
            .values(due_at=bindparam("due"))
        )

    def add(self, connection: Connection, run: RunRecord, deliveries: Sequence[NewDelivery], now: float) -> None:
        """Store new deliveries, all `waiting` but those that were delayed."""
        if deliveries:
            self._insert.change_many(connection, [_new_row(run, new, now) for new in deliveries])

    def add_and_reserve(
        self,
        connection: Connection,
        run: RunRecord,
        deliveries: Sequence[NewDelivery],
        *,
        now: float,
        is_new: bool,
    ) -> None:
        """Store the last deliveries of a finished run; the head of its line is reserved for its server.

        `is_new`: the run has no deliveries yet. Positions go on where those stored before end.
        """
        due = now + RESERVE_SECONDS
        rows = [_new_row(run, new, now) for new in deliveries]
        if is_new or not self.promote(connection, run.run_id, due):
            head = next((row for row in rows if row["in_line"]), None)
            if head is not None:
                head["status"], head["due_at"] = "pending", due
        if rows:
            self._insert.change_many(connection, rows)

    def promote(self, connection: Connection, run_id: str, due: float) -> bool:
        """Make the next waiting delivery `pending` unless one of its line is already; returns whether it did."""
        return self._promote.change(connection, {"run": run_id, "due": due}) > 0

    def release(self, connection: Connection, run_id: str, now: float) -> None:
        """Make the head of a line due at once."""
        self._release.change(connection, {"run": run_id, "due": now})

    def add_attempts(self, connection: Connection, attempts: Sequence[AttemptRow]) -> None:
        """Write attempts down."""
        if attempts:
            self._insert_attempt.change_many(connection, [dict(zip(_ATTEMPT, row, strict=True)) for row in attempts])


def _new_row(run: RunRecord, new: NewDelivery, now: float) -> dict[str, object]:
    delayed = new.due_at is not None
    return {
        "delivery_id": new.delivery_id,
        "run_id": run.run_id,
        "runnable_id": run.runnable_id,
        "user_id": run.user_id,
        "phase": new.phase,
        "hook": new.hook,
        "plugin": new.plugin,
        "position": new.position,
        "status": "pending" if delayed else "waiting",
        "in_line": int(not delayed),
        "max_attempts": new.max_attempts,
        "due_at": new.due_at,
        "created_at": now,
    }
