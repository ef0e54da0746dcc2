"""Making the tables of a fresh database, bringing those of an older one up to date."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, inspect, select

from hookline.errors import StorageError
from hookline_sql import schema
from hookline_sql.schema import Tables, version_table_name

MIGRATIONS = Path(__file__).with_name("migrations")
_REVISION = re.compile(r"\d{4}")


def prepare(connection: Connection, tables: Tables, *, migrate: str, file: str) -> None:
    """See to it that all tables are there and as this version needs them.

    Raises:
        StorageError: they are not, and `migrate` is `check`; or they are somebody else's, or newer.
    """
    if _is_current(connection, tables, file):
        return
    if migrate == "check":
        raise StorageError(
            f"{file}: its tables are missing or older than this version of hookline: "
            "bring them up to date with hookline db upgrade, or open it once with migrate='auto'"
        )
    with _write_transaction(connection):
        # Asked again, now that nobody else can be at it.
        if _is_current(connection, tables, file):
            return
        if _has_version(connection, tables):
            upgrade(connection, tables.prefix)
        else:
            _create(connection, tables, file)


def upgrade(connection: Connection, prefix: str, *, script_location: Path | None = None) -> None:
    """Run alembic's migrations up to the newest, in the transaction that the connection is in."""
    # Heavy, and needed by older databases only.
    from alembic import command
    from alembic.config import Config

    attributes: dict[str, Any] = {
        "connection": connection,
        "table_prefix": prefix,
        "version_table": version_table_name(prefix),
    }
    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(script_location or MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")


def _is_current(connection: Connection, tables: Tables, file: str) -> bool:
    revision = revision_of(connection, tables)
    if revision is not None and (not _REVISION.fullmatch(revision) or revision > schema.HEAD):
        raise StorageError(
            f"{file}: its tables have revision {revision!r}, which is newer than {schema.HEAD!r}, "
            "the newest that this version of hookline knows: update hookline"
        )
    return revision == schema.HEAD


def _has_version(connection: Connection, tables: Tables) -> bool:
    return inspect(connection).has_table(tables.version.name)


def revision_of(connection: Connection, tables: Tables) -> str | None:
    """The schema's revision; None where there are no tables."""
    if not _has_version(connection, tables):
        return None
    return connection.execute(select(tables.version.c.version_num)).scalar()


def _create(connection: Connection, tables: Tables, file: str) -> None:
    taken = sorted(set(inspect(connection).get_table_names()) & set(tables.metadata.tables))
    if taken:
        raise StorageError(f"{file} has a table {taken[0]!r} that hookline did not make: choose another table_prefix")
    tables.metadata.create_all(connection, checkfirst=False)
    tables.version.create(connection, checkfirst=False)
    connection.execute(insert(tables.version).values(version_num=schema.HEAD))


@contextmanager
def _write_transaction(connection: Connection) -> Iterator[None]:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
