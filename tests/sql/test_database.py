"""`SqliteDb`: what it takes, what it refuses, what opening says."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import hookline_sql
from hookline import ConfigurationError, StorageError
from hookline.storage import Database, Storage
from hookline_sql import SqliteDb
from hookline_sql.engine import check_sqlite_version
from sql.builders import commit_run, new_run
from sql.other_process import holding_the_lock


def test_url_has_the_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path.resolve() / 'data' / 'agent.db'}"
    assert SqliteDb("data/agent.db").url == url
    assert SqliteDb(db_file=Path("data") / "agent.db").url == url
    assert SqliteDb(db_url="sqlite:///data/agent.db").url == url
    assert SqliteDb(db_url=f"sqlite+pysqlite:///{tmp_path}/data/../data/agent.db").url == url
    assert SqliteDb(db_url=url).url == url


def test_link_and_its_target_are_one_database(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert SqliteDb(tmp_path / "link" / "a.db").url == SqliteDb(tmp_path / "real" / "a.db").url


def test_home_folder_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert SqliteDb("~/a.db").file == tmp_path.resolve() / "a.db"


def test_description_cannot_be_changed(database: SqliteDb) -> None:
    with pytest.raises(AttributeError):
        database.busy_timeout = 3.0  # type: ignore[misc]  # what this test is about
    assert isinstance(database, Database)
    assert database == SqliteDb(database.file, synchronous="NORMAL")
    assert hash(database) == hash(SqliteDb(database.file, synchronous="NORMAL"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "db_file"),
        ({"db_file": "a.db", "db_url": "sqlite:///a.db"}, "one of db_file and db_url"),
        ({"db_file": 3}, "path of a file"),
        ({"db_file": ""}, "names no file"),
        ({"db_file": ":memory:"}, "names no file"),
        ({"db_file": "data/"}, "names a folder: add the name of a file, such as data/hookline.db"),
        ({"db_file": "/"}, "such as /hookline.db"),
        ({"db_file": "."}, "names a folder"),
        ({"db_file": ".."}, "such as ../hookline.db"),
        ({"db_url": "sqlite:////var/lib/"}, "such as /var/lib/hookline.db"),
        ({"db_file": "sqlite:///a.db"}, "db_url="),
        ({"db_url": "sqlite://"}, "names no file"),
        ({"db_url": "sqlite:///:memory:"}, "names no file"),
        ({"db_url": "sqlite:///a.db?mode=ro"}, "question mark"),
        ({"db_url": "postgresql://localhost/x"}, "sqlite:///tmp/agent.db"),
        ({"db_url": "sqlite://host/a.db"}, "sqlite:///tmp/agent.db"),
        ({"db_url": 3}, "no SQLite URL"),
        ({"db_file": "a.db", "synchronous": "OFF"}, "'FULL', 'NORMAL'"),
        ({"db_file": "a.db", "synchronous": "full"}, "'FULL', 'NORMAL'"),
        ({"db_file": "a.db", "migrate": "never"}, "'auto', 'check'"),
        ({"db_file": "a.db", "table_prefix": ""}, "table_prefix"),
        ({"db_file": "a.db", "table_prefix": "1a"}, "table_prefix"),
        ({"db_file": "a.db", "table_prefix": "a; DROP"}, "table_prefix"),
        ({"db_file": "a.db", "busy_timeout": 0}, "busy_timeout"),
        ({"db_file": "a.db", "busy_timeout": float("nan")}, "busy_timeout"),
        ({"db_file": "a.db", "busy_timeout": "5"}, "busy_timeout"),
        ({"db_file": "a.db", "busy_timeout": True}, "busy_timeout"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said.replace("?", r"\?")) as caught:
        SqliteDb(**arguments)
    assert "\n" not in str(caught.value)


def test_plugin_offers_sqlite(tmp_path: Path) -> None:
    factory = hookline_sql.storages()["sqlite"]
    assert factory(str(tmp_path / "a.db")) == SqliteDb(tmp_path / "a.db")
    assert factory(f"sqlite:///{tmp_path}/a.db") == SqliteDb(tmp_path / "a.db")
    with pytest.raises(ConfigurationError, match="no SQLite URL"):
        factory("postgresql://localhost/hookline")


def test_description_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"""
import sys
from hookline_sql import SqliteDb
db = SqliteDb({str(tmp_path / "a.db")!r})
assert not {{"sqlalchemy", "alembic"}} & set(sys.modules), "import"
db.open()
assert "alembic" not in sys.modules, "a fresh database needs no migration"
"""
    environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


# opening


async def test_missing_folders_are_made(tmp_path: Path) -> None:
    database = SqliteDb(tmp_path / "a" / "b" / "c.db")
    storage = database.open()
    assert isinstance(storage, Storage)
    assert storage.description == database.url
    await storage.check()
    await storage.close()
    assert [file.name for file in (tmp_path / "a" / "b").iterdir()] == ["c.db"], "no log is left behind"


async def test_two_openings_share_one_ledger(database: SqliteDb) -> None:
    first, second = database.open(), SqliteDb(database.file, synchronous="NORMAL").open()
    await commit_run(first, 1)
    assert await second.get_run("run-1") is not None
    await first.close()
    await first.close()
    with pytest.raises(StorageError, match="is closed"):
        await first.get_run("run-1")
    await commit_run(second, 1, "run-2")
    await second.close()
    with pytest.raises(StorageError, match="is closed"):
        await second.check()


async def test_what_was_stored_is_there_after_reopening(database: SqliteDb) -> None:
    for n in range(3):
        storage = database.open()
        assert (await storage.get_run("run-0") is not None) == (n > 0)
        await commit_run(storage, 1, f"run-{n}")
        await storage.close()


async def test_two_prefixes_are_two_ledgers_in_one_file(tmp_path: Path) -> None:
    one, two = (SqliteDb(tmp_path / "a.db", table_prefix=prefix).open() for prefix in ("a_", "b_"))
    await commit_run(one, 1)
    assert await two.get_run("run-1") is None
    await one.close()
    await two.close()


async def test_tables_of_others_in_the_file_are_left_alone(database: SqliteDb) -> None:
    with closing(sqlite3.connect(database.file)) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    await database.open().close()


def _refusal(database: SqliteDb) -> str:
    with pytest.raises(StorageError) as caught:
        database.open()
    message = str(caught.value)
    assert "\n" not in message
    assert str(database.file) in message or str(database.file.parent) in message
    return message


def test_file_that_is_no_database_is_refused(database: SqliteDb) -> None:
    database.file.write_text("dear diary, " * 500)
    assert "is not an SQLite database" in _refusal(database)
    assert database.file.read_text().startswith("dear diary")


def test_damaged_database_is_refused(database: SqliteDb) -> None:
    with closing(sqlite3.connect(database.file)) as connection:
        connection.execute("CREATE TABLE a (b)")
        connection.commit()
    content = bytearray(database.file.read_bytes())
    content[100:400] = b"\xff" * 300
    database.file.write_bytes(content)
    assert "is damaged" in _refusal(database)


def test_folder_instead_of_a_file_is_refused(database: SqliteDb) -> None:
    database.file.mkdir()
    said = f"{database.file} is a folder: add the name of a file, such as {database.file}/hookline.db"
    assert said == _refusal(database)
    assert list(database.file.iterdir()) == []


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be made" in _refusal(SqliteDb(tmp_path / "file" / "folder" / "a.db"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_file_is_refused(database: SqliteDb) -> None:
    sqlite3.connect(database.file).close()
    database.file.touch()
    database.file.chmod(0o444)
    database.file.parent.chmod(0o555)
    try:
        assert "read-only" in _refusal(database)
    finally:
        database.file.parent.chmod(0o755)


def test_somebody_elses_tables_of_these_names_are_refused(database: SqliteDb) -> None:
    with closing(sqlite3.connect(database.file)) as connection:
        connection.execute("CREATE TABLE hookline_runs (name TEXT)")
    assert "'hookline_runs' that hookline did not make: choose another table_prefix" in _refusal(database)


def test_fresh_database_that_is_locked_is_refused_in_time(tmp_path: Path) -> None:
    database = SqliteDb(tmp_path / "a.db", busy_timeout=0.2)
    with holding_the_lock(database.file):
        assert "locked by another process" in _refusal(database)


def test_old_sqlite_is_refused() -> None:
    with pytest.raises(StorageError, match=r"SQLite 3\.34\.1, and hookline_sql needs 3\.35\.0"):
        check_sqlite_version((3, 34, 1))


async def test_missing_table_is_said(database: SqliteDb) -> None:
    storage = database.open()
    with closing(sqlite3.connect(database.file)) as connection:
        connection.execute("DROP TABLE hookline_runs")
    with pytest.raises(StorageError, match="migrate='auto'"):
        await storage.accept_run(new_run(), [])
    with pytest.raises(StorageError, match="migrate='auto'"):
        await storage.get_run("run-1")
    await storage.close()
