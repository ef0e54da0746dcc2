"""Sessions: locked by one run at a time."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, null, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from hookline.sessions import Session
from hookline.storage import LockedSession, Page, SessionLock
from hookline_sql import cursors
from hookline_sql.records import session_columns, session_from
from hookline_sql.schema import Tables
from hookline_sql.statements import COMPLETED, ONE, Prepared


class Sessions:
    """The operations on sessions, each a function of a connection in a transaction."""

    def __init__(self, tables: Tables) -> None:
        sessions, runs = tables.sessions, tables.runs
        upsert = insert(sessions).values(
            session_id=bindparam("session_id"),
            user_id=bindparam("user_id"),
            state=bindparam("state"),
            version=ONE,
            active_run_id=bindparam("run_id"),
            active_server_id=bindparam("server_id"),
            created_at=bindparam("now"),
            updated_at=bindparam("now"),
        )
        lock = upsert.on_conflict_do_update(
            index_elements=[sessions.c.session_id],
            set_={
                "active_run_id": upsert.excluded.active_run_id,
                "active_server_id": upsert.excluded.active_server_id,
            },
            where=or_(
                sessions.c.active_run_id.is_(None),
                sessions.c.active_run_id == upsert.excluded.active_run_id,
            ),
        ).returning(sessions.c.user_id, sessions.c.state, sessions.c.created_at, sessions.c.updated_at)
        self._lock = Prepared(lock)
        self._history = Prepared(
            select(runs.c.document)
            .where(
                runs.c.session_id == bindparam("session_id"),
                runs.c.runnable_id == bindparam("runnable_id"),
                runs.c.status == COMPLETED,
                runs.c.parent_run_id.is_(None),
                runs.c.document.is_not(None),
            )
            .order_by(runs.c.seq.desc())
            .limit(bindparam("count"))
        )
        held = (
            update(sessions)
            .where(sessions.c.session_id == bindparam("id"), sessions.c.active_run_id == bindparam("run"))
            .values(active_run_id=null(), active_server_id=null())
        )
        self._holder = Prepared(select(sessions.c.active_run_id).where(sessions.c.session_id == bindparam("id")))
        finish = held.values(updated_at=bindparam("now"))
        self._unlock = Prepared(held)
        self._finish = Prepared(finish)
        self._finish_with_state = Prepared(
            finish.values(state=bindparam("new_state"), version=sessions.c.version + ONE)
        )
        self._get = Prepared(select(*session_columns(sessions)).where(sessions.c.session_id == bindparam("id")))
        page = (
            select(*session_columns(sessions), sessions.c.seq)
            .where(sessions.c.seq < bindparam("before"))
            .order_by(sessions.c.seq.desc())
            .limit(bindparam("count"))
        )
        self._page = Prepared(page)
        self._page_of_user = Prepared(page.where(sessions.c.user_id == bindparam("user")))

    def lock(self, connection: Connection, request: SessionLock) -> LockedSession | None:
        """Take the session for a run unless another one has it; `session.session_state` is left to the caller."""
        row = self._lock.row(
            connection,
            {
                "session_id": request.session_id,
                "user_id": request.user_id,
                "state": request.state,
                "run_id": request.run_id,
                "server_id": request.server_id,
                "now": request.now,
            },
        )
        if row is None:
            return None
        user_id, state, created_at, updated_at = row
        session = Session(request.session_id, user_id, {}, created_at, updated_at)
        return LockedSession(session, state, self._history_for(connection, request))

    def _history_for(self, connection: Connection, request: SessionLock) -> list[str]:
        if request.history_runs <= 0:
            return []
        wanted = {
            "session_id": request.session_id,
            "runnable_id": request.runnable_id,
            "count": request.history_runs,
        }
        documents = [document for (document,) in self._history.rows(connection, wanted)]
        documents.reverse()
        return documents

    def is_lost(self, connection: Connection, session_id: str, run_id: str) -> bool:
        """Whether the session is not, or no longer, the run's."""
        row = self._holder.row(connection, {"id": session_id})
        return row is not None and row[0] != run_id

    def unlock(self, connection: Connection, session_id: str, run_id: str) -> None:
        """Give the session back if it is this run's."""
        self._unlock.change(connection, {"id": session_id, "run": run_id})

    def finish(self, connection: Connection, session_id: str, run_id: str, state: str | None, now: float) -> None:
        """Give the session back with its new state, if it is this run's: who lost it may not write to it."""
        params: dict[str, object] = {"id": session_id, "run": run_id, "now": now}
        if state is None:
            self._finish.change(connection, params)
        else:
            self._finish_with_state.change(connection, {**params, "new_state": state})

    def get(self, connection: Connection, session_id: str) -> Session | None:
        """One session."""
        row = self._get.row(connection, {"id": session_id})
        return None if row is None else session_from(row)

    def page(self, connection: Connection, user_id: str | None, limit: int, cursor: str | None) -> Page[Session]:
        """Sessions, most recently created first."""
        params: dict[str, object] = {"before": cursors.before(cursor), "count": limit + 1}
        if user_id is None:
            rows = self._page.rows(connection, params)
        else:
            rows = self._page_of_user.rows(connection, {**params, "user": user_id})
        return cursors.page_of(rows, limit, session_from)
