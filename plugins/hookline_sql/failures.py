"""What SQLite's errors mean to people: one line that names the file, the trouble and the mend."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hookline.errors import StorageError

_MEANINGS = {
    sqlite3.SQLITE_BUSY: "is locked by another process: end what writes to it for so long, or raise busy_timeout",
    sqlite3.SQLITE_LOCKED: "is locked: end what writes to it for so long, or raise busy_timeout",
    sqlite3.SQLITE_READONLY: "is read-only: make the file and its folder writable for this user",
    sqlite3.SQLITE_FULL: "could not grow: free space on its disk",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore it from a backup, or move it away",
    sqlite3.SQLITE_NOTADB: "is not an SQLite database: give another db_file, or move that file away",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that it is a file, and the permissions of it and its folder",
    sqlite3.SQLITE_PERM: "may not be accessed: check the permissions of the file and its folder",
    sqlite3.SQLITE_AUTH: "may not be accessed: check the permissions of the file and its folder",
    sqlite3.SQLITE_IOERR: "could not be read or written: check its disk",
}


def is_locked(error: BaseException) -> bool:
    """Whether somebody else holds the database's lock."""
    return _code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def storage_error(error: SQLAlchemyError | sqlite3.Error, file: str) -> StorageError:
    """What to raise for an error of the database in `file`."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    meaning = _MEANINGS.get(_code_of(error))
    if meaning is not None:
        return StorageError(f"{file} {meaning} ({cause})")
    if "no such table" in str(cause) or "no such column" in str(cause):
        return StorageError(f"{file} lacks a table or column ({cause}): open it with migrate='auto'")
    return StorageError(f"{file}: the database refused an operation ({cause})")


def _code_of(error: BaseException) -> int:
    """SQLite's primary result code; 0 for an error of another kind."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code: int = getattr(cause, "sqlite_errorcode", 0)
    return code & 0xFF
