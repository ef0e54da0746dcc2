"""Ledgers that older versions made: brought up to date, by one process or by several at once, with all they hold.

`data/revision_0001.db` was made by the version with that revision: `python tests/sql/filled.py FILE` writes such a
ledger with whatever version is installed, so the next revision's file is made in the same way before it is replaced.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from hookline.errors import StorageError
from hookline.storage import DeliveryFilter, Prune, ReplayRecord, ServerRecord, Storage
from hookline_sql import SqliteDb, schema
from sql.builders import ME, NOW, OTHER, Server, completed, ids_of, new_run, server_of, settlement_of, statuses
from sql.filled import RUNS, fill
from sql.other_process import ended, line_of, start, tell
from sql.tables import objects_of

DATA = Path(__file__).with_name("data")
OLD_FILES = sorted(DATA.glob("revision_*.db"))
LATER = NOW + 1000

OPEN_AT_ONCE = """
import asyncio, sys
import hookline_sql.storage, alembic.command
from hookline_sql import SqliteDb
from sql.builders import commit_run

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    storage = SqliteDb(sys.argv[1], busy_timeout=60).open()
    await commit_run(storage, 2, f"new-{sys.argv[2]}")
    await storage.close()
    print("done", flush=True)

asyncio.run(main())
"""


@pytest.fixture(params=OLD_FILES, ids=lambda file: file.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> SqliteDb:
    """A copy of an old ledger."""
    return SqliteDb(shutil.copy(request.param, tmp_path / "ledger.db"), synchronous="NORMAL")


def _revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        (revision,) = connection.execute("SELECT version_num FROM hookline_alembic_version").fetchone()
        return str(revision)


def _columns(file: Path) -> dict[str, list[tuple[object, ...]]]:
    """The columns of all tables: name, type, NOT NULL, default, key."""
    with closing(sqlite3.connect(file)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: [row[1:] for row in connection.execute("SELECT * FROM pragma_table_info(?)", (name,))]
            for name in tables
        }


def test_an_old_ledger_is_kept() -> None:
    assert [_revision(file) for file in OLD_FILES] == [file.stem.removeprefix("revision_") for file in OLD_FILES]
    assert "0001" in [_revision(file) for file in OLD_FILES]
    assert schema.HEAD not in [_revision(file) for file in OLD_FILES]
    assert all(file.stat().st_size < 100_000 for file in OLD_FILES)


async def test_upgraded_schema_is_that_of_a_fresh_ledger(old: SqliteDb, tmp_path: Path) -> None:
    fresh = SqliteDb(tmp_path / "fresh.db")
    await fresh.open().close()
    assert objects_of(old.file) != objects_of(fresh.file)
    await old.open().close()
    assert objects_of(old.file) == objects_of(fresh.file)
    assert _columns(old.file) == _columns(fresh.file)
    assert _revision(old.file) == _revision(fresh.file) == schema.HEAD


async def test_upgrading_twice_changes_nothing_more(old: SqliteDb) -> None:
    await old.open().close()
    before = old.file.read_bytes()
    await old.open().close()
    await SqliteDb(old.file, migrate="check").open().close()
    assert old.upgrade() == (schema.HEAD, schema.HEAD)
    assert old.file.read_bytes() == before


def test_upgrade_tells_the_revisions(old: SqliteDb) -> None:
    before = _revision(old.file)
    assert SqliteDb(old.file, migrate="check").upgrade() == (before, schema.HEAD)


async def test_processes_that_upgrade_at_once_all_work(old: SqliteDb) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(ended(start(OPEN_AT_ONCE, str(old.file), str(number)))) for number in range(3)]
        assert [line_of(process) for process in processes] == ["ready"] * 3
        for process in processes:
            tell(process)
        assert [line_of(process) for process in processes] == ["done"] * 3
    storage = SqliteDb(old.file, migrate="check").open()
    for number in range(3):
        assert await statuses(storage, f"new-{number}") == ["pending", "waiting"]
    assert await statuses(storage, "run-5") == ["delivered"] * 3
    await storage.close()


def test_check_refuses_and_names_the_command(old: SqliteDb) -> None:
    before = old.file.read_bytes()
    with pytest.raises(StorageError, match="hookline db upgrade") as caught:
        SqliteDb(old.file, migrate="check").open()
    assert str(old.file) in str(caught.value)
    with closing(sqlite3.connect(old.file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    assert _revision(old.file) != schema.HEAD
    assert len(old.file.read_bytes()) == len(before)


# what it holds


async def _everything(storage: Storage) -> list[object]:
    """All that a ledger made by `fill` can be asked."""
    runs = [*(f"run-{n}" for n in range(RUNS)), "run-open"]
    found: list[object] = [await storage.list_servers()]
    found += [await storage.get_run(run_id) for run_id in runs]
    found += [await storage.run_deliveries(run_id) for run_id in runs]
    found += [await storage.get_session(f"session-{n}") for n in (0, 1, 2, 3, "open")]
    found += [(await storage.list_sessions(user_id=None, limit=50, cursor=None)).items]
    found += [(await storage.list_deliveries(DeliveryFilter(), limit=500, cursor=None)).items]
    found += [await storage.list_orphans([OTHER]), await storage.hook_stats(0.0), await storage.backlog(500)]
    return found


async def test_everything_in_it_reads_as_in_a_fresh_one(old: SqliteDb, tmp_path: Path) -> None:
    upgraded, fresh = old.open(), SqliteDb(tmp_path / "fresh.db").open()
    await fill(fresh)
    assert await _everything(upgraded) == await _everything(fresh)
    await upgraded.close()
    await fresh.close()


async def test_work_goes_on_in_it(old: SqliteDb) -> None:
    storage = old.open()
    server = Server(storage, "server-3", LATER)
    await storage.beat(server_of("server-3", LATER))
    claimed = await server.scan(100, now=LATER)
    heads = {"run-0:1", "run-1:0", "run-2:1", "run-3:1", "run-9:0", "run-10:0", "run-11:0"}
    assert set(ids_of(claimed)) == heads
    await server.settle(*(settlement_of(claim.delivery.delivery_id, claim.fence) for claim in claimed))
    assert await statuses(storage, "run-0") == ["delivered", "delivered", "pending"]
    assert await storage.redrive_many(DeliveryFilter(), LATER, 10) == 2
    run = await storage.get_run("run-open")
    assert run == new_run("run-open", session_id="session-open")
    await storage.close()


async def test_new_operations_know_what_is_in_it(old: SqliteDb) -> None:
    storage = old.open()
    assert await storage.count_deliveries(DeliveryFilter(hook="hook_0", status="delivered"), 100) == 5
    replay = ReplayRecord("replay-1", "post", "again", ["agent-1"], ["completed"], 4, LATER)
    assert (await storage.create_replay(replay)).matched == 6
    advanced = await storage.advance_replay("replay-1", LATER, 100)
    assert advanced is not None
    assert (advanced.status, advanced.made) == ("completed", 6)
    pruned = await storage.prune(Prune(LATER, LATER, LATER))
    assert pruned.deliveries > 10
    assert pruned.runs > 0
    await storage.close()


def test_fill_is_what_the_file_was_made_with() -> None:
    assert server_of(ME) == ServerRecord(ME, "host", "boot", "pid:[1]", 4711, 99, NOW, NOW), "no real machine's"
    assert completed(new_run()).document == '{"run_id":"run-1"}'
