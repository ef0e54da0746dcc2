"""Connections to an SQLite file, each set up alike; their users write BEGIN and COMMIT themselves."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import OperationalError

from hookline.errors import StorageError
from hookline_sql.failures import is_locked, storage_error

OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING."""


def check_sqlite_version(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raise StorageError unless Python was built with an SQLite that knows all statements used here."""
    if version < OLDEST_SQLITE:
        raise StorageError(
            f"this Python has SQLite {'.'.join(map(str, version))}, and hookline_sql needs "
            f"{'.'.join(map(str, OLDEST_SQLITE))} or newer: use a Python that is linked to a newer one"
        )


def make_engine(file: Path, *, synchronous: str, busy_timeout: float, make_file: bool = True) -> Engine:
    """An engine whose connections leave BEGIN and COMMIT to their user; each is opened when asked for.

    Without `make_file`, a connection to a file that is not there is an error.
    """
    query = {"mode": "rwc" if make_file else "rw", "uri": "true"}
    engine = create_engine(
        URL.create("sqlite", database=_uri_of(file), query=query),
        poolclass=NullPool,
        connect_args={
            "timeout": busy_timeout,
            # Otherwise the driver begins transactions itself, and too late: two writers would read the same rows.
            "isolation_level": None,
            "check_same_thread": False,
        },
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, record: object) -> None:
        try:
            connection.execute(f"PRAGMA synchronous = {synchronous}")
        except sqlite3.Error:
            connection.close()  # nobody else knows of it yet
            raise

    return engine


def use_write_ahead_log(connection: Connection, file: Path, busy_timeout: float) -> None:
    """Let reads go on while somebody writes.

    Raises:
        StorageError: the file's disk cannot do that.
    """
    ends_at = time.monotonic() + busy_timeout
    while True:
        try:
            mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar()
            break
        except OperationalError as error:
            # SQLite does not wait for its lock here, which another process that opens the file just now may hold.
            if not is_locked(error) or time.monotonic() > ends_at:
                raise
            time.sleep(0.02)
        finally:
            connection.rollback()
    if mode != "wal":
        raise StorageError(
            f"{file} cannot have a write-ahead log (its journal_mode stays {mode!r}): put it on a local disk"
        )


def is_used_elsewhere(file: Path, busy_timeout: float) -> bool:
    """Whether another process has the database open; this one must not.

    Raises:
        StorageError: it cannot be opened.
    """
    try:
        with closing(sqlite3.connect(f"{_uri_of(file)}?mode=rw", uri=True, timeout=busy_timeout)) as connection:
            # In this mode, which needs no log's index, SQLite locks the file against all who have it open.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.Error as error:
        if is_locked(error):
            return True
        raise storage_error(error, str(file)) from error
    return False


def _uri_of(file: Path) -> str:
    return f"file:{quote(os.fsencode(file))}"
