"""A disk that is full, read-only or failing: what is refused is not stored, and the ledger goes on once it can."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from faults import NOBODY, files_cannot_grow, fill, immutable, index_of, log_of, read_only_mount, small_disk
from hookline import StorageError
from hookline.storage import Storage
from hookline_sql import SqliteDb
from sql.builders import NOW, Server, commit_run, ids_of, server_of, settlement_of, statuses
from sql.other_process import ended, holding_the_lock, line_of, start

OPEN_AND_WRITE = """
import asyncio, os, sys
from hookline import StorageError
from hookline_sql import SqliteDb
import hookline_sql.storage, sqlalchemy.dialects.sqlite.pysqlite

async def main():
    try:
        storage = SqliteDb(sys.argv[1]).open()
        await storage.check()
    except StorageError as error:
        print(error)

user = int(sys.argv[2])
os.setgroups([])
os.setgid(user)
os.setuid(user)
asyncio.run(main())
"""
"""Becomes somebody else when all is imported: the sources may be hidden from others."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    with small_disk(tmp_path / "disk") as mounted:
        yield mounted


@asynccontextmanager
async def opened(file: Path, *, busy_timeout: float = 5.0) -> AsyncIterator[Storage]:
    storage = SqliteDb(file, synchronous="NORMAL", busy_timeout=busy_timeout).open()
    yield storage
    await storage.close()


async def store_until_refused(storage: Storage) -> tuple[list[str], str]:
    """Store runs of 20 kB each; returns those that were stored, and what was said then."""
    stored: list[str] = []
    while True:
        run_id = f"big-{len(stored)}"
        try:
            await commit_run(storage, 2, run_id, document='"' + "x" * 20_000 + '"')
        except StorageError as error:
            return stored, str(error)
        stored.append(run_id)


async def assert_whole(storage: Storage, file: Path, stored: list[str], refused: str) -> None:
    """Exactly those runs are there, with all their deliveries."""
    for run_id in stored[1:3]:
        assert await statuses(storage, run_id) == ["pending", "waiting"]
    assert await storage.get_run(refused) is None
    assert await storage.run_deliveries(refused) == []
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = [run_id for (run_id,) in connection.execute("SELECT run_id FROM hookline_runs ORDER BY seq")]
    assert found == stored


async def test_full_disk_refuses_and_goes_on_when_there_is_room(disk: Path) -> None:
    file = disk / "ledger.db"
    async with opened(file) as storage:
        await commit_run(storage, 1)
        [claimed] = await Server(storage).scan()
        ballast = fill(disk, leave=500_000)
        stored, message = await store_until_refused(storage)
        assert str(file) in message
        assert "could not grow: free space on its disk" in message
        assert len(stored) > 5
        await assert_whole(storage, file, ["run-1", *stored], f"big-{len(stored)}")

        fill(disk)
        with pytest.raises(StorageError, match="free space"):
            await commit_run(storage, 2, "refused", document='"' + "x" * 5_000_000 + '"')
        ballast.unlink()
        await storage.check()
        await storage.beat(server_of())
        await Server(storage, now=NOW + 5).settle(settlement_of("run-1:0", claimed.fence))
        assert await statuses(storage) == ["delivered"]
        await commit_run(storage, 2, "later")
        await assert_whole(storage, file, ["run-1", *stored, "later"], "refused")


async def test_log_gives_its_room_back_on_a_full_disk(disk: Path) -> None:
    file = disk / "ledger.db"
    async with opened(file) as storage:
        await storage.beat(server_of())
    async with opened(file) as storage:
        for second in range(50):
            await storage.beat(server_of(heartbeat_at=NOW + second))
        grown = log_of(file).stat().st_size
        fill(disk)
        refusals = 0
        for second in range(50, 150):
            try:
                await storage.beat(server_of(heartbeat_at=NOW + second))
            except StorageError:
                refusals += 1
        assert refusals <= 10, "the log, whose pages were all written over since, is used again from its beginning"
        assert log_of(file).stat().st_size <= grown


async def test_ledger_on_a_full_disk_is_not_opened(disk: Path) -> None:
    fill(disk)
    with pytest.raises(StorageError, match="free space on its disk") as caught:
        SqliteDb(disk / "ledger.db").open()
    assert str(disk / "ledger.db") in str(caught.value)


