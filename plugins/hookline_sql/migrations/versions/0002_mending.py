"""Replays, and the indexes of statistics, filters, pruning and of claims by hook."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of replays, one column, and indexes; one index is replaced."""
    prefix: str = context.config.attributes["table_prefix"]
    _extend_runs(f"{prefix}runs")
    _extend_deliveries(f"{prefix}deliveries")
    _extend_attempts(f"{prefix}attempts")
    _make_replays(f"{prefix}replays")


def _extend_runs(name: str) -> None:
    op.create_index(
        f"{name}_finished", name, ["runnable_id", "finished_at"], sqlite_where=sa.text("finished_at IS NOT NULL")
    )


def _extend_deliveries(name: str) -> None:
    op.add_column(name, sa.Column("replay_id", sa.Text))
    op.drop_index(f"{name}_finished", name)
    op.create_index(f"{name}_interrupted", name, ["status", "due_at"], sqlite_where=sa.text("interruptions > 0"))
    op.create_index(
        f"{name}_hook_due",
        name,
        ["runnable_id", "phase", "hook", "in_line", "due_at"],
        sqlite_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        f"{name}_settled",
        name,
        ["status", "finished_at", "runnable_id", "phase", "hook", "created_at"],
        sqlite_where=sa.text("finished_at IS NOT NULL"),
    )
    replayed = sa.text("replay_id IS NOT NULL")
    op.create_index(f"{name}_replayed_run", name, ["replay_id", "run_id"], unique=True, sqlite_where=replayed)
    op.create_index(f"{name}_replay", name, ["replay_id", "status", "seq"], sqlite_where=replayed)


def _extend_attempts(name: str) -> None:
    op.create_index(
        f"{name}_failed",
        name,
        [sa.text("(started_at + duration)")],
        sqlite_where=sa.text("outcome IN ('failed', 'timeout')"),
    )


def _make_replays(name: str) -> None:
    op.create_table(
        name,
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("replay_id", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("hook", sa.Text, nullable=False),
        sa.Column("runnables", sa.Text, nullable=False),
        sa.Column("statuses", sa.Text, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("plugin", sa.Text),
        sa.Column("since", sa.Float),
        sa.Column("until", sa.Float),
        sa.Column("root_only", sa.Boolean, nullable=False),
        sa.Column("max_per_second", sa.Float),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("matched", sa.Integer, nullable=False),
        sa.Column("made", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
        sa.Column("at_finished", sa.Float, nullable=False),
        sa.Column("at_seq", sa.Integer, nullable=False),
        sa.Column("end_finished", sa.Float, nullable=False),
        sa.Column("end_seq", sa.Integer, nullable=False),
        sa.UniqueConstraint("replay_id", name=f"{name}_replay_id_key"),
    )
    op.create_index(f"{name}_status", name, ["status", "seq"])
