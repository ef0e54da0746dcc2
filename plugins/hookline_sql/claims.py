"""Claims: which deliveries a server takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)

from hookline.deliveries import DeliveryStatus, HookKey
from hookline.storage import LEASE_SECONDS, ClaimedDelivery, Exchange
from hookline_sql.hookkeys import HookKeys, is_hook, key_params
from hookline_sql.records import (
    DELIVERY_WIDTH,
    RUN_WIDTH,
    delivery_columns,
    delivery_from,
    run_columns,
    run_from,
)
from hookline_sql.schema import Tables
from hookline_sql.statements import IN_LINE, ONE, OUT_OF_LINE, PENDING, RUNNING, WAITING, ZERO, Prepared

_ANY = 2**31
"""More often than anything is interrupted."""


class _Candidate(NamedTuple):
    due_at: float
    seq: int
    run_id: str
    position: int


class _Interrupted(NamedTuple):
    """How often a delivery that is looked for lost its lease: at least, and at most."""

    least: int = 0
    most: int = _ANY


class Claims:
    """Taking deliveries, each step a function of a connection in a transaction."""

    def __init__(self, tables: Tables) -> None:
        deliveries = tables.deliveries
        self._pending_keys = HookKeys(deliveries, deliveries.c.status == PENDING)
        self._write_start(tables)
        self._write_general(tables)
        self._write_by_hook(tables)

    def _write_start(self, tables: Tables) -> None:
        deliveries = tables.deliveries
        self._start = Prepared(
            update(deliveries)
            .where(
                deliveries.c.delivery_id == bindparam("id"),
                deliveries.c.fence == bindparam("found"),
                deliveries.c.status.in_([WAITING, PENDING]),
            )
            .values(
                status=RUNNING,
                server_id=bindparam("me"),
                started_at=bindparam("began"),
                lease_expires_at=bindparam("lease"),
                fence=deliveries.c.fence + ONE,
                attempt_count=deliveries.c.attempt_count + ONE,
            )
        )

    def _write_general(self, tables: Tables) -> None:
        deliveries, runs = tables.deliveries, tables.runs
        earlier = deliveries.alias()
        taken = (*delivery_columns(deliveries), *run_columns(runs), deliveries.c.fence, deliveries.c.interruptions)
        claimable = _claimable(tables, *taken)
        self._head = Prepared(
            claimable.where(
                deliveries.c.run_id == bindparam("run"),
                deliveries.c.in_line == IN_LINE,
                deliveries.c.interruptions <= bindparam("most"),
            ).limit(1)
        )
        due = (
            claimable.where(
                deliveries.c.due_at <= bindparam("now"),
                ~exists().where(
                    earlier.c.run_id == deliveries.c.run_id,
                    earlier.c.status == PENDING,
                    or_(
                        and_(earlier.c.due_at <= bindparam("now"), earlier.c.position < deliveries.c.position),
                        _is_reserved(earlier),
                    ),
                ),
            )
            .order_by(deliveries.c.due_at)
            .limit(bindparam("count"))
        )
        self._due = Prepared(due.where(deliveries.c.interruptions <= bindparam("most")))
        was_interrupted = deliveries.c.interruptions > ZERO
        self._interrupted = Prepared(due.where(was_interrupted, _is_within(deliveries)))
        self._most_interrupted = Prepared(
            select(func.max(deliveries.c.interruptions)).where(
                deliveries.c.status == PENDING, was_interrupted, deliveries.c.due_at <= bindparam("now")
            )
        )
        self._found = Prepared(claimable.where(deliveries.c.seq == bindparam("seq")))

    def _write_by_hook(self, tables: Tables) -> None:
        deliveries = tables.deliveries
        head = deliveries.alias()
        shown = (deliveries.c.due_at, deliveries.c.seq, deliveries.c.run_id, deliveries.c.position)
        due = (
            _claimable(tables, *shown)
            .where(
                is_hook(deliveries),
                deliveries.c.due_at <= bindparam("now"),
                _is_within(deliveries),
                ~exists().where(head.c.run_id == deliveries.c.run_id, head.c.status == PENDING, _is_reserved(head)),
            )
            .order_by(deliveries.c.due_at)
            .limit(bindparam("count"))
        )
        self._heads_of_hook = Prepared(due.where(deliveries.c.in_line == IN_LINE))
        self._others_of_hook = Prepared(due.where(deliveries.c.in_line == OUT_OF_LINE))

    def start(self, connection: Connection, request: Exchange, found: Iterable[tuple[str, int]]) -> None:
        """Make deliveries, found at these fences, this server's, and count their attempts."""
        lease = request.now + LEASE_SECONDS
        self._start.change_many(
            connection,
            [
                {"id": id_, "found": fence, "me": request.server_id, "began": request.now, "lease": lease}
                for id_, fence in found
            ],
        )

    def claim(self, connection: Connection, request: Exchange) -> list[ClaimedDelivery]:
        """Take what the request asks for."""
        worst = self._worst(connection, request) if request.scan and request.limit > 0 else 0
        if request.suspect_after is not None and worst >= request.suspect_after:
            which = _Interrupted(least=request.suspect_after)
            if suspect := self._claim_due(connection, request, which, 1, request.claim_hooks):
                return suspect
        claimed: list[ClaimedDelivery] = []
        most = _most_without_scan(request)
        for run_id in request.claim_runs:
            if len(claimed) < request.limit:
                claimed += self._take(connection, request, self._head.rows(connection, {"run": run_id, "most": most}))
        if request.scan:
            claimed += self._scan(connection, request, request.limit - len(claimed), worst)
        return claimed

    def _worst(self, connection: Connection, request: Exchange) -> int:
        """How often what is due lost its lease, at most; 0 as a rule."""
        row = self._most_interrupted.row(connection, {"now": request.now})
        return row[0] or 0 if row else 0

    def _scan(self, connection: Connection, request: Exchange, count: int, worst: int) -> list[ClaimedDelivery]:
        if request.limit_interrupted is None:
            return self._claim_due(connection, request, _Interrupted(), count, request.claim_hooks)
        interrupted: list[ClaimedDelivery] = []
        rooms = dict(request.claim_hooks)
        if worst > 0:
            which = _Interrupted(1, _ANY if request.suspect_after is None else request.suspect_after - 1)
            few = min(count, request.limit_interrupted)
            interrupted = self._claim_due(connection, request, which, few, rooms)
            for claim in interrupted:
                if claim.delivery.key in rooms:
                    rooms[claim.delivery.key] -= 1
        others = self._claim_due(connection, request, _Interrupted(most=0), count - len(interrupted), rooms)
        return interrupted + others

    def _claim_due(
        self,
        connection: Connection,
        request: Exchange,
        which: _Interrupted,
        count: int,
        rooms: Mapping[HookKey, int],
    ) -> list[ClaimedDelivery]:
        if count <= 0:
            return []
        if request.apart or request.claim_hooks:
            rows = self._find_by_hook(connection, request, which, count, rooms)
        else:
            statement = self._interrupted if which.least > 0 else self._due
            rows = statement.rows(connection, {"now": request.now, "count": count, **which._asdict()})
        return self._take(connection, request, rows)

    def _find_by_hook(
        self,
        connection: Connection,
        request: Exchange,
        which: _Interrupted,
        count: int,
        rooms: Mapping[HookKey, int],
    ) -> Sequence[tuple[Any, ...]]:
        """What is due, looked for hook by hook: all heads of lines, and of the others what may start.

        So however much is due of a hook that is left apart, nobody has to step over it.
        """
        best: dict[str, _Candidate] = {}
        for key in self._pending_keys.all(connection):
            others = rooms.get(key, 0 if key in request.apart else count)
            params = {**key_params(key), "now": request.now, **which._asdict()}
            rows = list(self._heads_of_hook.rows(connection, {**params, "count": count}))
            if others > 0:
                rows += self._others_of_hook.rows(connection, {**params, "count": min(others, count)})
            for candidate in map(_Candidate._make, rows):
                other = best.setdefault(candidate.run_id, candidate)
                if candidate.position < other.position:
                    best[candidate.run_id] = candidate
        found: list[tuple[Any, ...]] = []
        for candidate in sorted(best.values())[:count]:
            found += self._found.rows(connection, {"seq": candidate.seq})
        return found

    def _take(
        self, connection: Connection, request: Exchange, rows: Sequence[tuple[Any, ...]]
    ) -> list[ClaimedDelivery]:
        claimed = [_claimed_from(row) for row in rows]
        if claimed:
            self.start(connection, request, [(claim.delivery.delivery_id, claim.fence - 1) for claim in claimed])
        return claimed


