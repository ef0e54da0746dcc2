"""The exchange: what became of attempts, which began, and which are claimed, in one transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, null, select, update

from hookline.deliveries import FINAL_STATUSES, DeliveryStatus
from hookline.storage import LEASE_SECONDS, ClaimedDelivery, Exchange, Settlement
from hookline_sql.lines import AttemptRow, Lines
from hookline_sql.records import (
    DELIVERY_WIDTH,
    RUN_WIDTH,
    delivery_columns,
    delivery_from,
    run_columns,
    run_from,
)
from hookline_sql.schema import Tables
from hookline_sql.statements import (
    IN_LINE,
    ONE,
    OUT_OF_LINE,
    PENDING,
    RUNNING,
    WAITING,
    Prepared,
)


class Exchanges:
    """The exchange and its steps, each a function of a connection in a transaction."""

    def __init__(self, tables: Tables, lines: Lines) -> None:
        self._lines = lines
        self._write_statements(tables)
        self._write_claims(tables)

    def _write_statements(self, tables: Tables) -> None:
        deliveries = tables.deliveries
        found = update(deliveries).where(
            deliveries.c.delivery_id == bindparam("id"), deliveries.c.fence == bindparam("found")
        )
        ours = found.where(deliveries.c.status == RUNNING, deliveries.c.server_id == bindparam("me"))
        untaken = found.where(deliveries.c.status.in_([WAITING, PENDING, RUNNING])).values(
            fence=deliveries.c.fence + ONE
        )
        freed: dict[str, Any] = {"server_id": null(), "started_at": null(), "lease_expires_at": null()}
        settled = {
            **freed,
            "status": bindparam("new_status"),
            "in_line": OUT_OF_LINE,
            "due_at": bindparam("due"),
            "finished_at": bindparam("finished"),
            "discard_reason": bindparam("reason"),
            "last_error": func.coalesce(bindparam("problem"), deliveries.c.last_error),
        }
        given_back = {**freed, "status": PENDING, "due_at": bindparam("due")}
        counted = deliveries.c.attempt_count + bindparam("attempts")
        self._settle = Prepared(ours.values(settled))
        self._settle_untaken = Prepared(untaken.values(settled).values(attempt_count=counted))
        self._give_back = Prepared(ours.values(given_back).values(attempt_count=deliveries.c.attempt_count - ONE))
        self._give_back_untaken = Prepared(untaken.values(given_back))
        start = found.where(deliveries.c.status.in_([WAITING, PENDING])).values(
            status=RUNNING,
            server_id=bindparam("me"),
            started_at=bindparam("began"),
            lease_expires_at=bindparam("lease"),
            fence=deliveries.c.fence + ONE,
            attempt_count=deliveries.c.attempt_count + ONE,
        )
        self._start = Prepared(start)

    def _write_claims(self, tables: Tables) -> None:
        deliveries, runs = tables.deliveries, tables.runs
        busy, earlier = deliveries.alias(), deliveries.alias()
        claimable = (
            select(
                *delivery_columns(deliveries),
                *run_columns(runs),
                deliveries.c.fence,
                deliveries.c.interruptions,
            )
            .join_from(deliveries, runs, runs.c.run_id == deliveries.c.run_id)
            .where(
                deliveries.c.status == PENDING,
                runs.c.status != RUNNING,
                ~exists().where(busy.c.run_id == deliveries.c.run_id, busy.c.status == RUNNING),
            )
        )
        head = claimable.where(deliveries.c.run_id == bindparam("run"), deliveries.c.in_line == IN_LINE).limit(1)
        self._head = Prepared(head)
        self._due = Prepared(
            claimable.where(
                deliveries.c.due_at <= bindparam("now"),
                ~exists().where(
                    earlier.c.run_id == deliveries.c.run_id,
                    earlier.c.status == PENDING,
                    earlier.c.due_at <= bindparam("now"),
                    earlier.c.position < deliveries.c.position,
                ),
            )
            .order_by(deliveries.c.due_at)
            .limit(bindparam("count"))
        )

    def exchange(self, connection: Connection, request: Exchange) -> list[ClaimedDelivery]:
        """Settle, start, promote, claim."""
        if request.settlements:
            self._store_settlements(connection, request)
        if request.starts:
            self._store_starts(connection, request, [(start.delivery_id, start.fence) for start in request.starts])
        for run_id in {settlement.run_id: None for settlement in request.settlements}:
            self._lines.promote(connection, run_id, request.now)
        return self._claim(connection, request) if request.limit > 0 else []

    def _store_settlements(self, connection: Connection, request: Exchange) -> None:
        attempts: list[AttemptRow] = []
        for settlement in request.settlements:
            if self._store_settlement(connection, request, settlement) and settlement.started_at is not None:
                number = settlement.fence if settlement.started else settlement.fence + 1
                attempts.append(
                    (
                        settlement.delivery_id,
                        number,
                        settlement.started_at,
                        settlement.duration,
                        settlement.outcome,
                        settlement.error,
                    )
                )
        self._lines.add_attempts(connection, attempts)

    def _store_settlement(self, connection: Connection, request: Exchange, settlement: Settlement) -> bool:
        """Write what a delivery becomes; False if its fence is old."""
        started = settlement.started
        params: dict[str, Any] = {"id": settlement.delivery_id, "found": settlement.fence}
        if started:
            params["me"] = request.server_id
        if settlement.outcome == "released":
            statement = self._give_back if started else self._give_back_untaken
            params["due"] = request.now
        else:
            statement = self._settle if started else self._settle_untaken
            params["new_status"] = str(settlement.status)
            params["due"] = settlement.due_at
            params["finished"] = request.now if settlement.status in FINAL_STATUSES else None
            params["problem"] = settlement.last_error
            discarded = settlement.status == DeliveryStatus.DISCARDED
            params["reason"] = settlement.last_error if discarded else None
            if not started:
                params["attempts"] = int(settlement.started_at is not None)
        return statement.change(connection, params) > 0

    def _store_starts(self, connection: Connection, request: Exchange, found: list[tuple[str, int]]) -> None:
        lease = request.now + LEASE_SECONDS
        self._start.change_many(
            connection,
            [
                {"id": id_, "found": fence, "me": request.server_id, "began": request.now, "lease": lease}
                for id_, fence in found
            ],
        )

    def _claim(self, connection: Connection, request: Exchange) -> list[ClaimedDelivery]:
        claimed: list[ClaimedDelivery] = []
        for run_id in request.claim_runs:
            if len(claimed) < request.limit:
                claimed += self._take(connection, request, self._head, {"run": run_id})
        if request.scan and len(claimed) < request.limit:
            wanted = {"now": request.now, "count": request.limit - len(claimed)}
            claimed += self._take(connection, request, self._due, wanted)
        return claimed

    def _take(
        self, connection: Connection, request: Exchange, rows_to_take: Prepared, params: dict[str, Any]
    ) -> list[ClaimedDelivery]:
        claimed = [_claimed_from(row) for row in rows_to_take.rows(connection, params)]
        if claimed:
            taken = [(claim.delivery.delivery_id, claim.fence - 1) for claim in claimed]
            self._store_starts(connection, request, taken)
        return claimed


def _claimed_from(row: tuple[Any, ...]) -> ClaimedDelivery:
    """A delivery as it is once it is claimed."""
    fence, interruptions = row[-2], row[-1]
    delivery = delivery_from(row)
    delivery.status = DeliveryStatus.RUNNING
    delivery.attempt_count += 1
    run = run_from(row[DELIVERY_WIDTH : DELIVERY_WIDTH + RUN_WIDTH])
    return ClaimedDelivery(delivery, fence + 1, interruptions, run)
