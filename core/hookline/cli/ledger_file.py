"""The file that a ledger is kept in: can it be made and written? Found out without doing either."""

from __future__ import annotations

import os
from pathlib import Path

from hookline.cli.trouble import Trouble
from hookline.storage import Database

_SQLITE_URL = "sqlite:///"
_ANOTHER = "or choose another file (HOOKLINE_DATABASE, db=)"


def file_of(database: Database) -> Path | None:
    """The file of an SQLite database; None for any other."""
    path = database.url.removeprefix(_SQLITE_URL)
    return Path(path) if database.url.startswith(_SQLITE_URL) and path.startswith("/") else None


def find_ledger_trouble(database: Database) -> Trouble | None:
    """Why the file, or the log that SQLite keeps beside it, cannot be written; None if it can."""
    file = file_of(database)
    if file is None:
        return None
    if os.path.isdir(file):
        return Trouble(f"the database {file} is a folder", "name a file in it (HOOKLINE_DATABASE, db=)")
    folder = nearest_folder(file)
    if not os.path.isdir(folder):
        return Trouble(f"the database {file} cannot be made: {folder} is no folder", f"remove {folder}, {_ANOTHER}")
    if not _may(folder, os.W_OK | os.X_OK):
        return Trouble(
            f"the database {file} cannot be written: its folder {folder} is read-only",
            f"change the folder's owner or mode, {_ANOTHER}",
        )
    for each in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
        if os.path.exists(each) and not _may(each, os.R_OK | os.W_OK):
            return Trouble(f"the database {each} cannot be written", f"change its owner or mode, {_ANOTHER}")
    return None


def nearest_folder(file: Path) -> Path:
    """The folder of a file, or the nearest one above it that exists."""
    return next(parent for parent in file.parents if os.path.exists(parent))


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
