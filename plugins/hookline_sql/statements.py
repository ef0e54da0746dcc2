"""What the statements of the ledger share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Float, Integer, Text, bindparam, false, literal_column, true
from sqlalchemy.sql.elements import BindParameter

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


def text_param(name: str) -> BindParameter[Any]:
    """A parameter that holds text, or None."""
    return bindparam(name, type_=Text())


def time_param(name: str) -> BindParameter[Any]:
    """A parameter that holds an instant, or None."""
    return bindparam(name, type_=Float())


def int_param(name: str) -> BindParameter[Any]:
    """A parameter that holds a whole number."""
    return bindparam(name, type_=Integer())


def ids_param(name: str) -> BindParameter[Any]:
    """A parameter for `IN`, which takes a list of ids."""
    return bindparam(name, type_=Text(), expanding=True)


def listed(ids: Collection[str]) -> list[str]:
    """Ids in the form that `ids_param` takes."""
    return list(ids)
