"""Servers: their heartbeats, and what is set free when one falls silent."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Integer, Update, bindparam, case, delete, func, null, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from hookline.storage import LEASE_SECONDS, SILENT_SECONDS, RunRecord, ServerRecord, TakeOver
from hookline_sql.lines import Lines
from hookline_sql.records import (
    SERVER_FIELDS,
    run_columns,
    run_from,
    server_columns,
    server_from,
    server_values,
)
from hookline_sql.schema import Tables
from hookline_sql.statements import DEAD, ONE, OUT_OF_LINE, PENDING, RUNNING, Prepared


class Servers:
    """The operations on servers, each a function of a connection in a transaction."""

    def __init__(self, tables: Tables, lines: Lines) -> None:
        self._lines = lines
        runs, servers, deliveries = tables.runs, tables.servers, tables.deliveries
        upsert = insert(servers).values({name: bindparam(name) for name in SERVER_FIELDS})
        beat = upsert.on_conflict_do_update(
            index_elements=[servers.c.server_id],
            set_={name: upsert.excluded[name] for name in SERVER_FIELDS if name != "server_id"},
        )
        self._beat = Prepared(beat)
        self._renew = Prepared(
            update(deliveries)
            .where(deliveries.c.server_id == bindparam("me"), deliveries.c.status == RUNNING)
            .values(lease_expires_at=bindparam("lease"))
        )
        self._all = Prepared(select(*server_columns(servers)).order_by(servers.c.started_at, servers.c.server_id))
        known = select(servers.c.server_id).where(servers.c.server_id == runs.c.server_id)
        # Not ordered here: for an order SQLite would read the whole table, not the index of what is running.
        self._orphans = select(*run_columns(runs)).where(
            runs.c.status == RUNNING, or_(runs.c.server_id.in_(bindparam("servers", expanding=True)), ~known.exists())
        )
        self._delete = delete(servers).where(servers.c.server_id.in_(bindparam("servers", expanding=True)))
        self._unlock = self._unlocking(tables)
        self._lost = select(
            deliveries.c.delivery_id,
            deliveries.c.run_id,
            deliveries.c.fence,
            deliveries.c.started_at,
            deliveries.c.interruptions,
            deliveries.c.server_id,
        ).where(
            deliveries.c.status == RUNNING,
            or_(
                deliveries.c.server_id.in_(bindparam("servers", expanding=True)),
                (deliveries.c.lease_expires_at < bindparam("expired")) & (deliveries.c.server_id != bindparam("me")),
            ),
        )
        dead = bindparam("is_dead", type_=Integer) == ONE
        self._set_free = Prepared(
            update(deliveries)
            .where(deliveries.c.delivery_id == bindparam("id"))
            .values(
                status=case((dead, DEAD), else_=PENDING),
                in_line=case((dead, OUT_OF_LINE), else_=deliveries.c.in_line),
                due_at=case((dead, null()), else_=bindparam("now")),
                finished_at=case((dead, bindparam("now")), else_=null()),
                last_error=func.coalesce(bindparam("problem"), deliveries.c.last_error),
                attempt_count=deliveries.c.attempt_count - ONE,
                interruptions=deliveries.c.interruptions + ONE,
                fence=deliveries.c.fence + ONE,
                server_id=null(),
                started_at=null(),
                lease_expires_at=null(),
            )
        )

    @staticmethod
    def _unlocking(tables: Tables) -> Update:
        """Unlock what silent servers, and servers without a row, hold for runs that were not accepted.

        The session of an accepted run is given back by whoever ends the run: a silent server may wake up and do it.
        """
        sessions, runs, servers = tables.sessions, tables.runs, tables.servers
        known = select(servers.c.server_id).where(servers.c.server_id == sessions.c.active_server_id)
        accepted = select(runs.c.seq).where(runs.c.run_id == sessions.c.active_run_id, runs.c.status == RUNNING)
        return (
            update(sessions)
            .where(
                sessions.c.active_server_id.is_not(None),
                sessions.c.active_server_id != bindparam("me"),
                or_(sessions.c.active_server_id.in_(bindparam("servers", expanding=True)), ~known.exists()),
                ~accepted.exists(),
            )
            .values(active_run_id=None, active_server_id=None)
        )

    def beat(self, connection: Connection, server: ServerRecord) -> None:
        """Write the server's row, renew its leases."""
        self._beat.change(connection, server_values(server))
        self._renew.change(connection, {"me": server.server_id, "lease": server.heartbeat_at + LEASE_SECONDS})

    def all(self, connection: Connection) -> list[ServerRecord]:
        """Every server, oldest first."""
        return [server_from(row) for row in self._all.rows(connection, {})]

    def list_orphans(self, connection: Connection, server_ids: Collection[str]) -> list[RunRecord]:
        """The runs that nobody executes any more, oldest first."""
        orphans = connection.execute(self._orphans, {"servers": list(server_ids)})
        return sorted(map(run_from, orphans), key=lambda run: run.created_at)

    def retire(self, connection: Connection, server_id: str) -> None:
        """Delete a server's row."""
        connection.execute(self._delete, {"servers": [server_id]})

    def take_over(self, connection: Connection, request: TakeOver) -> int:
        """Set free what silent servers held."""
        servers = {"servers": list(request.server_ids)}
        expired = request.now - (SILENT_SECONDS - LEASE_SECONDS)
        lost = connection.execute(self._lost, {**servers, "expired": expired, "me": request.server_id}).all()
        ended_lines: dict[str, None] = {}
        attempts = []
        freed = []
        for delivery_id, run_id, fence, started_at, interruptions, server_id in lost:
            began = request.now if started_at is None else started_at
            attempts.append((delivery_id, fence, began, max(0.0, request.now - began), "interrupted", None))
            is_dead = interruptions + 1 >= request.max_interruptions
            problem = f"interrupted {interruptions + 1} times, last on server {server_id}" if is_dead else None
            freed.append({"id": delivery_id, "is_dead": int(is_dead), "now": request.now, "problem": problem})
            if is_dead:
                ended_lines[run_id] = None
        self._lines.add_attempts(connection, attempts)
        if freed:
            self._set_free.change_many(connection, freed)
        for run_id in ended_lines:
            self._lines.promote(connection, run_id, request.now)
        connection.execute(self._unlock, {**servers, "me": request.server_id})
        connection.execute(self._delete, servers)
        return len(freed)
