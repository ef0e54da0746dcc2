"""What the statements of the ledger share, and how those of the server's path are executed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Text, false, literal_column, true
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

# A partial index is used only where the query has its very condition, so words and flags are written out, not bound.
WAITING: ColumnElement[str] = literal_column("'waiting'", Text)
PENDING: ColumnElement[str] = literal_column("'pending'", Text)
RUNNING: ColumnElement[str] = literal_column("'running'", Text)
PARKED: ColumnElement[str] = literal_column("'parked'", Text)
DELIVERED: ColumnElement[str] = literal_column("'delivered'", Text)
DISCARDED: ColumnElement[str] = literal_column("'discarded'", Text)
DEAD: ColumnElement[str] = literal_column("'dead'", Text)
PAUSED: ColumnElement[str] = literal_column("'paused'", Text)
COMPLETED: ColumnElement[str] = literal_column("'completed'", Text)
CANCELLED: ColumnElement[str] = literal_column("'cancelled'", Text)
ZERO: ColumnElement[int] = literal_column("0", Integer)
ONE: ColumnElement[int] = literal_column("1", Integer)
IN_LINE = true()
OUT_OF_LINE = false()

_DIALECT = sqlite.dialect(paramstyle="qmark")


class Prepared:
    """A statement that SQLAlchemy compiles once and the driver executes.

    For statements as small as the ledger's, SQLAlchemy's way of executing them takes several times what SQLite does.
    """

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101 - for the type checker
        names = compiled.positiontup or []
        constants = {name: compiled.binds[name].value for name in names if not compiled.binds[name].required}
        self.sql = str(compiled)
        self._values = _picker(names, constants)

    def rows(self, connection: Connection, params: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """Execute it; returns all its rows."""
        cursor = connection.connection.cursor()
        cursor.execute(self.sql, self._values(params))
        return cursor.fetchall()

    def row(self, connection: Connection, params: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Execute it; returns its only row, None if it has none."""
        rows = self.rows(connection, params)
        return rows[0] if rows else None

    def change(self, connection: Connection, params: Mapping[str, Any]) -> int:
        """Execute it; returns how many rows it changed."""
        cursor = connection.connection.cursor()
        cursor.execute(self.sql, self._values(params))
        return cursor.rowcount

    def change_many(self, connection: Connection, params: Iterable[Mapping[str, Any]]) -> int:
        """Execute it once with each of the parameters; returns how many rows all of them changed."""
        cursor = connection.connection.cursor()
        cursor.executemany(self.sql, list(map(self._values, params)))
        return cursor.rowcount


def _picker(names: list[str], constants: dict[str, Any]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """What makes the driver's parameters of named ones."""
    if len(names) < 2:  # with one name, itemgetter would give the bare value
        return lambda params: tuple(params[name] for name in names)
    pick = itemgetter(*names)
    return (lambda params: pick({**constants, **params})) if constants else pick
