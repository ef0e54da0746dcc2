"""Pressure: too much that waits turns new runs away, and threads that never end are bounded."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from core_support import DEADLINE, agent, drained, eventually, finished, only_delivery, serving, start
from hookline import LiveRun, RunStatus, ServerBusyError, StorageError, guardrail, hook
from hookline.execution import pressure
from hookline.execution.lines import MOST_PREPARED, Line, Prepared
from hookline.execution.pressure import Pressure
from hookline.runs import RunStatus as Status
from hookline.storage import RESERVE_SECONDS, RunRecord
from hookline_sql import SqliteDb


class Backlog:
    """A ledger that can only count."""

    def __init__(self, undone: int = 0) -> None:
        self.undone = undone
        self.broken = False
        self.during: list[int] = []
        self.pressure: Pressure | None = None

    async def backlog(self, limit: int) -> int:
        await asyncio.sleep(0)
        if self.broken:
            raise StorageError("away")
        if self.pressure is not None:
            for deliveries in self.during:
                self.pressure.add(deliveries)
        return min(self.undone, limit)


async def test_what_is_committed_counts_at_once_and_the_ledger_has_the_last_word() -> None:
    backlog = Backlog(3)
    counted = Pressure(backlog, 10)
    assert not counted.is_full
    await counted.count()
    counted.add(6)
    assert (counted.undone, counted.is_full) == (9, False)
    counted.add(1)
    assert (counted.undone, counted.is_full) == (10, True)
    counted.add(-2)
    assert not counted.is_full
    backlog.undone = 4
    await counted.count()
    assert (counted.undone, counted.is_full) == (4, False)


async def test_beyond_the_limit_only_the_ledger_knows_how_much_there_is() -> None:
    counted = Pressure(Backlog(1000), 10)
    await counted.count()
    counted.add(-5)
    assert counted.is_full


async def test_what_is_committed_while_the_ledger_counts_is_not_lost() -> None:
    backlog = Backlog(3)
    backlog.pressure = counted = Pressure(backlog, 10)
    backlog.during = [4]
    await counted.count()
    assert counted.undone == 7


async def test_a_ledger_that_cannot_count_leaves_the_last_count(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pressure, "COUNT_SECONDS", 0.001)
    backlog = Backlog(10)
    counted = Pressure(backlog, 10)
    counted.start()
    await eventually(lambda: counted.is_full)
    backlog.broken = True
    await eventually(lambda: "cannot be counted" in caplog.text)
    await asyncio.sleep(0.02)
    assert counted.is_full
    assert caplog.text.count("cannot be counted") == 1
    backlog.broken, backlog.undone = False, 0
    await eventually(lambda: not counted.is_full)
    await counted.stop()


async def test_too_many_waiting_deliveries_turn_new_runs_away(db: SqliteDb) -> None:
    go = asyncio.Event()

    @hook(run_in_background=True)
    async def waits() -> None:
        await go.wait()

    served = agent(post_hooks=[waits])
    async with serving(served, db=db, settings={"max_waiting_deliveries": 5}) as agent_os:
        runs: list[LiveRun] = []
        while len(runs) < 5:
            await eventually(lambda: agent_os.details()["deliveries"]["undone"] == len(runs))
            runs.append(await start(agent_os, served))
        await eventually(lambda: agent_os.details()["deliveries"] == {"running": 5, "undone": 5, "max_waiting": 5})
        with pytest.raises(ServerBusyError, match=r"5 deliveries .* \(max_waiting_deliveries\)") as refused:
            agent_os.start_run(served, "hi")
        assert refused.value.retry_after == pressure.RETRY_SECONDS
        details = agent_os.details()
        assert details["notes"] == ["5 deliveries are not done (max_waiting_deliveries): new runs are turned away"]
        go.set()
        await drained(agent_os)
        run = await start(agent_os, served)
        assert run.output.status is RunStatus.COMPLETED
        assert len(runs) == 5


async def test_what_waited_before_the_start_counts(db: SqliteDb) -> None:
    @hook(run_in_background=True, name="late")
    async def late() -> None:
        raise LookupError("later")

    served = agent(post_hooks=[late])
    hooks = {"a/post/late": {"backoff": 0.0, "circuit_threshold": 1, "circuit_cooldown": 3600}}
    async with serving(served, db=db, settings={"hooks": hooks}) as agent_os:
        for _ in range(3):
            await start(agent_os, served)
        await drained(agent_os)
    async with serving(served, db=db, settings={"max_waiting_deliveries": 3, "hooks": hooks}) as agent_os:
        with pytest.raises(ServerBusyError):
            agent_os.start_run(served, "hi")


# lines in memory


def line(run_id: str, *, size: int = 10, reserved_from: float = 0.0) -> Line:
    record = RunRecord(run_id, "s", None, "agent", "a", "me", 0.0, Status.COMPLETED, document="x" * size)
    return Line(record, [], reserved_from)


def test_only_so_many_lines_are_kept_until_they_are_let_go() -> None:
    kept = Prepared()
    for number in range(MOST_PREPARED + 5):
        kept.put(line(str(number)))
    assert kept.take(str(MOST_PREPARED)) is None
    first = kept.take("0")
    assert first is not None
    kept.put(line("too many still"))
    assert kept.take("too many still") is None
    kept.let_go(first)
    kept.put(line("fits"))
    assert kept.take("fits") is not None


def test_only_so_much_text_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookline.execution.lines.MOST_PREPARED_SIZE", 100)
    kept = Prepared()
    kept.put(line("one", size=60))
    kept.put(line("two", size=60))
    assert kept.take("two") is None
    kept.drop(RESERVE_SECONDS)
    assert not kept
    kept.put(line("two", size=60))
    assert kept.take("two") is not None


# threads


@contextmanager
def released() -> Iterator[threading.Event]:
    """An event that is set in the end, so that no thread stays behind."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


