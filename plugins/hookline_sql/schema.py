"""The ledger's tables, as SQLAlchemy describes them; a migration in `migrations/versions` says the same in steps."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

HEAD = "0002"
"""The schema's revision: that of the newest migration."""


def version_table_name(prefix: str) -> str:
    """The table that holds the schema's revision; alembic keeps it too."""
    return f"{prefix}alembic_version"


class Tables:
    """All tables of one ledger; every name begins with `prefix`.

    Instants are seconds since the epoch. `seq` gives the order of creation: listings and cursors go by it.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.metadata = MetaData()
        self.sessions = self._sessions()
        self.runs = self._runs()
        self.deliveries = self._deliveries()
        self.attempts = self._attempts()
        self.servers = self._servers()
        self.replays = self._replays()

    @cached_property
    def version(self) -> Table:
        """The table of the schema's revision, just as alembic makes it."""
        name = version_table_name(self.prefix)
        return Table(
            name,
            MetaData(),
            Column("version_num", String(32), nullable=False),
            PrimaryKeyConstraint("version_num", name=f"{name}_pkc"),
        )

    def _sessions(self) -> Table:
        name = f"{self.prefix}sessions"
        return Table(
            name,
            self.metadata,
            Column("seq", Integer, primary_key=True),
            Column("session_id", Text, nullable=False),
            Column("user_id", Text),
            Column("state", Text, nullable=False),
            Column("version", Integer, nullable=False),
            Column("active_run_id", Text),
            Column("active_server_id", Text),
            Column("created_at", Float, nullable=False),
            Column("updated_at", Float, nullable=False),
            UniqueConstraint("session_id", name=f"{name}_session_id_key"),
            Index(f"{name}_user", "user_id", "seq", sqlite_where=text("user_id IS NOT NULL")),
            Index(f"{name}_active", "active_server_id", sqlite_where=text("active_server_id IS NOT NULL")),
        )

    def _runs(self) -> Table:
        name = f"{self.prefix}runs"
        return Table(
            name,
            self.metadata,
            Column("seq", Integer, primary_key=True),
            Column("run_id", Text, nullable=False),
            Column("session_id", Text, nullable=False),
            Column("user_id", Text),
            Column("runnable_kind", Text, nullable=False),
            Column("runnable_id", Text, nullable=False),
            Column("server_id", Text, nullable=False),
            Column("created_at", Float, nullable=False),
            Column("status", Text, nullable=False),
            Column("reason", Text),
            Column("parent_run_id", Text),
            Column("traceparent", Text),
            Column("finished_at", Float),
            Column("format_version", Integer, nullable=False),
            Column("input", Text),
            Column("metadata", Text, nullable=False),
            Column("hook_calls", Text, nullable=False),
            Column("snapshot", Text, nullable=False),
            Column("document", Text),
            UniqueConstraint("run_id", name=f"{name}_run_id_key"),
            Index(f"{name}_session", "session_id", "seq"),
            Index(f"{name}_running", "server_id", sqlite_where=text("status = 'running'")),
            Index(f"{name}_finished", "runnable_id", "finished_at", sqlite_where=text("finished_at IS NOT NULL")),
        )

    def _deliveries(self) -> Table:
        name = f"{self.prefix}deliveries"
        return Table(
            name,
            self.metadata,
            Column("seq", Integer, primary_key=True),
            Column("delivery_id", Text, nullable=False),
            Column("run_id", Text, nullable=False),
            Column("runnable_id", Text, nullable=False),
            Column("user_id", Text),
            Column("phase", Text, nullable=False),
            Column("hook", Text, nullable=False),
            Column("plugin", Text),
            Column("position", Integer, nullable=False),
            Column("status", Text, nullable=False),
            Column("in_line", Boolean, nullable=False),
            Column("server_id", Text),
            Column("fence", Integer, nullable=False),
            Column("attempt_count", Integer, nullable=False),
            Column("max_attempts", Integer, nullable=False),
            Column("interruptions", Integer, nullable=False),
            Column("due_at", Float),
            Column("started_at", Float),
            Column("lease_expires_at", Float),
            Column("created_at", Float, nullable=False),
            Column("finished_at", Float),
            Column("discard_reason", Text),
            Column("last_error", Text),
            Column("replay_id", Text),
            UniqueConstraint("delivery_id", name=f"{name}_delivery_id_key"),
            Index(f"{name}_line", "run_id", "position"),
            Index(f"{name}_due", "due_at", sqlite_where=text("status = 'pending'")),
            Index(f"{name}_interrupted", "status", "due_at", sqlite_where=text("interruptions > 0")),
            Index(f"{name}_running", "server_id", sqlite_where=text("status = 'running'")),
            Index(f"{name}_undelivered", "status", "seq", sqlite_where=text("status != 'delivered'")),
            Index(f"{name}_user", "user_id", "seq", sqlite_where=text("user_id IS NOT NULL")),
            Index(
                f"{name}_hook_due",
                "runnable_id",
                "phase",
                "hook",
                "in_line",
                "due_at",
                sqlite_where=text("status = 'pending'"),
            ),
            # Written when a delivery is settled, not on a run's way: so it may be wide, and answer questions by itself.
            # It grows at its ends only, which costs the least.
            Index(
                f"{name}_settled",
                "status",
                "finished_at",
                "runnable_id",
                "phase",
                "hook",
                "created_at",
                sqlite_where=text("finished_at IS NOT NULL"),
            ),
            Index(
                f"{name}_replayed_run",
                "replay_id",
                "run_id",
                unique=True,
                sqlite_where=text("replay_id IS NOT NULL"),
            ),
            Index(f"{name}_replay", "replay_id", "status", "seq", sqlite_where=text("replay_id IS NOT NULL")),
        )

    def _attempts(self) -> Table:
        """Attempts; `number` is the delivery's fence during the attempt: unique, and growing from start to start."""
        name = f"{self.prefix}attempts"
        return Table(
            name,
            self.metadata,
            Column("delivery_id", Text, nullable=False),
            Column("number", Integer, nullable=False),
            Column("started_at", Float, nullable=False),
            Column("duration", Float, nullable=False),
            Column("outcome", Text, nullable=False),
            Column("error", Text),
            PrimaryKeyConstraint("delivery_id", "number", name=f"{name}_pkey"),
            Index(
                f"{name}_failed",
                text("(started_at + duration)"),
                sqlite_where=text("outcome IN ('failed', 'timeout')"),
            ),
            sqlite_with_rowid=False,
        )

    def _servers(self) -> Table:
        name = f"{self.prefix}servers"
        return Table(
            name,
            self.metadata,
            Column("server_id", Text, nullable=False),
            Column("host", Text, nullable=False),
            Column("boot_id", Text, nullable=False),
            Column("pid_namespace", Text, nullable=False),
            Column("pid", Integer, nullable=False),
            Column("pid_started", Integer, nullable=False),
            Column("started_at", Float, nullable=False),
            Column("heartbeat_at", Float, nullable=False),
            PrimaryKeyConstraint("server_id", name=f"{name}_pkey"),
        )

    def _replays(self) -> Table:
        """Replays; `at_*` is the last run that was dealt with, `end_*` the last one that is meant."""
        name = f"{self.prefix}replays"
        return Table(
            name,
            self.metadata,
            Column("seq", Integer, primary_key=True),
            Column("replay_id", Text, nullable=False),
            Column("phase", Text, nullable=False),
            Column("hook", Text, nullable=False),
            Column("runnables", Text, nullable=False),
            Column("statuses", Text, nullable=False),
            Column("max_attempts", Integer, nullable=False),
            Column("created_at", Float, nullable=False),
            Column("plugin", Text),
            Column("since", Float),
            Column("until", Float),
            Column("root_only", Boolean, nullable=False),
            Column("max_per_second", Float),
            Column("status", Text, nullable=False),
            Column("matched", Integer, nullable=False),
            Column("made", Integer, nullable=False),
            Column("next_at", Float, nullable=False),
            Column("finished_at", Float),
            Column("at_finished", Float, nullable=False),
            Column("at_seq", Integer, nullable=False),
            Column("end_finished", Float, nullable=False),
            Column("end_seq", Integer, nullable=False),
            UniqueConstraint("replay_id", name=f"{name}_replay_id_key"),
            Index(f"{name}_status", "status", "seq"),
        )
