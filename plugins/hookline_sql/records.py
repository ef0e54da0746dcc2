"""Rows and what they stand for: the columns of each record in the order of its fields, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from sqlalchemy import Column, Table

from hookline.deliveries import Delivery, DeliveryStatus
from hookline.jsontext import loads
from hookline.runs import RunStatus
from hookline.sessions import Session
from hookline.storage import Attempt, DeliveryRecord, RunRecord, ServerRecord

RUN_FIELDS = tuple(field.name for field in fields(RunRecord))
SERVER_FIELDS = tuple(field.name for field in fields(ServerRecord))
_DELIVERY_NAMES = (
    "delivery_id",
    "run_id",
    "runnable_id",
    "phase",
    "hook",
    "position",
    "status",
    "attempt_count",
    "max_attempts",
    "due_at",
    "last_error",
    "replay_id",
)
_KEPT_NAMES = ("plugin", "user_id", "created_at", "finished_at", "interruptions", "discard_reason")
_STATUS = 6
_values_of_run = attrgetter(*RUN_FIELDS)
_values_of_server = attrgetter(*SERVER_FIELDS)
_delivery_statuses = {str(status): status for status in DeliveryStatus}
_run_statuses = {str(status): status for status in RunStatus}

DELIVERY_WIDTH = len(_DELIVERY_NAMES)
RUN_WIDTH = len(RUN_FIELDS)


def run_columns(runs: Table) -> list[Column[Any]]:
    """The columns that `run_from` takes."""
    return [runs.c[name] for name in RUN_FIELDS]


def run_from(row: Sequence[Any]) -> RunRecord:
    """A run from a row of `run_columns`."""
    run = RunRecord(*row)
    run.status = _run_statuses[run.status]
    return run


def run_values(run: RunRecord) -> dict[str, Any]:
    """A run as parameters named like its columns."""
    values = dict(zip(RUN_FIELDS, _values_of_run(run), strict=True))
    values["status"] = str(run.status)
    return values


def delivery_columns(deliveries: Table) -> list[Column[Any]]:
    """The columns that `delivery_from` takes."""
    return [deliveries.c[name] for name in _DELIVERY_NAMES]


def delivery_from(row: Sequence[Any]) -> Delivery:
    """A delivery from a row that begins with `delivery_columns`."""
    delivery = Delivery(*row[:DELIVERY_WIDTH])
    delivery.status = _delivery_statuses[row[_STATUS]]
    return delivery


def record_columns(deliveries: Table) -> list[Column[Any]]:
    """The columns that `record_from` takes."""
    return delivery_columns(deliveries) + [deliveries.c[name] for name in _KEPT_NAMES]


def record_from(row: Sequence[Any]) -> DeliveryRecord:
    """A delivery and what is kept about it, without attempts, from a row that begins with `record_columns`."""
    return DeliveryRecord(delivery_from(row), *row[DELIVERY_WIDTH : DELIVERY_WIDTH + len(_KEPT_NAMES)])


def attempts_from(rows: Sequence[Sequence[Any]]) -> list[Attempt]:
    """Attempts from rows of `started_at, duration, outcome, error`, oldest first; numbered from 1."""
    return [Attempt(number, *row) for number, row in enumerate(rows, 1)]


def session_columns(sessions: Table) -> list[Column[Any]]:
    """The columns that `session_from` takes."""
    return [sessions.c[name] for name in ("session_id", "user_id", "state", "created_at", "updated_at")]


def session_from(row: Sequence[Any]) -> Session:
    """A session from a row that begins with `session_columns`."""
    session_id, user_id, state, created_at, updated_at = row[:5]
    return Session(session_id, user_id, loads(state), created_at, updated_at)


def server_columns(servers: Table) -> list[Column[Any]]:
    """The columns that `server_from` takes."""
    return [servers.c[name] for name in SERVER_FIELDS]


def server_from(row: Sequence[Any]) -> ServerRecord:
    """A server from a row of `server_columns`."""
    return ServerRecord(*row)


def server_values(server: ServerRecord) -> dict[str, Any]:
    """A server as parameters named like its columns."""
    return dict(zip(SERVER_FIELDS, _values_of_server(server), strict=True))