async def test_past_the_bound_sync_deliveries_wait_and_others_do_not(
    db: SqliteDb, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    with released() as event:

        @hook(run_in_background=True, name="stuck", timeout=0.05, retries=0)
        def stuck() -> None:
            event.wait()

        @hook(run_in_background=True, name="sync")
        def sync() -> None:
            seen.append("sync")

        @hook(run_in_background=True, name="async")
        async def not_sync() -> None:
            seen.append("async")

        first = agent(post_hooks=[stuck])
        served = agent(id="b", post_hooks=[sync, not_sync])
        async with serving(first, served, db=db, settings={"max_abandoned_threads": 2}) as agent_os:
            for _ in range(2):
                await start(agent_os, first)
            await drained(agent_os)
            assert agent_os.abandoned == 2
            run = await start(agent_os, served)
            await eventually(lambda: seen == ["async"])
            await drained(agent_os)
            found = await agent_os.storage.run_deliveries(run.run_id)
            assert [row.delivery.status for row in found] == ["pending", "delivered"]
            details = agent_os.details()
            assert details["abandoned"]["deliveries"] == 2
            assert [each["hook"] for each in details["hooks"]] == ["stuck", "sync"]
            (note,) = details["notes"]
            assert "2 sync calls never ended" in note
            assert "max_abandoned_threads" in note
            assert caplog.text.count("2 sync calls never ended") == 1
            event.set()
            await eventually(lambda: seen == ["async", "sync"])
            await drained(agent_os)
            assert agent_os.details()["notes"] == []
            assert (await agent_os.storage.run_deliveries(run.run_id))[0].delivery.attempt_count == 1


async def test_a_guardrail_that_finds_no_thread_fails_closed_and_says_why(
    db: SqliteDb, caplog: pytest.LogCaptureFixture
) -> None:
    with released() as event:

        @hook(name="stuck", timeout=0.05)
        def stuck() -> None:
            event.wait()

        @guardrail(name="guard", timeout=0.05)
        def guard() -> None:
            """Would let everything through."""

        first, served = agent(post_hooks=[stuck]), agent(id="b", pre_hooks=[guard])
        async with serving(first, served, db=db, settings={"max_abandoned_threads": 1}) as agent_os:
            assert (await finished(agent_os.start_run(first, "hi"))).status is RunStatus.COMPLETED
            output = await finished(agent_os.start_run(served, "hi"))
            assert (output.status, output.reason) == ("failed", "guardrail_failed")
            assert "'guard' found no thread within 0.05 s: 1 sync calls never ended" in caplog.text
            event.set()
            await eventually(lambda: agent_os.abandoned == 0)
            assert (await finished(agent_os.start_run(served, "hi"))).status is RunStatus.COMPLETED


async def test_busy_threads_are_named_too(db: SqliteDb, caplog: pytest.LogCaptureFixture) -> None:
    with released() as event:
        begun = threading.Event()

        @hook(name="busy")
        def busy() -> None:
            begun.set()
            event.wait()

        @hook(name="late", timeout=0.05)
        def late() -> None: ...

        first, served = agent(pre_hooks=[busy]), agent(id="b", pre_hooks=[late])
        async with serving(first, served, db=db, settings={"hook_threads": 1}) as agent_os:
            run = agent_os.start_run(first, "hi")
            await eventually(begun.is_set)
            assert (await finished(agent_os.start_run(served, "hi"))).status is RunStatus.COMPLETED
            event.set()
            await asyncio.wait_for(run.finished(), DEADLINE)
    assert "'late' found no thread within 0.05 s: all 1 threads were busy" in caplog.text


async def test_abandoned_calls_do_not_grow_past_the_bound(db: SqliteDb) -> None:
    logging.getLogger("hookline.deliveries").setLevel(logging.CRITICAL)
    before = threading.active_count()
    try:
        with released() as event:

            @hook(run_in_background=True, timeout=0.02, retries=0, circuit_threshold=0)
            def stuck() -> None:
                event.wait()

            served = agent(post_hooks=[stuck])
            limits = {"max_abandoned_threads": 3, "delivery_threads": 2, "delivery_concurrency": 2}
            async with serving(served, db=db, settings=limits) as agent_os:
                runs = [await start(agent_os, served) for _ in range(20)]
                await eventually(lambda: agent_os.abandoned >= 3)
                await drained(agent_os)
                assert agent_os.abandoned <= 3 + 1, "one more may have been under way"
                assert threading.active_count() - before < 20
                assert (await only_delivery(agent_os, runs[-1].run_id)).delivery.status == "pending"
                event.set()
                await eventually(lambda: agent_os.abandoned == 0)
                await drained(agent_os)
    finally:
        logging.getLogger("hookline.deliveries").setLevel(logging.NOTSET)
