"""The bundled storage: hookline's ledger in an SQLite file, through SQLAlchemy Core.

    from hookline_sql import SqliteDb

    agent = Agent(name="Helper", model=..., db=SqliteDb(db_file="tmp/agent.db"))

Importing this package imports neither sqlalchemy nor alembic; opening a database does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hookline import Database, hookimpl
from hookline_sql.database import SqliteDb

__all__ = ["SqliteDb"]


@hookimpl
def storages() -> Mapping[str, Callable[[str], Database]]:
    """Provide `sqlite`: a factory that takes a path or a URL such as `sqlite:///tmp/agent.db`."""
    return {"sqlite": SqliteDb.from_text}
