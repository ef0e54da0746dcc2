"""The connections to one ledger: kept good while its files and its disk go bad, and mended where that is safe."""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hookline.errors import StorageError
from hookline_sql.engine import is_used_elsewhere
from hookline_sql.failures import is_damage, is_full, makes_suspect, storage_error
from hookline_sql.files import DamagedError, FileLostError, IndexLostError, LedgerFiles, LogLostError

logger = logging.getLogger("hookline.sql")

T = TypeVar("T")

CHECK_SECONDS = 1.0
"""How often all files are looked at before a transaction; the file and its log are looked at after each commit."""

OTHERS_SECONDS = 10.0
"""How long others that use the database have to notice that its log was removed: they look at it with each beat."""

LOCK_SLICE_SECONDS = 0.25
"""How long one attempt to begin waits for the lock."""


class Connections:
    """The writer's connection and those of the readers; they may be replaced, so nobody keeps one.

    The writer's connection stays open while a reader's is, because SQLite removes the log with the last one.

    Args:
        engine: what opens connections to that file, and makes none.
        file: the database.
        connection: the first connection, for the writer.
        busy_timeout: how long to wait, in seconds, while another process holds the lock.
    """

    def __init__(self, engine: Engine, file: Path, connection: Connection, busy_timeout: float) -> None:
        self._engine = engine
        self._file = file
        self._lock_slice = min(busy_timeout, LOCK_SLICE_SECONDS)
        self._readers: list[ReaderConnection] = []
        self._writer: Connection | None = _prepared(connection, self._lock_slice)
        self._is_suspect = False
        self._damage: str | None = None
        self._files = LedgerFiles(file)
        self._checked_at = time.monotonic()
        self._left_at = math.inf
        self._has_parted = False

    # for the writer's thread

    def begin(self) -> None:
        """Begin to write.

        Raises:
            StorageError: the files are not those that were opened, or damaged.
            SQLAlchemyError: SQLite refused, because of a lock or of the disk.
        """
        self.check_damage()
        if self._is_suspect or time.monotonic() - self._checked_at >= CHECK_SECONDS:
            self._check()
        if self._writer is None:
            self._reopen()
        elif self._is_suspect:
            self._replace_writer(self._writer)
        self.writing.exec_driver_sql("BEGIN IMMEDIATE")

    @property
    def writing(self) -> Connection:
        """The connection on which the transaction began."""
        if self._writer is None:
            raise StorageError(f"{self._file} is not open")
        return self._writer

    @property
    def is_in_transaction(self) -> bool:
        """Whether the transaction that began is still there: SQLite gives it up after some errors."""
        driver_connection = self.writing.connection.driver_connection
        return isinstance(driver_connection, sqlite3.Connection) and driver_connection.in_transaction

    def commit(self) -> None:
        """Commit, and make sure that it is in the files that others see.

        After an error it is not known whether what was done is there, now or after a crash; usually it is not.

        Raises:
            StorageError, SQLAlchemyError: as `begin`.
        """
        self.writing.commit()
        if self._files.are_unchanged():
            return
        try:
            self._files.check_commit()
        except LogLostError:
            self._checked_at = -math.inf
            self._save_log()
        except StorageError as error:
            self._note(error)
            raise

    def roll_back(self, error: BaseException) -> None:
        """Undo what was begun, after an error.

        The next transaction gets another connection where that is due, and on a full disk the room of the log.
        """
        connection = self._writer
        if connection is None:
            return
        self.report(error)
        if makes_suspect(error) or not isinstance(error, Exception):
            self._is_suspect = True
        try:
            connection.rollback()
        except SQLAlchemyError:
            self._is_suspect = True
        if is_full(error):
            self._empty_log(connection)

    def close(self) -> None:
        """Close the writer's connection; SQLite empties and removes the log if it is the last one."""
        if self._writer is None:
            return
        try:
            self._files.check_file()
        except StorageError as error:
            self._part_from(error)
        self._writer.close()

    # for all

    def reader(self) -> ReaderConnection:
        """A connection for one more reading thread."""
        reader = ReaderConnection(self)
        self._readers.append(reader)
        return reader

    def open_reader(self) -> Connection:
        """A connection to the files that were opened."""
        # One that finds no log would make another, which is not the one that the writer writes.
        self._files.check()
        return self._engine.connect()

    def check_readable(self) -> None:
        """Raise StorageError if what is read now would be of another file than people see, or is damaged."""
        self.check_damage()
        try:
            self._files.check_file()
        except StorageError as error:
            self._note(error)
            raise

    def check_damage(self) -> None:
        """Raise StorageError once the content was found to be damaged."""
        if self._damage is not None:
            raise StorageError(self._damage)

    def report(self, error: BaseException) -> None:
        """Take note of an operation's error: it may tell that the file is damaged."""
        if not (isinstance(error, SQLAlchemyError | sqlite3.Error) and is_damage(error)):
            return
        try:
            self._files.check()
        except DamagedError as known:
            self._note(known)
        except StorageError:  # a file that was replaced, or one without its log, looks damaged and may be sound
            self._checked_at = -math.inf
        else:
            self._note(DamagedError(str(storage_error(error, str(self._file)))))

    def _note(self, error: StorageError) -> None:
        self._checked_at = -math.inf
        if isinstance(error, DamagedError) and self._damage is None:
            self._damage = str(error)
            logger.critical("%s; nothing is read or written any more", error)

    # mending

    def _check(self) -> None:
        """Look at all files; reopen them if the log or its index was removed and nobody else uses the database."""
        self._checked_at = -math.inf
        try:
            if self._writer is None:
                self._files.check_file()
            else:
                self._files.check()
        except LogLostError:
            self._save_log()
            self._reopen()
        except IndexLostError:
            self._reopen()
        except StorageError as error:
            self._note(error)
            self._part_from(error)
            raise
        self._checked_at = time.monotonic()
        self._has_parted = False

    def _replace_writer(self, old: Connection) -> None:
        self._files.check()
        new = self._open_writer()
        try:
            self._files.check()
        except BaseException:
            new.close()
            raise
        old.close()
        self._writer, self._is_suspect = new, False

    def _part_from(self, error: StorageError) -> None:
        """Empty the log into the file that was deleted, moved or replaced: SQLite would apply it to the next one."""
        if self._has_parted or self._writer is None or not isinstance(error, FileLostError):
            return
        self._has_parted = True  # once: whoever opens the next file may use this log from then on
        with self._readers_closed():
            self._empty_log(self._writer)

    def _save_log(self) -> None:
        """Copy what only the removed log holds into the database; then nothing is lost."""
        connection = self._writer
        if connection is None:
            return
        with self._readers_closed():
            try:
                row = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
                connection.rollback()
            except DBAPIError as error:
                if error.connection_invalidated:  # closed by an accident, and SQLite saved the log then
                    return
                raise storage_error(error, str(self._file)) from error
        busy, frames, saved = row
        if busy or frames != saved:
            raise StorageError(f"{self._file}-wal was removed, and others keep it from being saved: restart them")
        self._files.check_file()

    def _reopen(self) -> None:
        """Close everything and open it again, unless another process still works with the files that were removed."""
        with self._readers_closed():
            if self._writer is not None:
                self._writer.close()
                self._writer = None
                self._left_at = time.monotonic()
            self._files.check_file()
            if not self._others_have_left() and is_used_elsewhere(self._file, self._lock_slice):
                raise StorageError(
                    f"{self._file}-wal or -shm was removed, and another process uses the database too: restart that one"
                )
            self._writer = self._open_writer()
            self._files.remember_log()
            self._is_suspect = False
        logger.warning(
            "%s-wal or -shm was removed while it was open: nothing was lost, the database was opened again", self._file
        )

    def _others_have_left(self) -> bool:
        """Whether all who used the removed files had the time to notice, and somebody has opened new ones."""
        return self._files.have_log() and time.monotonic() - self._left_at > OTHERS_SECONDS

    def _open_writer(self) -> Connection:
        return _prepared(self._engine.connect(), self._lock_slice)

    @contextmanager
    def _readers_closed(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for reader in self._readers:
                stack.enter_context(reader.closed())
            yield

    def _empty_log(self, connection: Connection) -> None:
        """Write what the log holds into the database, as far as that is possible now."""
        with contextlib.suppress(SQLAlchemyError):
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.rollback()


class ReaderConnection:
    """One reading thread's connection, opened when it is needed and again after an error of the file."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def read(self, call: Callable[[Connection], T]) -> T:
        """What the operation returns, having seen one state of the database."""
        with self._lock:
            self._connections.check_readable()
            if self._connection is None:
                self._connection = self._connections.open_reader()
            try:
                return _read(self._connection, call)
            except BaseException as error:
                self._connections.report(error)
                if not isinstance(error, Exception) or makes_suspect(error):
                    self._drop()
                raise

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Close the connection when its operation is done, and let none begin until the block ends."""
        with self._lock:
            self._drop()
            yield

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _read(connection: Connection, call: Callable[[Connection], T]) -> T:
    try:
        connection.exec_driver_sql("BEGIN")
        return call(connection)
    finally:
        connection.rollback()


def _prepared(connection: Connection, lock_slice: float) -> Connection:
    """A connection for the writer, which has the log open."""
    try:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {max(1, round(1000 * lock_slice))}")
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").all()
        connection.rollback()
    except BaseException:
        connection.close()
        raise
    return connection
