"""The writer: operations that share a transaction, and errors that stay with their own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from hookline import StorageError
from hookline_sql.connections import Connections
from hookline_sql.engine import make_engine, use_write_ahead_log
from hookline_sql.writer import Writer
from sql.other_process import holding_the_lock

BUSY_TIMEOUT = 0.4


class Bench:
    """A writer on a file with one small table."""

    def __init__(self, file: Path, *, busy_timeout: float = 30.0) -> None:
        self.file = file
        self.commits = 0
        self.engine: Engine = make_engine(file, synchronous="NORMAL", busy_timeout=busy_timeout)
        connection = self.engine.connect()
        use_write_ahead_log(connection, file, 5.0)
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY)")
        connection.commit()
        event.listen(self.engine, "commit", self._count)
        self.writer = Writer(Connections(self.engine, file, connection, busy_timeout), str(file), busy_timeout)

    def _count(self, connection: Connection) -> None:
        self.commits += 1

    def add(self, word: str) -> asyncio.Future[str]:
        return self.writer.submit(adding(word))

    def words(self) -> list[str]:
        with closing(sqlite3.connect(self.file)) as connection:
            return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY rowid")]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Somebody else holds the lock, so that operations pile up."""
        with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield


def adding(word: str) -> Callable[[Connection], str]:
    def add(connection: Connection) -> str:
        connection.exec_driver_sql("INSERT INTO words VALUES (?)", (word,))
        return word.upper()

    return add


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "words.db")
    yield made
    await made.writer.close()


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "words.db", busy_timeout=BUSY_TIMEOUT)
    yield made
    await made.writer.close()


async def test_operations_that_wait_share_a_transaction(bench: Bench) -> None:
    with bench.locked():
        waiting = [bench.add(word) for word in ("a", "b", "c", "d")]
    assert await asyncio.gather(*waiting) == ["A", "B", "C", "D"]
    assert bench.words() == ["a", "b", "c", "d"]
    assert bench.commits <= 2, "the first may have begun alone"


async def test_failing_operation_does_not_fail_the_others(bench: Bench) -> None:
    def half_done(connection: Connection) -> None:
        adding("half")(connection)
        adding("a")(connection)

    with bench.locked():
        waiting: list[asyncio.Future[Any]] = [bench.add("a"), bench.writer.submit(half_done), bench.add("b")]
        waiting += [bench.add("\ud800"), bench.add("c")]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [results[n] for n in (0, 2, 4)] == ["A", "B", "C"]
    assert [type(results[n]) for n in (1, 3)] == [StorageError, StorageError]
    assert "UNIQUE" in str(results[1])
    assert "surrogates" in str(results[3])
    assert bench.words() == ["a", "b", "c"]


async def test_mistake_in_an_operation_is_raised_as_it_is(bench: Bench) -> None:
    def mistaken(connection: Connection) -> None:
        raise KeyError("oops")

    with pytest.raises(KeyError, match="oops"):
        await bench.writer.submit(mistaken)
    assert await bench.add("a") == "A"


async def test_transaction_that_sqlite_gave_up_fails_all_its_operations(bench: Bench) -> None:
    def give_up(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")

    with bench.locked():
        waiting: list[asyncio.Future[Any]] = [bench.add("a"), bench.writer.submit(give_up), bench.add("b")]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    told = [result for result in results if isinstance(result, StorageError)]
    assert len(told) == 3 or (len(told) == 2 and results[0] == "A")
    assert all("disk is full" in str(error) for error in told)
    assert bench.words() == (["a"] if results[0] == "A" else [])
    assert await bench.add("c") == "C"


async def test_full_disk_is_said(bench: Bench) -> None:
    def limit(connection: Connection) -> int | None:
        return connection.exec_driver_sql("PRAGMA max_page_count = 5").scalar()

    await bench.writer.submit(limit)
    with pytest.raises(StorageError, match="free space"):
        await bench.add("x" * 100_000)
    assert await bench.add("a") == "A"


async def test_lock_of_another_process_fails_all_who_wait_together(hasty: Bench) -> None:
    async def add(word: str) -> str:
        return await hasty.add(word)

    clock = asyncio.get_running_loop().time
    with holding_the_lock(hasty.file):
        began = clock()
        results = await asyncio.gather(*(add(f"w{n}") for n in range(100)), return_exceptions=True)
        took = clock() - began
    assert {type(result) for result in results} == {StorageError}
    assert "locked by another process" in str(results[0])
    assert BUSY_TIMEOUT <= took < 10 * BUSY_TIMEOUT, "not one after the other"
    assert await hasty.add("a") == "A"
    assert hasty.words() == ["a"]


async def test_operation_that_came_later_waits_its_own_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "words.db", busy_timeout=2.0)  # long beside what a busy machine adds to a wait
    with bench.locked():
        first = bench.add("first")
        await asyncio.sleep(1.0)
        second = bench.add("second")
        with pytest.raises(StorageError):
            await first
    assert await second == "SECOND"
    assert bench.words() == ["second"]
    await bench.writer.close()


async def test_caller_that_stops_waiting_takes_nothing_back(bench: Bench) -> None:
    with bench.locked():
        given_up, waiting = bench.add("a"), bench.add("b")
        given_up.cancel()
    assert await waiting == "B"
    assert bench.words() == ["a", "b"]


async def test_closed_event_loop_does_not_stop_the_writer(bench: Bench) -> None:
    async def ask_and_leave() -> None:
        bench.add("a")

    with bench.locked():
        await asyncio.to_thread(lambda: asyncio.run(ask_and_leave()))
        waiting = bench.add("b")
    assert await waiting == "B"
    assert bench.words() == ["a", "b"]


async def test_callers_are_in_several_event_loops(bench: Bench) -> None:
    results: list[str] = []

    async def ask(name: str) -> None:
        results.extend(await asyncio.gather(*(bench.add(f"{name}{n}") for n in range(20))))

    threads = [threading.Thread(target=lambda name=name: asyncio.run(ask(name))) for name in "abc"]
    for thread in threads:
        thread.start()
    await ask("d")
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert sorted(results) == sorted(word.upper() for word in bench.words())
    assert len(results) == 80


async def test_closing_does_what_waits_and_takes_no_more(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "words.db")
    with bench.locked():
        waiting = [bench.add(f"w{n}") for n in range(200)]
        closed = bench.writer.close()
        with pytest.raises(StorageError, match="is closed"):
            bench.add("late")
    await closed
    assert await asyncio.gather(*waiting) == [f"W{n}" for n in range(200)]
    assert bench.words() == [f"w{n}" for n in range(200)]


async def test_closing_gives_up_what_cannot_be_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "words.db", busy_timeout=BUSY_TIMEOUT)
    with bench.locked():
        waiting = bench.add("a")
        await bench.writer.close()
        with pytest.raises(StorageError, match="locked"):
            await waiting
