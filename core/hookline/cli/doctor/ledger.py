"""The ledger: can it be written, is it a database, and are its tables those of this version? Nothing is written."""

from __future__ import annotations

import importlib.resources
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from hookline.cli.doctor.file_system import file_system_finding, space_finding
from hookline.cli.doctor.finding import Finding, Verdict, fail, ok, warn
from hookline.errors import ConfigurationError
from hookline.storage import Database

_SQLITE_URL = "sqlite:///"
_MAGIC = b"SQLite format 3\0"
_HEADER_SIZE = 100
_WAL = 2
"""What bytes 18 and 19 of the header are with a write-ahead log."""

_WAIT_SECONDS = 2.0
_MIGRATION = re.compile(r"(\d+)_\w+\.py")
_ANOTHER = "or choose another file (HOOKLINE_DATABASE, db=)"


def examine_ledger(database: Database) -> Iterator[Finding]:
    """Examine a database without changing anything or making a file."""
    file = file_of(database)
    if file is None:
        yield ok("database", f"{database.url}: only SQLite files are examined; GET /ready tells of others")
        return
    writable = writable_finding(file)
    yield writable
    folder = _nearest_folder(file)
    yield file_system_finding(folder)
    yield space_finding(folder)
    if writable.verdict is Verdict.OK and file.exists() and file.stat().st_size:
        yield from _examine_content(file, database)


def check_ledger(database: Database) -> None:
    """Stop a start that cannot succeed.

    Raises:
        ConfigurationError: its file cannot be written, in one line with the mend.
    """
    file = file_of(database)
    if file is not None and (finding := writable_finding(file)).verdict is Verdict.FAIL:
        raise ConfigurationError(f"{finding.detail}: {finding.mend}")


def file_of(database: Database) -> Path | None:
    """The file of an SQLite database; None for any other."""
    url = database.url
    return Path(url.removeprefix(_SQLITE_URL)) if url.startswith(f"{_SQLITE_URL}/") else None


def writable_finding(file: Path) -> Finding:
    """Whether the file, and the log that SQLite keeps beside it, can be written or made."""
    folder = _nearest_folder(file)
    if file.is_dir():
        return fail("database", f"{file} is a folder", "name a file in it (HOOKLINE_DATABASE, db=)")
    if not folder.is_dir():
        return fail("database", f"{file} cannot be made: {folder} is no folder", f"remove {folder}, {_ANOTHER}")
    if not _may(folder, os.W_OK | os.X_OK):
        return fail("database", f"the folder {folder} cannot be written", f"change its owner or mode, {_ANOTHER}")
    for each in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
        if each.exists() and not _may(each, os.R_OK | os.W_OK):
            return fail("database", f"{each} cannot be read and written", f"change its owner or mode, {_ANOTHER}")
    if not file.exists():
        return ok("database", f"{file} does not exist yet: the first start makes it")
    return ok("database", f"{file} can be read and written")


def newest_revision(database: Database) -> str | None:
    """The newest of the migrations that come with the storage; None if it has no such folder."""
    package = type(database).__module__.partition(".")[0]
    folder = importlib.resources.files(package) / "migrations" / "versions"
    if not folder.is_dir():
        return None
    return max((match[1] for each in folder.iterdir() if (match := _MIGRATION.fullmatch(each.name))), default=None)


def _examine_content(file: Path, database: Database) -> Iterator[Finding]:
    with file.open("rb") as opened:
        header = opened.read(_HEADER_SIZE)
    if not header.startswith(_MAGIC):
        yield fail("schema", f"{file} is no SQLite database", "move it away, or choose another file")
        return
    prefix = str(getattr(database, "table_prefix", "hookline_"))
    try:
        revision = _read_revision(file, prefix)
    except sqlite3.Error as error:
        yield fail("schema", f"{file} cannot be read: {error}", "end what holds its lock, or restore it from a copy")
        return
    yield _schema_finding(file, revision, database)
    if header[18] == _WAL:
        yield ok("journal", "journal_mode is WAL")
    else:
        yield warn(
            "journal",
            "journal_mode is not WAL: reading would wait for writing",
            "start the server while nobody else has the file open: it changes that",
        )


def _read_revision(file: Path, prefix: str) -> str | None:
    """The revision of the tables; None if there are none."""
    # Where nobody has the file open there is no log, and to look for one SQLite would make it.
    mode = "mode=ro" if Path(f"{file}-wal").exists() else "mode=ro&immutable=1"
    table = f"{prefix}alembic_version"
    with closing(sqlite3.connect(f"file:{quote(str(file))}?{mode}", uri=True, timeout=_WAIT_SECONDS)) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
        if known is None:
            return None
        row = connection.execute(f'SELECT version_num FROM "{table}"').fetchone()  # noqa: S608 - no user's text
    return str(row[0]) if row else None


def _schema_finding(file: Path, revision: str | None, database: Database) -> Finding:
    newest = newest_revision(database)
    migrates = getattr(database, "migrate", "auto") == "auto"
    if revision is None:
        if migrates:
            return ok("schema", f"{file} has no tables of hookline yet: the first start makes them")
        return fail("schema", f"{file} has no tables of hookline", "open it once with migrate='auto'")
    if newest is None or revision == newest:
        return ok("schema", f"revision {revision}")
    if revision > newest:
        return fail("schema", f"revision {revision} is newer than {newest}, the newest known here", "update hookline")
    if migrates:
        return warn("schema", f"revision {revision}, older than {newest}", "back it up: the next start migrates it")
    return fail("schema", f"revision {revision}, older than {newest}", "open it once with migrate='auto'")


def _nearest_folder(file: Path) -> Path:
    """The folder of a file, or the nearest one above it that exists."""
    return next(parent for parent in file.parents if parent.exists())


def _may(path: Path, mode: int) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(path, mode, effective_ids=effective)
