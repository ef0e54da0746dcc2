"""`SqliteDb`: the light description of a database, as users write it."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from hookline.errors import ConfigurationError

if TYPE_CHECKING:
    from hookline.storage import Storage

Synchronous = Literal["FULL", "NORMAL"]
Migrate = Literal["auto", "check"]

_URL = re.compile(r"sqlite(\+pysqlite)?://(/(?P<file>.*))?", re.DOTALL)
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True, init=False)
class SqliteDb:
    """An SQLite file that holds sessions, runs and deliveries; it and its folder are made when it is opened.

    Args:
        db_file: the file; a relative one is looked up from the present working directory.
        db_url: the same as a URL, instead of `db_file`: `sqlite:///tmp/agent.db`, `sqlite:////var/lib/agent.db`.
        synchronous: `FULL` keeps every commit through a power loss; with `NORMAL`, which costs less, the last ones
            may be lost then. A crash of the process loses nothing either way.
        table_prefix: what the names of all tables begin with.
        busy_timeout: how long to wait, in seconds, while another process holds the database's lock.
        migrate: `auto` makes missing tables and brings older ones up to date; `check` refuses to open instead.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    file: Path
    synchronous: Synchronous
    table_prefix: str
    busy_timeout: float
    migrate: Migrate

    def __init__(
        self,
        db_file: str | os.PathLike[str] | None = None,
        *,
        db_url: str | None = None,
        synchronous: Synchronous = "FULL",
        table_prefix: str = "hookline_",
        busy_timeout: float = 5.0,
        migrate: Migrate = "auto",
    ) -> None:
        _check_choice("synchronous", synchronous, get_args(Synchronous))
        _check_choice("migrate", migrate, get_args(Migrate))
        _check_prefix(table_prefix)
        _check_timeout(busy_timeout)
        set_once = object.__setattr__
        set_once(self, "file", _file_of(db_file, db_url))
        set_once(self, "synchronous", synchronous)
        set_once(self, "table_prefix", table_prefix)
        set_once(self, "busy_timeout", float(busy_timeout))
        set_once(self, "migrate", migrate)

    @classmethod
    def from_text(cls, text: str) -> SqliteDb:
        """The database that a setting or a command line names: a path, or a URL that begins with `sqlite:`.

        Raises:
            ConfigurationError: it is neither.
        """
        return cls(db_url=text) if "://" in text or text.startswith("sqlite:") else cls(text)

    @property
    def url(self) -> str:
        """The URL with the file's absolute path: what identifies the database within this process."""
        return f"sqlite:///{self.file}"

    def open(self) -> Storage:
        """Open it, making or migrating its tables; it blocks, so call it in a thread.

        Raises:
            StorageError: it cannot be opened; the message names the file and the mend.
        """
        # Heavy: this is the one place from which SQLAlchemy is imported.
        from hookline_sql.storage import open_storage

        return open_storage(self)

    def upgrade(self) -> tuple[str | None, str]:
        """Make or migrate its tables whatever `migrate` says; it blocks, so call it in a thread.

        Returns:
            The schema's revision before (None: there were no tables) and after.

        Raises:
            StorageError: it cannot be done; nothing has changed then.
        """
        from hookline_sql.ledger import upgrade_database

        return upgrade_database(self)


def _file_of(db_file: str | os.PathLike[str] | None, db_url: str | None) -> Path:
    if (db_file is None) == (db_url is None):
        raise ConfigurationError('SqliteDb takes one of db_file and db_url, such as db_file="tmp/agent.db"')
    if db_url is not None:
        return _file_of_url(db_url)
    if not isinstance(db_file, str | os.PathLike):
        raise ConfigurationError(f"SqliteDb(db_file={db_file!r}): give the path of a file")
    text = os.fspath(db_file)
    if "://" in text or text.startswith("sqlite:"):
        raise ConfigurationError(f"SqliteDb(db_file={text!r}) is a URL: give it as db_url=")
    return _absolute(text, f"SqliteDb(db_file={text!r})")


def _file_of_url(db_url: str) -> Path:
    given = f"SqliteDb(db_url={db_url!r})"
    match = _URL.fullmatch(db_url) if isinstance(db_url, str) else None
    if match is None:
        raise ConfigurationError(f"{given} is no SQLite URL: write it like sqlite:///tmp/agent.db")
    file = match["file"] or ""
    if "?" in file:
        raise ConfigurationError(
            f"{given}: leave out what follows the question mark; SqliteDb has arguments for its options"
        )
    return _absolute(file, given)


def _absolute(text: str, given: str) -> Path:
    if not text or text == ":memory:" or "\0" in text:
        raise ConfigurationError(f"{given} names no file: a ledger that lasts needs one, such as tmp/agent.db")
    if os.path.basename(text) in ("", os.curdir, os.pardir):
        raise ConfigurationError(
            f"{given} names a folder: add the name of a file, such as {Path(text) / 'hookline.db'}"
        )
    return Path(os.path.realpath(Path(text).expanduser()))


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(f"SqliteDb({name}={value!r}): choose one of {', '.join(map(repr, choices))}")


def _check_prefix(table_prefix: str) -> None:
    if not isinstance(table_prefix, str) or not _PREFIX.fullmatch(table_prefix):
        raise ConfigurationError(
            f"SqliteDb(table_prefix={table_prefix!r}): use 1 to 32 letters, digits and underscores, no digit first"
        )


def _check_timeout(busy_timeout: float) -> None:
    if (
        isinstance(busy_timeout, bool)
        or not isinstance(busy_timeout, int | float)
        or not (math.isfinite(busy_timeout) and busy_timeout > 0)
    ):
        raise ConfigurationError(f"SqliteDb(busy_timeout={busy_timeout!r}): give seconds, a number above 0")
