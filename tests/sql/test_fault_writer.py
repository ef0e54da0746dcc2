"""The threads of a ledger survive whatever an operation, SQLite, the disk or a fork does to them."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection

from faults import files_cannot_grow, log_of
from hookline import StorageError
from hookline.storage import Storage
from hookline_sql import SqliteDb
from hookline_sql.connections import Connections
from hookline_sql.engine import make_engine, use_write_ahead_log
from hookline_sql.readers import READERS, Readers
from hookline_sql.writer import MOST_AT_ONCE, Writer
from sql.builders import commit_run, statuses
from sql.other_process import ended, line_of, start


def small_ledger(file: Path, *, busy_timeout: float = 30.0) -> tuple[Writer, Readers]:
    """A writer and readers on a file with one small table."""
    engine = make_engine(file, synchronous="NORMAL", busy_timeout=busy_timeout)
    connection = engine.connect()
    use_write_ahead_log(connection, file, 5.0)
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY)")
    connection.commit()
    connections = Connections(engine, file, connection, busy_timeout)
    return Writer(connections, str(file), busy_timeout), Readers(connections, str(file))


async def closed(writer: Writer, readers: Readers) -> None:
    await readers.close()
    await writer.close()


def adding(word: str) -> Callable[[Connection], str]:
    def add(connection: Connection) -> str:
        connection.exec_driver_sql("INSERT INTO words VALUES (?)", (word,))
        return word

    return add


def words(connection: Connection) -> list[str]:
    return [word for (word,) in connection.exec_driver_sql("SELECT word FROM words ORDER BY rowid")]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration(1)])
@pytest.mark.parametrize("together", [False, True])
async def test_operation_that_ends_like_a_program_fails_alone(
    tmp_path: Path, error: BaseException, together: bool
) -> None:
    writer, readers = small_ledger(tmp_path / "words.db")

    def end(connection: Connection) -> None:
        adding("half")(connection)
        raise error

    waiting: list[asyncio.Future[str]] = []
    with closing(sqlite3.connect(tmp_path / "words.db", isolation_level=None)) as other:
        if together:
            other.execute("BEGIN IMMEDIATE")
        waiting.append(writer.submit(adding("a")))
        failing = writer.submit(end)
        waiting.append(writer.submit(adding("b")))
    with pytest.raises(StorageError, match=f"ended with {type(error).__name__}"):
        await asyncio.wait_for(failing, 20)
    assert await asyncio.gather(*waiting) == ["a", "b"]
    for _ in range(2 * READERS):
        with pytest.raises(StorageError, match=f"ended with {type(error).__name__}"):
            await asyncio.wait_for(readers.submit(end), 20)
    assert await readers.submit(words) == ["a", "b"]
    await closed(writer, readers)


async def test_commit_that_fails_stores_nothing_and_is_said_to_all(tmp_path: Path) -> None:
    file = tmp_path / "words.db"
    writer, readers = small_ledger(file)
    await writer.submit(adding("a"))
    with files_cannot_grow(log_of(file).stat().st_size):
        waiting = [writer.submit(adding(f"refused {n}")) for n in range(2 * MOST_AT_ONCE)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} == {StorageError}
        assert len({id(result) for result in results}) == len(results), "each has a traceback of its own"
        assert await readers.submit(words) == ["a"]
    assert await writer.submit(adding("b")) == "b"
    assert await readers.submit(words) == ["a", "b"]
    await closed(writer, readers)


async def test_transaction_that_an_operation_ended_is_told_as_failed(tmp_path: Path) -> None:
    writer, readers = small_ledger(tmp_path / "words.db")

    def commit_and_fail(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await writer.submit(commit_and_fail)
    assert await writer.submit(adding("a")) == "a"
    await closed(writer, readers)


async def test_connection_that_is_broken_is_replaced(tmp_path: Path) -> None:
    writer, readers = small_ledger(tmp_path / "words.db")
    await writer.submit(adding("a"))

    def close_the_driver(connection: Connection) -> None:
        driver_connection = connection.connection.driver_connection
        assert driver_connection is not None
        driver_connection.close()
        raise SystemExit

    for submit in (writer.submit, *[readers.submit] * READERS):
        with pytest.raises(StorageError):
            await submit(close_the_driver)
    assert await writer.submit(adding("b")) == "b"
    for _ in range(2 * READERS):
        assert await readers.submit(words) == ["a", "b"]
    await closed(writer, readers)


async def test_ten_thousand_who_wait_are_served_in_order_some_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "words.db"
    writer, readers = small_ledger(file)
    in_this: list[int] = [0]
    sizes: list[int] = []

    def count(word: str) -> Callable[[Connection], str]:
        def add(connection: Connection) -> str:
            total = connection.exec_driver_sql("SELECT total_changes()").scalar()
            assert isinstance(total, int)
            with closing(sqlite3.connect(file)) as other:
                [(committed,)] = other.execute("SELECT count(*) FROM words")
            in_this[0] = total - committed
            sizes.append(in_this[0])
            return adding(word)(connection)

        return add

    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = [writer.submit(count(str(n)) if n % 50 == 0 else adding(str(n))) for n in range(10_000)]
    assert await asyncio.gather(*waiting) == [str(n) for n in range(10_000)]
    assert await readers.submit(words) == [str(n) for n in range(10_000)]
    assert max(sizes) < MOST_AT_ONCE
    await closed(writer, readers)


async def test_closing_while_others_submit_answers_everybody(tmp_path: Path) -> None:
    writer, readers = small_ledger(tmp_path / "words.db")
    waiting: list[asyncio.Future[str]] = []
    refused: list[int] = []
    begun = threading.Event()

    def submit_for_ever(loop: asyncio.AbstractEventLoop) -> None:
        async def submit() -> None:
            for number in range(3000):
                try:
                    waiting.append(asyncio.ensure_future(writer.submit(adding(str(number)))))
                except StorageError:
                    refused.append(number)
                    return
                begun.set()
                await asyncio.sleep(0)

        loop.run_until_complete(submit())
        done = loop.run_until_complete(asyncio.gather(*waiting))
        assert done == [str(number) for number in range(len(waiting))]
        loop.close()

    thread = asyncio.create_task(asyncio.to_thread(submit_for_ever, asyncio.new_event_loop()))
    await asyncio.to_thread(begun.wait, 20)
    await closed(writer, readers)
    await asyncio.wait_for(thread, 20)
    with closing(sqlite3.connect(tmp_path / "words.db")) as connection:
        assert connection.execute("SELECT count(*) FROM words").fetchone() == (len(waiting),)


async def test_closing_twice_is_answered_twice(tmp_path: Path) -> None:
    writer, readers = small_ledger(tmp_path / "words.db")
    await asyncio.wait_for(asyncio.gather(readers.close(), readers.close()), 10)
    await asyncio.wait_for(asyncio.gather(writer.close(), writer.close()), 10)
    await asyncio.wait_for(writer.close(), 10)


def test_process_that_exits_with_work_waiting_ends_at_once(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from hookline_sql import SqliteDb
from sql.builders import commit_run, new_run

async def main():
    storage = SqliteDb(sys.argv[1]).open()
    await commit_run(storage, 2)
    for number in range(500):
        asyncio.ensure_future(commit_run(storage, 2, f"later-{number}"))
    await asyncio.sleep(0)

asyncio.run(main())
print("end", flush=True)
"""
    with ended(start(code, str(tmp_path / "ledger.db"))) as process:
        assert line_of(process) == "end"
        assert process.wait(20) == 0
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        lines = connection.execute("SELECT count(*) FROM hookline_deliveries GROUP BY run_id").fetchall()
    assert set(lines) == {(2,)}, "whole runs only"


