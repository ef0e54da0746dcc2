"""Files that are deleted, moved, replaced or emptied under an open ledger: never is something said to be stored that
nobody will find, and what can be mended is."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import time
from collections.abc import Awaitable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from faults import index_of, log_of
from hookline import StorageError
from hookline.runs import RunStatus
from hookline.storage import FinishRun, Storage
from hookline_sql import SqliteDb, connections
from sql.builders import (
    DUE,
    NOW,
    OTHER,
    Server,
    commit_run,
    completed,
    ids_of,
    new_deliveries,
    new_run,
    server_of,
    statuses,
)
from sql.other_process import ended, line_of, start, tell

USE_THE_FILE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("SELECT count(*) FROM hookline_runs").fetchall()
print("open", flush=True)
sys.stdin.readline()
"""
"""Another process that has the database, its log and its index open."""

BE_KILLED = """
import asyncio, os, signal, sqlite3, sys
from contextlib import closing
from hookline.storage import FinishRun
from hookline_sql import SqliteDb, connections
from sql.builders import NOW, commit_run, completed, new_deliveries, new_run

async def main():
    storage = SqliteDb(sys.argv[1]).open()
    run = new_run("kept")
    await storage.accept_run(run, [])
    with closing(sqlite3.connect(sys.argv[1])) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await storage.finish_run(FinishRun(completed(run), True, new_deliveries(2, "kept"), None, NOW))
    await commit_run(storage, 2, "lost")
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
"""A process that is killed while only the log knows of its last two commits."""


async def refusal(storage: Storage) -> str:
    """What every use of the ledger is told."""
    operations: list[Awaitable[object]] = [
        storage.check(),
        storage.beat(server_of()),
        storage.accept_run(new_run("refused"), []),
        storage.get_run("run-1"),
    ]
    messages = set()
    for operation in operations:
        with pytest.raises(StorageError) as caught:
            await operation
        messages.add(str(caught.value))
    [message] = messages
    assert "\n" not in message
    return message


def rows_of(file: Path) -> list[str]:
    """The runs that somebody else finds in the file."""
    with closing(sqlite3.connect(file)) as connection:
        return [run_id for (run_id,) in connection.execute("SELECT run_id FROM hookline_runs ORDER BY seq")]


# the database itself


async def test_deleted_file_is_noticed_at_once(database: SqliteDb, storage: Storage) -> None:
    await commit_run(storage, 1)
    database.file.unlink()
    message = await refusal(storage)
    assert str(database.file) in message
    assert "was deleted or moved away" in message
    assert "put that file back, or restart" in message
    assert not database.file.exists(), "no empty ledger takes its place while this one is open"


async def test_missing_file_is_made_anew_when_opened_again(database: SqliteDb) -> None:
    storage = database.open()
    await commit_run(storage, 1)
    database.file.unlink()
    await refusal(storage)
    await storage.close()
    again = database.open()
    assert await again.get_run("run-1") is None
    await commit_run(again, 1, "run-2")
    await again.close()
    assert rows_of(database.file) == ["run-2"]


async def test_file_that_is_moved_back_is_used_again(database: SqliteDb, storage: Storage) -> None:
    await commit_run(storage, 1)
    away = database.file.rename(database.file.with_name("away.db"))
    await refusal(storage)
    away.rename(database.file)
    await storage.check()
    await commit_run(storage, 1, "run-2")
    assert await storage.get_run("refused") is None
    assert rows_of(database.file) == ["run-1", "run-2"]


async def test_renamed_folder_is_noticed_and_used_again(tmp_path: Path) -> None:
    database = SqliteDb(tmp_path / "folder" / "ledger.db")
    storage = database.open()
    away = database.file.parent.rename(tmp_path / "away")
    assert "was deleted or moved away" in await refusal(storage)
    away.rename(database.file.parent)
    await commit_run(storage, 1)
    await storage.close()
    assert rows_of(database.file) == ["run-1"]


async def test_replaced_file_is_not_written_to(database: SqliteDb, storage: Storage) -> None:
    await commit_run(storage, 1)
    with closing(sqlite3.connect(database.file)) as connection:
        connection.execute("VACUUM INTO ?", (str(database.file.with_name("backup.db")),))
    await commit_run(storage, 1, "run-2")
    database.file.with_name("backup.db").rename(database.file)
    assert "was replaced by another file" in await refusal(storage)
    assert "restart" in await refusal(storage)


async def test_replacement_is_used_after_reopening(database: SqliteDb, tmp_path: Path) -> None:
    storage = database.open()
    await commit_run(storage, 1)
    with closing(sqlite3.connect(database.file)) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "backup.db"),))
    await commit_run(storage, 1, "run-2")
    (tmp_path / "backup.db").rename(database.file)
    await refusal(storage)
    await storage.close()
    again = database.open()
    assert await again.get_run("run-1") is not None
    assert await again.get_run("run-2") is None, "the old file's log is not applied to the new one"
    await again.close()


async def test_emptied_file_is_damaged_for_good(database: SqliteDb, storage: Storage) -> None:
    await commit_run(storage, 1)
    copy = shutil.copy(database.file, database.file.with_name("copy.db"))
    with database.file.open("wb"):
        pass
    assert "was emptied" in await refusal(storage)
    shutil.copy(copy, database.file)
    assert "was emptied" in await refusal(storage), "SQLite's caches may be older than what is there now"


async def test_loss_between_two_commits_of_a_run_fails_the_second(database: SqliteDb, storage: Storage) -> None:
    run = new_run()
    await storage.accept_run(run, [])
    away = database.file.rename(database.file.with_name("away.db"))
    finish = FinishRun(completed(run), True, new_deliveries(2), None, NOW)
    with pytest.raises(StorageError, match="deleted or moved away"):
        await storage.finish_run(finish)
    with pytest.raises(StorageError, match="deleted or moved away"):
        await storage.finish_run(finish)
    away.rename(database.file)
    failed = replace(completed(run), status=RunStatus.FAILED, reason="not_stored")
    await storage.finish_run(FinishRun(failed, True, [], None, NOW))  # as the engine does, which cannot know
    found = await storage.get_run("run-1")
    assert found is not None
    assert found.status in ("completed", "failed")
    expected = ["pending", "waiting"] if found.status == "completed" else []
    assert await statuses(storage) == expected, "all of the run or nothing"


@pytest.mark.parametrize("ending", ["closed", "killed"])
async def test_log_of_a_replaced_file_is_not_applied_to_the_other(database: SqliteDb, ending: str) -> None:
    storage = database.open()
    await commit_run(storage, 1)
    backup, old = database.file.with_name("backup.db"), database.file.with_name("old.db")
    with closing(sqlite3.connect(database.file)) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))
    await commit_run(storage, 1, "run-2")
    database.file.rename(old)
    backup.rename(database.file)
    if ending == "closed":
        await storage.close()
        assert rows_of(database.file) == ["run-1"]
    else:
        await refusal(storage)
        folder = database.file.with_name("as-if-killed")
        shutil.copytree(database.file.parent, folder)
        assert rows_of(folder / database.file.name) == ["run-1"]
        await storage.close()
    assert rows_of(old) == ["run-1", "run-2"], "the old one is complete without its log"


# the log


async def test_nothing_is_lost_with_a_removed_log(database: SqliteDb, storage: Storage) -> None:
    await commit_run(storage, 2)
    assert await statuses(storage) == ["pending", "waiting"]  # a reader is open
    log_of(database.file).unlink()
    await commit_run(storage, 2, "run-2")
    await storage.check()
    assert log_of(database.file).exists()
    assert rows_of(database.file) == ["run-1", "run-2"]
    for run_id in ("run-1", "run-2"):
        assert await statuses(storage, run_id) == ["pending", "waiting"]
    assert ids_of(await Server(storage).scan()) == ["run-1:0", "run-2:0"]


async def test_log_is_saved_before_the_commit_is_answered(database: SqliteDb, storage: Storage) -> None:
    await commit_run(storage, 1)
    log_of(database.file).unlink()
    await commit_run(storage, 1, "run-2")
    copy = Path(shutil.copy(database.file, database.file.with_name("copy.db")))
    assert rows_of(copy) == ["run-1", "run-2"], "as if the process had been killed now"


async def test_reads_without_the_log_are_right_or_refused(database: SqliteDb, storage: Storage) -> None:
    await commit_run(storage, 1)
    assert await storage.get_run("run-1") is not None
    log_of(database.file).unlink()
    results = await asyncio.gather(*(storage.get_run("run-1") for _ in range(20)), return_exceptions=True)
    assert None not in results
    assert not log_of(database.file).exists(), "a reader makes no log"
    await storage.check()
    await storage.check()
    assert await storage.get_run("run-1") is not None


async def test_removed_log_and_index_are_made_again(
    database: SqliteDb, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    await commit_run(storage, 1)
    log_of(database.file).unlink()
    index_of(database.file).unlink()
    with caplog.at_level(logging.WARNING, logger="hookline.sql"):
        for number in range(2, 10):
            await commit_run(storage, 1, f"run-{number}")
    await storage.check()
    assert rows_of(database.file) == [f"run-{number}" for number in range(1, 10)]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "nothing was lost" in caplog.text


async def test_database_is_not_opened_again_beside_another_process(database: SqliteDb, storage: Storage) -> None:
    await commit_run(storage, 1)
    with ended(start(USE_THE_FILE, str(database.file))) as other:
        assert line_of(other) == "open"
        log_of(database.file).unlink()
        index_of(database.file).unlink()
        await commit_run(storage, 1, "run-2")  # saved in the database, both have the same log open
        with pytest.raises(StorageError, match="another process uses the database too: restart that one"):
            await commit_run(storage, 1, "run-3")
        with pytest.raises(StorageError, match="another process"):
            await storage.check()
        assert not log_of(database.file).exists(), "a second log beside the first would garble the database"
        tell(other)
        other.wait(10)
        await storage.check()
    await commit_run(storage, 1, "run-4")
    assert rows_of(database.file) == ["run-1", "run-2", "run-4"]
    with closing(sqlite3.connect(database.file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_all_ledgers_of_a_file_get_over_a_removed_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "OTHERS_SECONDS", 0.5)
    ledgers = [SqliteDb(tmp_path / "a.db", table_prefix=prefix).open() for prefix in ("a_", "b_")]
    for ledger in ledgers:
        await commit_run(ledger, 1)
    log_of(tmp_path / "a.db").unlink()
    index_of(tmp_path / "a.db").unlink()
    number = 1
    ends_at = time.monotonic() + 20
    good = [0, 0]
    while min(good) < 3:
        assert time.monotonic() < ends_at
        number += 1
        for which, ledger in enumerate(ledgers):
            try:
                await commit_run(ledger, 1, f"run-{number}")
                good[which] += 1
            except StorageError as error:
                assert "another process uses the database too" in str(error)  # noqa: PT017 - or it works
        await asyncio.sleep(0.02)
    for ledger in ledgers:
        for run_id in ("run-1", f"run-{number}"):
            assert await statuses(ledger, run_id) == ["pending"]
        await ledger.close()
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_closing_saves_what_a_removed_log_held(database: SqliteDb) -> None:
    storage = database.open()
    await commit_run(storage, 1)
    log_of(database.file).unlink()
    await storage.close()
    assert rows_of(database.file) == ["run-1"]


async def test_foreign_log_is_not_written_over(database: SqliteDb, storage: Storage) -> None:
    await commit_run(storage, 1)
    log = log_of(database.file)
    log.unlink()
    log.write_bytes(b"somebody else's" * 500)
    with pytest.raises(StorageError, match="was replaced by another file"):
        await commit_run(storage, 1, "run-2")
    assert log.read_bytes().startswith(b"somebody else's")
    log.unlink()
    await storage.check()
    await commit_run(storage, 1, "run-3")


async def test_log_removed_while_nobody_is_there_costs_what_it_held(database: SqliteDb) -> None:
    with ended(start(BE_KILLED, str(database.file))) as process:
        assert process.wait(30) == -9
    log_of(database.file).unlink()
    index_of(database.file).unlink()

    storage = database.open()
    await storage.check()
    assert await storage.get_run("lost") is None
    kept = await storage.get_run("kept")
    assert kept is not None
    assert kept.status == "running", "for the sweep: its server is gone"
    assert await storage.run_deliveries("kept") == []
    assert [run.run_id for run in await storage.list_orphans([OTHER])] == ["kept"]
    assert await Server(storage).scan(now=DUE) == []
    await commit_run(storage, 1, "run-2", now=NOW + 60)
    await storage.close()


async def test_log_without_its_database_is_told_of(database: SqliteDb, caplog: pytest.LogCaptureFixture) -> None:
    log_of(database.file).write_bytes(b"\0" * 100)
    with caplog.at_level(logging.WARNING, logger="hookline.sql"):
        storage = database.open()
    await storage.close()
    assert f"{database.file} is not there, though its log" in caplog.text


def test_check_makes_no_file(tmp_path: Path) -> None:
    database = SqliteDb(tmp_path / "ledger.db", migrate="check")
    with pytest.raises(StorageError, match="does not exist"):
        database.open()
    assert not database.file.exists()
