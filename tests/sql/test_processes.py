"""Several processes on one file."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from hookline import StorageError
from hookline_sql import SqliteDb
from sql.builders import NOW, commit_run, new_run, statuses
from sql.other_process import ended, holding_the_lock, line_of, start, tell

OPEN_AND_WRITE = """
import asyncio, sys
import hookline_sql.storage
from hookline_sql import SqliteDb
from sql.builders import commit_run

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    storage = SqliteDb(sys.argv[1]).open()
    for number in range(5):
        await commit_run(storage, 2, f"run-{sys.argv[2]}-{number}")
    await storage.close()
    print("done", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def locked_soon(tmp_path: Path) -> SqliteDb:
    return SqliteDb(tmp_path / "ledger.db", synchronous="NORMAL", busy_timeout=0.3)


async def test_reads_go_on_while_another_process_writes(locked_soon: SqliteDb) -> None:
    storage = locked_soon.open()
    await commit_run(storage, 2)
    with holding_the_lock(locked_soon.file):
        writing = asyncio.ensure_future(storage.accept_run(new_run("run-2"), []))
        assert await statuses(storage) == ["pending", "waiting"]
        assert await storage.get_run("run-2") is None
        assert not writing.done()
        with pytest.raises(StorageError, match="locked by another process"):
            await writing
        with pytest.raises(StorageError, match="locked by another process"):
            await storage.check()
    await storage.check()
    await storage.close()


async def test_writes_wait_for_the_lock(tmp_path: Path) -> None:
    storage = SqliteDb(tmp_path / "ledger.db", busy_timeout=60).open()
    with holding_the_lock(tmp_path / "ledger.db") as process:
        writing = asyncio.ensure_future(commit_run(storage, 1))
        await storage.get_run("run-1")
        tell(process)
        await writing
    await storage.close()


async def test_locked_database_can_be_opened(locked_soon: SqliteDb) -> None:
    await locked_soon.open().close()
    with holding_the_lock(locked_soon.file):
        storage = locked_soon.open()
        assert await storage.list_servers() == []
        await storage.close()


async def test_processes_that_open_a_fresh_file_at_once_all_work(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with ExitStack() as stack:
        processes = [stack.enter_context(ended(start(OPEN_AND_WRITE, str(file), str(number)))) for number in range(4)]
        assert [line_of(process) for process in processes] == ["ready"] * 4
        for process in processes:
            tell(process)
        assert [line_of(process) for process in processes] == ["done"] * 4
    storage = SqliteDb(file).open()
    runs = await storage.list_runs("session-1", limit=100, cursor=None)
    assert len(runs.items) == 20
    assert {run.created_at for run in runs.items} == {NOW}
    await storage.close()