async def test_limit_on_the_size_of_files_is_an_error_and_no_end(database: SqliteDb, storage: Storage) -> None:
    await commit_run(storage, 2)
    with files_cannot_grow(log_of(database.file).stat().st_size):
        results = await asyncio.gather(
            *(commit_run(storage, 1, f"refused-{number}") for number in range(20)), return_exceptions=True
        )
        assert {type(result) for result in results} == {StorageError}
        assert "check its disk" in str(results[0])
        assert await statuses(storage) == ["pending", "waiting"]
    await commit_run(storage, 1, "run-2")
    for number in range(20):
        assert await storage.get_run(f"refused-{number}") is None
    assert ids_of(await Server(storage).scan()) == ["run-1:0", "run-2:0"]


async def test_disk_that_refuses_to_be_written_refuses_and_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with opened(file) as storage:
        await commit_run(storage, 2)
        with immutable(file, log_of(file)):
            with pytest.raises(StorageError) as caught:
                await commit_run(storage, 1, "refused")
            assert str(file) in str(caught.value)
            assert await statuses(storage) == ["pending", "waiting"]
            with pytest.raises(StorageError):
                await storage.check()
        await storage.check()
        assert await storage.get_run("refused") is None
        await commit_run(storage, 1, "run-2")


async def test_lock_held_for_long_by_another_process_refuses_and_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with opened(file, busy_timeout=0.4) as storage:
        await commit_run(storage, 2)
        with holding_the_lock(file):
            for operation in (storage.check(), storage.beat(server_of()), commit_run(storage, 1, "refused")):
                with pytest.raises(StorageError, match="locked by another process"):
                    await operation
            assert await statuses(storage) == ["pending", "waiting"]
        await storage.check()
        assert await storage.get_run("refused") is None
        await commit_run(storage, 1, "run-2")


# at start


def said_to_nobody(file: Path) -> str:
    """What somebody without rights is told when they open the file and write."""
    with ended(start(OPEN_AND_WRITE, str(file), str(NOBODY))) as process:
        message = line_of(process)
        assert process.wait(30) == 0
    return message


def allow(mode: int, *paths: Path) -> None:
    for path in paths:
        path.chmod(mode)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody can reach."""
    if os.geteuid() != 0:
        pytest.skip("only root may be somebody else")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not all(parent.stat().st_mode & 0o001 for parent in folder.parents):
            pytest.skip(f"others cannot reach {folder}")
        folder.chmod(0o755)
        yield folder


async def test_file_of_another_user_is_refused_at_start(shared: Path) -> None:
    async with opened(shared / "ledger.db"):
        pass
    message = said_to_nobody(shared / "ledger.db")
    assert str(shared / "ledger.db") in message
    assert "make the file and its folder writable" in message


async def test_read_only_folder_is_refused_at_start(shared: Path) -> None:
    async with opened(shared / "ledger.db"):
        pass
    allow(0o666, shared / "ledger.db")
    allow(0o755, shared)
    message = said_to_nobody(shared / "ledger.db")
    assert str(shared / "ledger.db") in message
    assert "its folder" in message
    message = said_to_nobody(shared / "other.db")
    assert "its folder's permissions" in message


async def test_file_that_nobody_may_read_is_refused_at_start(shared: Path) -> None:
    async with opened(shared / "ledger.db"):
        pass
    allow(0o600, shared / "ledger.db")
    assert "permissions" in said_to_nobody(shared / "ledger.db")


async def test_read_only_disk_is_refused_at_start(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    async with opened(folder / "ledger.db") as storage:
        await commit_run(storage, 1)
    with read_only_mount(folder):
        for name in ("ledger.db", "other.db"):
            with pytest.raises(StorageError, match="its and its folder's permissions, its disk"):
                SqliteDb(folder / name).open()
    async with opened(folder / "ledger.db") as storage:
        assert await statuses(storage) == ["pending"]


async def test_leftover_index_of_another_user_is_refused_at_start(shared: Path) -> None:
    file = shared / "ledger.db"
    async with opened(file):
        allow(0o777, shared)
        allow(0o666, file, log_of(file))
        message = said_to_nobody(file)
        assert str(file) in message
        assert index_of(file).exists()
