"""The exchange: what became of attempts, which began, and which are claimed, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, func, null, select, update

from hookline.deliveries import FINAL_STATUSES, DeliveryStatus
from hookline.storage import ClaimedDelivery, Exchange, Settlement
from hookline_sql.claims import Claims
from hookline_sql.lines import AttemptRow, Lines
from hookline_sql.schema import Tables
from hookline_sql.statements import ONE, OUT_OF_LINE, PENDING, RUNNING, WAITING, Prepared

_NOT_BEGUN = ("released", "postponed")
"""Outcomes that give the attempt back."""


class Exchanges:
    """The exchange and its steps, each a function of a connection in a transaction."""

    def __init__(self, tables: Tables, lines: Lines, claims: Claims) -> None:
        self._lines = lines
        self._claims = claims
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
            "max_attempts": func.coalesce(bindparam("most"), deliveries.c.max_attempts),
        }
        given_back = {**freed, "status": PENDING, "due_at": bindparam("due")}
        postponed = {**given_back, "in_line": OUT_OF_LINE}
        counted = {"attempt_count": deliveries.c.attempt_count + bindparam("attempts")}
        uncounted = {"attempt_count": deliveries.c.attempt_count - ONE}
        self._settle = Prepared(ours.values({**settled, **counted}))
        self._settle_untaken = Prepared(untaken.values({**settled, **counted}))
        self._give_back = Prepared(ours.values({**given_back, **uncounted}))
        self._give_back_untaken = Prepared(untaken.values(given_back))
        self._postpone = Prepared(ours.values({**postponed, **uncounted}))
        self._postpone_untaken = Prepared(untaken.values(postponed))
        self._ours = Prepared(
            select(deliveries.c.delivery_id, deliveries.c.fence).where(
                deliveries.c.server_id == bindparam("me"), deliveries.c.status == RUNNING
            )
        )
        self._forget = Prepared(found.values({**given_back, **uncounted, "fence": deliveries.c.fence + ONE}))

    def exchange(self, connection: Connection, request: Exchange) -> list[ClaimedDelivery]:
        """Settle, start, promote, claim."""
        if request.held is not None:
            self._give_back_others(connection, request, request.held)
        if request.settlements:
            self._store_settlements(connection, request)
        if request.starts:
            self._claims.start(connection, request, [(start.delivery_id, start.fence) for start in request.starts])
        for run_id in {settlement.run_id: None for settlement in request.settlements}:
            self._lines.promote(connection, run_id, request.now)
        return self._claims.claim(connection, request) if request.limit > 0 else []

    def _give_back_others(self, connection: Connection, request: Exchange, held: Mapping[str, int]) -> None:
        """Give back what was claimed for a server that never heard of it."""
        for delivery_id, fence in self._ours.rows(connection, {"me": request.server_id}):
            if held.get(delivery_id) != fence:
                self._forget.change(connection, {"id": delivery_id, "found": fence, "due": request.now})

    def _store_settlements(self, connection: Connection, request: Exchange) -> None:
        attempts: list[AttemptRow] = []
        for settlement in request.settlements:
            if self._store_settlement(connection, request, settlement):
                attempts += _attempts_of(settlement)
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
        elif settlement.outcome == "postponed":
            statement = self._postpone if started else self._postpone_untaken
            params["due"] = request.now if settlement.due_at is None else settlement.due_at
        else:
            statement = self._settle if started else self._settle_untaken
            params.update(_end_params(settlement, request.now))
            params["attempts"] = int(settlement.started_at is not None) - int(started)  # claiming counted it
        return statement.change(connection, params) > 0


def _end_params(settlement: Settlement, now: float) -> dict[str, Any]:
    is_discarded = settlement.status == DeliveryStatus.DISCARDED
    return {
        "new_status": str(settlement.status),
        "due": settlement.due_at,
        "finished": now if settlement.status in FINAL_STATUSES else None,
        "problem": settlement.last_error,
        "reason": settlement.last_error if is_discarded else None,
        "most": settlement.max_attempts,
    }


def _attempts_of(settlement: Settlement) -> list[AttemptRow]:
    """The attempt that a settlement leaves behind, if there was one."""
    if settlement.started_at is None or settlement.outcome in _NOT_BEGUN:
        return []
    number = settlement.fence if settlement.started else settlement.fence + 1
    row = (
        settlement.delivery_id,
        number,
        settlement.started_at,
        settlement.duration,
        settlement.outcome,
        settlement.error,
    )
    return [row]
