"""What alembic executes: all migrations, on the connection and in the transaction that `hookline_sql.upgrade` has."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
)
context.run_migrations()
