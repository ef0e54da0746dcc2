"""A database with garbage in it: said once and for all, with the mend; nothing that it holds is taken for true."""

from __future__ import annotations

import asyncio
import shutil
import threading

import pytest

from faults import garble_page, garble_table
from hookline import StorageError
from hookline.storage import Storage
from hookline_sql import SqliteDb
from sql.builders import NOW, commit_run, lock_of, new_run, server_of, statuses

TOLD = "is damaged: stop the server, restore the file from a backup"


async def garbled(database: SqliteDb, table: str) -> Storage:
    """A ledger with a run, opened after garbage was written into one of its tables."""
    storage = database.open()
    for number in range(1, 4):
        await commit_run(storage, 2, f"run-{number}")
    await storage.close()
    shutil.copy(database.file, database.file.with_name("backup.db"))
    garble_table(database.file, table)
    return database.open()


async def assert_refuses_all(storage: Storage) -> None:
    for operation in (
        storage.check(),
        storage.beat(server_of()),
        storage.accept_run(new_run("refused"), []),
        storage.get_run("run-1"),
        storage.list_servers(),
    ):
        with pytest.raises(StorageError, match=TOLD):
            await operation


async def test_damage_found_by_a_write_refuses_all_that_follows(
    database: SqliteDb, caplog: pytest.LogCaptureFixture
) -> None:
    storage = await garbled(database, "hookline_runs")
    await storage.check()  # that page is not looked at
    with pytest.raises(StorageError, match=TOLD) as caught:
        await storage.accept_run(new_run("refused"), [])
    assert str(database.file) in str(caught.value)
    assert "hookline doctor" in str(caught.value)
    await assert_refuses_all(storage)
    assert [record.levelname for record in caplog.records if record.name == "hookline.sql"] == ["CRITICAL"]
    await storage.close()


async def test_damage_found_by_a_read_refuses_all_that_follows(database: SqliteDb) -> None:
    storage = await garbled(database, "hookline_deliveries")
    with pytest.raises(StorageError, match=TOLD):
        await storage.run_deliveries("run-1")
    await assert_refuses_all(storage)
    await storage.close()


async def test_everybody_who_waits_is_told_of_damage_and_the_threads_live(database: SqliteDb) -> None:
    storage = await garbled(database, "sqlite_autoindex_hookline_sessions_1")
    before = threading.active_count()
    beats = [storage.beat(server_of(f"server-{n}")) for n in range(20)]
    locks = [storage.lock_session(lock_of(f"new-{n}", session_id=f"s-{n}")) for n in range(20)]
    results = await asyncio.wait_for(asyncio.gather(*beats, *locks, return_exceptions=True), 20)
    assert {type(result) for result in results[20:]} == {StorageError}
    await assert_refuses_all(storage)
    assert threading.active_count() == before
    await storage.close()


async def test_restored_backup_is_used_after_reopening(database: SqliteDb) -> None:
    storage = await garbled(database, "hookline_runs")
    with pytest.raises(StorageError, match=TOLD):
        await storage.accept_run(new_run("refused"), [])
    await storage.close()
    shutil.copy(database.file.with_name("backup.db"), database.file)
    again = database.open()
    assert await again.get_run("refused") is None
    assert await statuses(again) == ["pending", "waiting"]
    await commit_run(again, 1, "run-9")
    await again.close()


async def test_header_overwritten_while_the_ledger_is_open(database: SqliteDb) -> None:
    storage = database.open()
    await commit_run(storage, 1)
    garble_page(database.file, 1)
    stored: list[str] = []
    for number in range(50):  # as long as SQLite goes on with its own copy of the page
        try:
            await commit_run(storage, 1, f"late-{number}", now=NOW + number)
            stored.append(f"late-{number}")
        except StorageError:
            break
    for run_id in stored:
        try:
            assert await storage.get_run(run_id) is not None
        except StorageError as error:
            assert str(database.file) in str(error)  # noqa: PT017 - either answer is right
    await storage.close()