def _claimable(tables: Tables, *columns: Any) -> Select[Any]:
    """Pending deliveries of finished runs of which nothing is running."""
    deliveries, runs = tables.deliveries, tables.runs
    busy = deliveries.alias()
    return (
        select(*columns)
        .join_from(deliveries, runs, runs.c.run_id == deliveries.c.run_id)
        .where(
            deliveries.c.status == PENDING,
            runs.c.status != RUNNING,
            ~exists().where(busy.c.run_id == deliveries.c.run_id, busy.c.status == RUNNING),
        )
    )


def _most_without_scan(request: Exchange) -> int:
    """How often what is claimed by naming its run may have lost its lease: the rest is the scan's to count."""
    if request.limit_interrupted is not None:
        return 0
    return _ANY if request.suspect_after is None else request.suspect_after - 1


def _is_within(deliveries: FromClause) -> ColumnElement[bool]:
    """Whether a delivery lost its lease as often as an `_Interrupted` says."""
    return deliveries.c.interruptions.between(bindparam("least"), bindparam("most"))


def _is_reserved(pending: FromClause) -> ColumnElement[bool]:
    """Whether a pending delivery is reserved for the server of its run, which may have begun it by now."""
    return and_(pending.c.in_line == IN_LINE, pending.c.due_at > bindparam("now"))


def _claimed_from(row: tuple[Any, ...]) -> ClaimedDelivery:
    """A delivery as it is once it is claimed."""
    fence, interruptions = row[-2], row[-1]
    delivery = delivery_from(row)
    delivery.status = DeliveryStatus.RUNNING
    delivery.attempt_count += 1
    run = run_from(row[DELIVERY_WIDTH : DELIVERY_WIDTH + RUN_WIDTH])
    return ClaimedDelivery(delivery, fence + 1, interruptions, run)
