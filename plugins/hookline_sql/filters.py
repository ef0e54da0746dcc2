"""Which deliveries a filter lets through: the queries that find them, each through an index that suits it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select

from hookline.deliveries import FINAL_STATUSES, DeliveryStatus
from hookline.storage import DeliveryFilter
from hookline_sql.schema import Tables
from hookline_sql.statements import DELIVERED

NEWEST = 2000
"""So many of the newest rows are looked through before an index is: mostly the wanted ones are among them."""

_END = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Query:
    """Finds some of the rows that a filter lets through: `statement` gives their `seq`."""

    statement: Select[Any]
    params: dict[str, Any]


class Filters:
    """Finding deliveries by filters, each a function of a connection in a transaction.

    Rows that are not final are found by their status, final ones of a hook in the index that is written when a
    delivery is settled. SQLite has no statistics here, so it cannot know which of several indexes finds fewer rows:
    each query can use one only.
    """

    def __init__(self, tables: Tables) -> None:
        self._deliveries = tables.deliveries
        self._newest = select(func.max(tables.deliveries.c.seq))

    def newest(self, connection: Connection, where: DeliveryFilter, *, before: int, count: int) -> list[int]:
        """The `seq` of the newest rows below `before`, newest first, at most `count`."""
        if _is_broad(where):
            found = self._among_newest(connection, where, before, count)
            if len(found) == count:
                return found
        queries = self.queries(where)
        found = [seq for query in queries for seq in self._run(connection, query, 0, before, count, newest_first=True)]
        return sorted(found, reverse=True)[:count]

    def oldest(
        self, connection: Connection, where: DeliveryFilter, statuses: Collection[DeliveryStatus], count: int
    ) -> list[int]:
        """The `seq` of the oldest rows that have one of these statuses too, oldest first, at most `count`."""
        queries = self.queries(where, statuses)
        found = [seq for query in queries for seq in self._run(connection, query, 0, _END, count)]
        return sorted(found)[:count]

    def count(self, connection: Connection, where: DeliveryFilter, limit: int) -> int:
        """How many there are, counted up to `limit`."""
        total = 0
        for query in self.queries(where, by_key=True):
            if total < limit:
                rows = self.bounded(query).limit(bindparam("count")).subquery()
                params = {**query.params, "after": 0, "before": _END, "count": limit - total}
                total += connection.execute(select(func.count()).select_from(rows), params).scalar_one()
        return total

    def _among_newest(self, connection: Connection, where: DeliveryFilter, before: int, count: int) -> list[int]:
        newest = connection.execute(self._newest).scalar() or 0
        end = min(before, newest + 1)
        statement = self._rows(where, "seq")
        if where.status is not None:
            statement = statement.where(self._deliveries.c.status == where.status)
        query = Query(statement, {})
        return self._run(connection, query, end - NEWEST - 1, end, count, newest_first=True)

    def _run(
        self, connection: Connection, query: Query, after: int, before: int, count: int, *, newest_first: bool = False
    ) -> list[int]:
        seq = self._deliveries.c.seq
        statement = self.bounded(query).order_by(seq.desc() if newest_first else seq).limit(bindparam("count"))
        params = {**query.params, "after": after, "before": before, "count": count}
        return list(connection.execute(statement, params).scalars())

    def bounded(self, query: Query) -> Select[Any]:
        """The rows between the parameters `after` and `before`."""
        seq = self._deliveries.c.seq
        return query.statement.where(seq > bindparam("after"), seq < bindparam("before"))

    def queries(
        self,
        where: DeliveryFilter,
        statuses: Collection[DeliveryStatus] = tuple(DeliveryStatus),
        *,
        by_key: bool = False,
    ) -> list[Query]:
        """What finds the rows that the filter lets through and that have one of these statuses, each row once.

        `by_key`: all delivered ones are wanted, not the newest of them, so they are found through an index too.
        """
        chosen = [status for status in statuses if where.status in (None, status)]
        if len(chosen) == len(DeliveryStatus) and (through := _column_of(where)):
            return [Query(self._rows(where, through), {})]
        found: list[Query] = []
        for status in chosen:
            if status in FINAL_STATUSES and (_is_broad(where) or (by_key and where == DeliveryFilter(where.status))):
                found.append(self._settled(where, status))
            else:
                found.append(self._of_status(where, status))
        return found

    def _of_status(self, where: DeliveryFilter, status: DeliveryStatus) -> Query:
        columns = self._deliveries.c
        if where.run_id is not None:
            statement = self._rows(where, "run_id")
        elif where.replay_id is not None:
            statement = self._rows(where, "replay_id")
        elif status == DeliveryStatus.DELIVERED:
            statement = self._rows(where, "seq" if where.user_id is None else "user_id")
        else:
            # The condition of an index that only these queries may use: for claims it would be the wrong one.
            statement = self._rows(where, "status").where(columns.status != DELIVERED)
        return Query(statement.where(columns.status == bindparam("one_status")), {"one_status": str(status)})

    def _settled(self, where: DeliveryFilter, status: DeliveryStatus) -> Query:
        """Final ones; the index holds all that is asked for, so no row is read."""
        columns = self._deliveries.c
        statement = select(columns.seq).where(
            columns.status == bindparam("one_status"),
            columns.finished_at.is_not(None),
            *self._when_created(where),
        )
        for column, wanted in ((columns.hook, where.hook), (columns.runnable_id, where.runnable)):
            if wanted is not None:
                statement = statement.where(column == wanted)
        return Query(statement, {"one_status": str(status)})

    def _rows(self, where: DeliveryFilter, through: str) -> Select[Any]:
        """Those that pass every condition but the status; SQLite is to find them through the column `through`."""
        columns = self._deliveries.c
        statement = select(columns.seq).where(*self._when_created(where))
        for column, wanted in (
            (columns.run_id, where.run_id),
            (columns.hook, where.hook),
            (columns.runnable_id, where.runnable),
            (columns.user_id, where.user_id),
            (columns.replay_id, where.replay_id),
        ):
            if wanted is not None:
                # No index knows an expression.
                tested = column if column.name == through else column.concat("")
                statement = statement.where(tested == wanted)
        return statement

    def _when_created(self, where: DeliveryFilter) -> list[ColumnElement[bool]]:
        created_at = self._deliveries.c.created_at
        conditions: list[ColumnElement[bool]] = []
        if where.created_after is not None:
            conditions.append(created_at >= where.created_after)
        if where.created_before is not None:
            conditions.append(created_at < where.created_before)
        return conditions


def _column_of(where: DeliveryFilter) -> str | None:
    """The column through which rows of all statuses are found in their order; None if there is none."""
    if where.run_id is not None:
        return "run_id"
    if where.replay_id is not None or _is_broad(where):
        return None
    return "seq" if where.user_id is None else "user_id"


def _is_broad(where: DeliveryFilter) -> bool:
    """Whether it is about hooks, runnables or times alone: there may be any number, and none among the newest."""
    narrow = (where.run_id, where.replay_id, where.user_id)
    broad = (where.hook, where.runnable, where.created_after, where.created_before)
    return all(wanted is None for wanted in narrow) and any(wanted is not None for wanted in broad)
