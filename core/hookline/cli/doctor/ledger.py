"""The ledger: can it be written, is it a database, and are its tables those of this version? Nothing is written."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from hookline.cli.doctor.file_system import file_system_finding, space_finding
from hookline.cli.doctor.finding import Finding, fail, ok, warn
from hookline.cli.ledger_file import file_of, find_ledger_trouble, nearest_folder
from hookline.storage import Database

_MAGIC = b"SQLite format 3\0"
_HEADER_SIZE = 100
_WAL = 2
"""What bytes 18 and 19 of the header are with a write-ahead log."""

_WAIT_SECONDS = 2.0
CHECK_SECONDS = 10.0
"""How long the content is looked through at most."""
_MIGRATION = re.compile(r"(\d+)_\w+\.py")


def examine_ledger(database: Database) -> Iterator[Finding]:
    """Examine a database without changing anything or making a file."""
    file = file_of(database)
    if file is None:
        yield ok("database", f"{database.url}: only SQLite files are examined; GET /ready tells of others")
        return
    folder = nearest_folder(file)
    trouble = find_ledger_trouble(database)
    if trouble is not None:
        yield fail("database", trouble.reason, trouble.mend)
    elif file.exists():
        yield ok("database", f"{file} can be read and written")
    elif _log_of(file).exists():
        yield warn(
            "database",
            f"{file} does not exist, though its log {_log_of(file)} does: it was deleted or moved",
            "put it back before the next start, which makes a new one",
        )
    else:
        yield ok("database", f"{file} does not exist yet: the first start makes it")
    yield file_system_finding(folder)
    yield space_finding(folder)
    if trouble is None and file.exists() and file.stat().st_size:
        yield from _examine_content(file, database)


def newest_revision(database: Database) -> str | None:
    """The newest of the migrations that come with the storage; None if it has no such folder."""
    spec = importlib.util.find_spec(type(database).__module__.partition(".")[0])
    places = (spec.submodule_search_locations if spec else None) or ()
    names = [file.name for place in places for file in Path(place, "migrations", "versions").glob("*.py")]
    return max((match[1] for name in names if (match := _MIGRATION.fullmatch(name))), default=None)


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
    yield _soundness_finding(file)
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
    table = f"{prefix}alembic_version"
    with closing(_open(file)) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
        if known is None:
            return None
        row = connection.execute(f'SELECT version_num FROM "{table}"').fetchone()  # noqa: S608 - no user's text
    return str(row[0]) if row else None


def _soundness_finding(file: Path) -> Finding:
    """Whether SQLite finds its own content in order, as far as it gets in time."""
    ends_at = time.monotonic() + CHECK_SECONDS
    try:
        with closing(_open(file)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > ends_at, 10_000)
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return ok("content", f"no damage found in {CHECK_SECONDS:g} s, which was not enough to see all of it")
        found = str(error)
    if found == "ok":
        return ok("content", "no damage found")
    return fail(
        "content", f"{file} is damaged: {' '.join(found.split())}", "stop the server, restore the file from a backup"
    )


def _open(file: Path) -> sqlite3.Connection:
    # Where nobody has the file open there is no log, and to look for one SQLite would make it.
    mode = "mode=ro" if _log_of(file).exists() else "mode=ro&immutable=1"
    return sqlite3.connect(f"file:{quote(str(file))}?{mode}", uri=True, timeout=_WAIT_SECONDS)


def _log_of(file: Path) -> Path:
    return Path(f"{file}-wal")


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
