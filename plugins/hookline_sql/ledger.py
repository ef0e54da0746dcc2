"""An open ledger: its connections, threads and operations; equal descriptions share one within a process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from functools import partial
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from hookline.errors import StorageError
from hookline_sql.claims import Claims
from hookline_sql.connections import Connections
from hookline_sql.database import SqliteDb
from hookline_sql.deliveries import Deliveries
from hookline_sql.engine import check_sqlite_version, make_engine, use_write_ahead_log
from hookline_sql.exchange import Exchanges
from hookline_sql.failures import is_locked, storage_error
from hookline_sql.filters import Filters
from hookline_sql.lines import Lines
from hookline_sql.operations import Owner, forked
from hookline_sql.pruning import Pruning
from hookline_sql.readers import Readers
from hookline_sql.replays import Replays
from hookline_sql.runs import Runs
from hookline_sql.schema import HEAD, Tables
from hookline_sql.servers import Servers
from hookline_sql.sessions import Sessions
from hookline_sql.stats import Statistics
from hookline_sql.upgrade import prepare, revision_of
from hookline_sql.writer import Writer

logger = logging.getLogger("hookline.sql")

CLOSE_SECONDS = 10.0
"""How long closing waits for the threads; they are daemons, so the process ends without them too."""


class Ledger:
    """An open database file.

    Raises:
        StorageError: it cannot be opened.
    """

    def __init__(self, description: SqliteDb) -> None:
        self.description = description
        self.uses = 1
        self.tables = Tables(description.table_prefix)
        self.lines = Lines(self.tables)
        self.sessions = Sessions(self.tables)
        self.runs = Runs(self.tables, self.sessions, self.lines)
        self.servers = Servers(self.tables, self.lines)
        self.exchanges = Exchanges(self.tables, self.lines, Claims(self.tables))
        self.deliveries = Deliveries(self.tables, self.lines, Filters(self.tables))
        self.statistics = Statistics(self.tables)
        self.pruning = Pruning(self.tables)
        self.replays = Replays(self.tables)
        file = str(description.file)
        connections = _connect(description, self.tables, migrate=description.migrate)
        self.writer = Writer(connections, file, description.busy_timeout)
        self.readers = Readers(connections, file)
        self._owner = Owner(file)

    async def close(self) -> None:
        """Finish what waits, end the threads, close the file; in a forked process there is nothing to close."""
        if not self._owner.is_here:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.readers.close()
                await self.writer.close()
        except TimeoutError:
            logger.warning("%s is still busy after %g s: it is left open", self.description.url, CLOSE_SECONDS)


class Ledgers:
    """The open ledgers of this process, each counted by those who use it."""

    def __init__(self) -> None:
        self._open: dict[SqliteDb, Ledger] = {}
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._inherited: set[Path] = set()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def open(self, description: SqliteDb) -> Ledger:
        """The one ledger of that description, opened if nobody has it open."""
        if description.file in self._inherited:
            raise StorageError(forked(str(description.file)))
        with self._opening:  # for long, so nobody on an event loop may ask for this one
            ledger = self._use(description)
            if ledger is None:
                ledger = Ledger(description)
                with self._lock:
                    self._open[description] = ledger
            return ledger

    def _use(self, description: SqliteDb) -> Ledger | None:
        with self._lock:
            ledger = self._open.get(description)
            if ledger is not None:
                ledger.uses += 1
            return ledger

    async def release(self, ledger: Ledger) -> None:
        """Give a ledger back; the last one to do so closes it."""
        with self._lock:
            ledger.uses -= 1
            if ledger.uses:
                return
            self._open.pop(ledger.description, None)
        await ledger.close()

    def _after_fork(self) -> None:
        """In the new process: the locks may be held by threads that are not here, SQLite's are not held at all."""
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._inherited.update(description.file for description in self._open)
        self._open = {}


def upgrade_database(description: SqliteDb) -> tuple[str | None, str]:
    """Make or migrate the tables; the revision before and after.

    Raises:
        StorageError: it cannot be done.
    """
    tables, file = Tables(description.table_prefix), str(description.file)
    before = None
    if description.file.is_file():
        engine = make_engine(description.file, synchronous="FULL", busy_timeout=description.busy_timeout)
        try:
            with engine.connect() as connection:
                before = revision_of(connection, tables)
        except SQLAlchemyError as error:
            raise storage_error(error, file) from error
    _connect(description, tables, migrate="auto").close()
    return before, HEAD


def _connect(description: SqliteDb, tables: Tables, *, migrate: str) -> Connections:
    check_sqlite_version()
    file, timeout, may_make = description.file, description.busy_timeout, migrate == "auto"
    if file.is_dir():
        raise StorageError(f"{file} is a folder: add the name of a file, such as {file / 'hookline.db'}")
    if may_make:
        _make_folder(file.parent)
    elif not file.is_file():
        raise StorageError(f"{file} does not exist: make it with migrate='auto', or give another db_file")
    _warn_of_lost_file(file)
    engine = partial(make_engine, file, synchronous=description.synchronous, busy_timeout=timeout)
    with contextlib.ExitStack() as undo:
        try:
            connection = engine(make_file=may_make).connect()
            undo.callback(connection.close)
            use_write_ahead_log(connection, file, timeout)
            prepare(connection, tables, migrate=migrate, file=str(file))
            _try_to_write(connection)
            # Later connections make no file: one that was deleted would seem to be there again, and be empty.
            connections = Connections(engine(make_file=False), file, connection, timeout)
        except SQLAlchemyError as error:
            raise storage_error(error, str(file)) from error
        undo.pop_all()
    return connections


def _warn_of_lost_file(file: Path) -> None:
    log = Path(f"{file}-wal")
    if not file.exists() and log.exists() and log.stat().st_size:
        logger.warning("%s is not there, though its log %s is: was it deleted? A new one is made", file, log)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the folder {folder} cannot be made ({error.strerror}): make it yourself, or give another db_file"
        ) from error


def _try_to_write(connection: Connection) -> None:
    """Find out now, rather than at the first run, that the file cannot be written; a lock is no hindrance."""
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except OperationalError as error:
        if not is_locked(error):
            raise
    finally:
        connection.rollback()
