"""The ledger: sessions, runs, deliveries, attempts, servers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    prefix: str = context.config.attributes["table_prefix"]
    _make_sessions(f"{prefix}sessions")
    _make_runs(f"{prefix}runs")
    _make_deliveries(f"{prefix}deliveries")
    _make_attempts(f"{prefix}attempts")
    _make_servers(f"{prefix}servers")


def _make_sessions(name: str) -> None:
    op.create_table(
        name,
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("active_run_id", sa.Text),
        sa.Column("active_server_id", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
        sa.UniqueConstraint("session_id", name=f"{name}_session_id_key"),
    )
    op.create_index(f"{name}_user", name, ["user_id", "seq"], sqlite_where=sa.text("user_id IS NOT NULL"))
    op.create_index(f"{name}_active", name, ["active_server_id"], sqlite_where=sa.text("active_server_id IS NOT NULL"))


def _make_runs(name: str) -> None:
    op.create_table(
        name,
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("runnable_kind", sa.Text, nullable=False),
        sa.Column("runnable_id", sa.Text, nullable=False),
        sa.Column("server_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("parent_run_id", sa.Text),
        sa.Column("traceparent", sa.Text),
        sa.Column("finished_at", sa.Float),
        sa.Column("format_version", sa.Integer, nullable=False),
        sa.Column("input", sa.Text),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("hook_calls", sa.Text, nullable=False),
        sa.Column("snapshot", sa.Text, nullable=False),
        sa.Column("document", sa.Text),
        sa.UniqueConstraint("run_id", name=f"{name}_run_id_key"),
    )
    op.create_index(f"{name}_session", name, ["session_id", "seq"])
    op.create_index(f"{name}_running", name, ["server_id"], sqlite_where=sa.text("status = 'running'"))


def _make_deliveries(name: str) -> None:
    op.create_table(
        name,
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("delivery_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("runnable_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("hook", sa.Text, nullable=False),
        sa.Column("plugin", sa.Text),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("in_line", sa.Boolean, nullable=False),
        sa.Column("server_id", sa.Text),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("attempt_count", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("interruptions", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Float),
        sa.Column("started_at", sa.Float),
        sa.Column("lease_expires_at", sa.Float),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
        sa.Column("discard_reason", sa.Text),
        sa.Column("last_error", sa.Text),
        sa.UniqueConstraint("delivery_id", name=f"{name}_delivery_id_key"),
    )
    op.create_index(f"{name}_line", name, ["run_id", "position"])
    op.create_index(f"{name}_due", name, ["due_at"], sqlite_where=sa.text("status = 'pending'"))
    op.create_index(f"{name}_running", name, ["server_id"], sqlite_where=sa.text("status = 'running'"))
    op.create_index(f"{name}_undelivered", name, ["status", "seq"], sqlite_where=sa.text("status != 'delivered'"))
    op.create_index(
        f"{name}_finished",
        name,
        ["finished_at", "seq"],
        sqlite_where=sa.text("status IN ('delivered', 'discarded')"),
    )
    op.create_index(f"{name}_user", name, ["user_id", "seq"], sqlite_where=sa.text("user_id IS NOT NULL"))


def _make_attempts(name: str) -> None:
    op.create_table(
        name,
        sa.Column("delivery_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("duration", sa.Float, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=f"{name}_pkey"),
        sqlite_with_rowid=False,
    )


def _make_servers(name: str) -> None:
    op.create_table(
        name,
        sa.Column("server_id", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("boot_id", sa.Text, nullable=False),
        sa.Column("pid_namespace", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("pid_started", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("heartbeat_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("server_id", name=f"{name}_pkey"),
    )
