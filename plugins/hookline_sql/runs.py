"""Runs: the two commits of each, and reading them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, insert, select, update

from hookline.errors import RunLostError
from hookline.storage import FinishRun, NewDelivery, Page, RunRecord
from hookline_sql import cursors
from hookline_sql.lines import Lines
from hookline_sql.records import RUN_FIELDS, run_columns, run_from, run_values
from hookline_sql.schema import Tables
from hookline_sql.sessions import Sessions
from hookline_sql.statements import RUNNING, Prepared

_OUTCOME = (
    "status",
    "reason",
    "traceparent",
    "input",
    "metadata",
    "document",
    "hook_calls",
    "snapshot",
    "finished_at",
    "format_version",
)
"""What commit 2 may change of a run that was accepted."""


class Runs:
    """The operations on runs, each a function of a connection in a transaction."""

    def __init__(self, tables: Tables, sessions: Sessions, lines: Lines) -> None:
        self._sessions = sessions
        self._lines = lines
        runs = tables.runs
        self._insert = Prepared(insert(runs).values({name: bindparam(name) for name in RUN_FIELDS}))
        self._finish = Prepared(
            update(runs)
            .where(
                runs.c.run_id == bindparam("the_run"),
                runs.c.server_id == bindparam("the_server"),
                runs.c.status == RUNNING,
            )
            .values({name: bindparam(name) for name in _OUTCOME})
        )
        self._get = Prepared(select(*run_columns(runs)).where(runs.c.run_id == bindparam("id")))
        self._page = Prepared(
            select(*run_columns(runs), runs.c.seq)
            .where(runs.c.session_id == bindparam("session"), runs.c.seq < bindparam("before"))
            .order_by(runs.c.seq.desc())
            .limit(bindparam("count"))
        )

    def accept(self, connection: Connection, run: RunRecord, deliveries: Sequence[NewDelivery]) -> None:
        """Commit 1.

        Raises:
            RunLostError: the run's session was taken from it; what it read there is out of date.
        """
        if run.parent_run_id is None and self._sessions.is_lost(connection, run.session_id, run.run_id):
            raise RunLostError(f"run {run.run_id} has lost its session {run.session_id!r}: its server was silent")
        self._insert.change(connection, run_values(run))
        self._lines.add(connection, run, deliveries, run.created_at)

    def finish(self, connection: Connection, request: FinishRun) -> bool:
        """Commit 2; False, with nothing written, if the run is not its server's any more."""
        run = request.run
        if not request.accepted:
            self._insert.change(connection, run_values(run))
        elif not self._set_outcome(connection, run):
            return False
        self._sessions.finish(connection, run.session_id, run.run_id, request.session_state, request.now)
        self._lines.add_and_reserve(connection, run, request.deliveries, now=request.now, is_new=not request.accepted)
        return True

    def _set_outcome(self, connection: Connection, run: RunRecord) -> bool:
        params = {
            "the_run": run.run_id,
            "the_server": run.server_id,
            "status": str(run.status),
            "reason": run.reason,
            "traceparent": run.traceparent,
            "input": run.input,
            "metadata": run.metadata,
            "document": run.document,
            "hook_calls": run.hook_calls,
            "snapshot": run.snapshot,
            "finished_at": run.finished_at,
            "format_version": run.format_version,
        }
        return self._finish.change(connection, params) > 0

    def get(self, connection: Connection, run_id: str) -> RunRecord | None:
        """One run."""
        row = self._get.row(connection, {"id": run_id})
        return None if row is None else run_from(row)

    def page(self, connection: Connection, session_id: str, limit: int, cursor: str | None) -> Page[RunRecord]:
        """The runs of a session, newest first."""
        params = {"session": session_id, "before": cursors.before(cursor), "count": limit + 1}
        rows = self._page.rows(connection, params)
        return cursors.page_of(rows, limit, lambda row: run_from(row[:-1]))
