"""What the statements of the ledger share, and how those of the server's path are executed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Text, false, literal_column, true
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

# A partial index is used only where the query has its very condition, so words and flags are written out, not bound.
WAITING: ColumnElement[str] = literal_column("'waiting'", Text)
PENDING: ColumnElement[str] = literal_column("'pending'", Text)
RUNNING: ColumnElement[str] = literal_column("'running'", Text)
PARKED: ColumnElement[str] = literal_column("'parked'", Text)
DELIVERED: ColumnElement[str] = literal_column("'delivered'", Text)
DISCARDED: ColumnElement[str] = literal_column("'discarded'", Text)
DEAD: ColumnElement[str] = literal_column("'dead'", Text)
COMPLETED: ColumnElement[str] = literal_column("'completed'", Text)
ZERO: ColumnElement[int] = literal_column("0", Integer)
ONE: ColumnElement[int] = literal_column("1", Integer)
IN_LINE = true()
OUT_OF_LINE = false()

_DIALECT = sqlite.dialect(paramstyle="qmark")


class Prepared:
    """A statement that SQLAlchemy compiles once and the driver executes.

    For statements as small as the ledger's, SQLAlchemy's way of executing them takes several times what SQLite does.
    Every value of the statement is a parameter without a default, or written out.
    """

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        names = list(getattr(compiled, "positiontup", None) or ())
        bound = [name for name in names if not compiled.binds[name].required]  # type: ignore[attr-defined]
        if bound:
            raise ValueError(f"write out, or make a parameter of, {', '.join(bound)} in: {compiled}")
        self.sql = str(compiled)
        self._values: Any = _one_value(names[0]) if len(names) == 1 else itemgetter(*names)

    def rows(self, connection: Connection, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute it; returns all its rows."""
        cursor = connection.connection.cursor()
        cursor.execute(self.sql, self._values(params))
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def row(self, connection: Connection, params: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Execute it; returns its only row, None if it has none."""
        rows = self.rows(connection, params)
        return rows[0] if rows else None

    def change(self, connection: Connection, params: Mapping[str, Any]) -> int:
        """Execute it; returns how many rows it changed."""
        cursor = connection.connection.cursor()
        cursor.execute(self.sql, self._values(params))
        return cursor.rowcount

    def change_many(self, connection: Connection, params: Iterable[Mapping[str, Any]]) -> None:
        """Execute it once with each of the parameters."""
        connection.connection.cursor().executemany(self.sql, list(map(self._values, params)))


def _one_value(name: str) -> Any:
    return lambda params: (params[name],)
