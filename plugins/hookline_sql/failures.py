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
    sqlite3.SQLITE_CORRUPT: "is damaged: stop the server, restore the file from a backup (hookline doctor examines it)",
    sqlite3.SQLITE_NOTADB: "is not an SQLite database: give another db_file, or move that file away",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that it is a file, its and its folder's permissions, its disk",
    sqlite3.SQLITE_PERM: "may not be accessed: check the permissions of the file and its folder",
    sqlite3.SQLITE_AUTH: "may not be accessed: check the permissions of the file and its folder",
    sqlite3.SQLITE_IOERR: "could not be read or written: check its disk",
    sqlite3.SQLITE_PROTOCOL: "is locked by other processes without end: end some of them",
    sqlite3.SQLITE_NOMEM: "found no memory: give this process more",
}

_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SUSPECT = (
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_READONLY,  # as it stays for a connection that was opened while the file could not be written
)


def is_locked(error: BaseException) -> bool:
    """Whether somebody else holds the database's lock."""
    return _code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_full(error: BaseException) -> bool:
    """Whether the disk has no room."""
    return _code_of(error) == sqlite3.SQLITE_FULL


def is_damage(error: BaseException) -> bool:
    """Whether the content of the file is not what SQLite wrote."""
    return _code_of(error) in _DAMAGE


def makes_suspect(error: BaseException) -> bool:
    """Whether the connection that it happened on should not be used any more."""
    return _code_of(error) in (*_SUSPECT, *_DAMAGE)


def storage_error(error: SQLAlchemyError | sqlite3.Error, file: str) -> StorageError:
    """What to raise for an error of the database in `file`."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = sqlite3.SQLITE_FULL if _extended_code_of(error) in _NO_ROOM else _code_of(error)
    meaning = _MEANINGS.get(code)
    if meaning is not None:
        return StorageError(f"{file} {meaning} ({cause})")
    if "no such table" in str(cause) or "no such column" in str(cause):
        return StorageError(f"{file} lacks a table or column ({cause}): open it with migrate='auto'")
    return StorageError(f"{file}: the database refused an operation ({cause})")


def _code_of(error: BaseException) -> int:
    """SQLite's primary result code; 0 for an error of another kind."""
    return _extended_code_of(error) & 0xFF


def _extended_code_of(error: BaseException) -> int:
    cause = error.orig if isinstance(error, DBAPIError) else error
    code: int = getattr(cause, "sqlite_errorcode", 0)
    return code