# a fork


def in_a_fork(call: Callable[[], str]) -> str:
    """What a call returns in a process that is forked from this one."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, call().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


async def test_ledger_is_refused_in_a_forked_process(database: SqliteDb, storage: Storage) -> None:
    await commit_run(storage, 2)
    same_file = SqliteDb(database.file, synchronous="FULL")

    def use_it() -> str:
        async def use() -> str:
            said = []
            for call in (storage.check, storage.list_servers):
                try:
                    await call()
                except StorageError as error:
                    said.append(str(error))
            for description in (database, same_file):
                try:
                    description.open()
                except StorageError as error:
                    said.append(str(error))
            await storage.close()
            return "\n".join(said)

        return asyncio.run(use())

    said = (await asyncio.to_thread(in_a_fork, use_it)).splitlines()
    assert len(said) == 4
    assert set(said) == {said[0]}
    assert str(database.file) in said[0]
    assert "spawn" in said[0]
    assert await statuses(storage) == ["pending", "waiting"]
    await commit_run(storage, 1, "run-2")


async def test_forked_process_opens_a_ledger_that_was_not_open(database: SqliteDb, tmp_path: Path) -> None:
    storage = database.open()

    def use_another() -> str:
        async def use() -> str:
            other = SqliteDb(tmp_path / "other.db").open()
            await commit_run(other, 1)
            await other.close()
            return "stored"

        return asyncio.run(use())

    assert await asyncio.to_thread(in_a_fork, use_another) == "stored"
    await storage.close()


async def test_end_of_a_forked_process_takes_nothing_from_its_parent(database: SqliteDb) -> None:
    code = """
import asyncio, os, sys, threading
from hookline_sql import SqliteDb
from sql.builders import commit_run

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()

def run(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)

storage = SqliteDb(sys.argv[1]).open()
run(commit_run(storage, 1, "before"))
if os.fork() == 0:
    sys.exit()
os.wait()
run(commit_run(storage, 1, "after"))
print(*(run_id for run_id in ("before", "after") if run(storage.get_run(run_id))), flush=True)
os._exit(0)  # the log stays
"""
    with ended(start(code, str(database.file))) as process:
        assert line_of(process) == "before after"
        assert process.wait(20) == 0
    assert log_of(database.file).exists()
    storage = database.open()
    assert await statuses(storage, "after") == ["pending"]
    await storage.close()
