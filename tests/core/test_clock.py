"""The clock: what is due moves with it at once, and nothing breaks when somebody sets it."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from core_support import (
    agent,
    complete,
    deliveries_of,
    delivery_with,
    drained,
    eventually,
    finished,
    only_delivery,
    serving,
    start,
    stored_run,
)
from hookline import AgentOS, Delivery, RunStatus, hook
from hookline.clock import MovedClock, SystemClock
from hookline.execution import heartbeat, sweeper
from hookline.execution.heartbeat import Watch, this_server
from hookline.storage import SILENT_SECONDS, Exchange, NewDelivery, RunRecord, SessionLock
from hookline.testing import ManualClock
from hookline_sql import SqliteDb

HOUR = 3600.0
DAY = 24 * HOUR


def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    assert abs(clock.time() - time.time()) < 1
    assert abs(clock.monotonic() - time.monotonic()) < 1
    clock.subscribe(lambda: None)()


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock, told = ManualClock(1000.0), list[float]()
    unsubscribe = clock.subscribe(lambda: told.append(clock.time()))
    assert (clock.time(), clock.monotonic()) == (1000.0, 0.0)
    clock.advance(5)
    assert (clock.time(), clock.monotonic()) == (1005.0, 5.0)
    clock.set_to(900)
    assert (clock.time(), clock.monotonic()) == (900.0, 5.0)
    unsubscribe()
    unsubscribe()
    clock.advance(0)
    assert told == [1005.0, 900.0]


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_time_is_not_advanced_backwards(seconds: float) -> None:
    with pytest.raises(ValueError, match="set_to"):
        ManualClock().advance(seconds)


def test_a_manual_clock_begins_now() -> None:
    assert abs(ManualClock().time() - time.time()) < 1


async def test_a_task_is_woken_from_any_thread() -> None:
    clock = ManualClock()
    moved = MovedClock(clock)
    assert not await moved.wait(0.001)
    thread = threading.Thread(target=clock.advance, args=(1,))
    thread.start()
    assert await moved.wait(10)
    thread.join()
    assert not await moved.wait(0.001)
    moved.unsubscribe()


def test_a_clock_may_be_moved_after_the_loop_was_closed() -> None:
    clock = ManualClock()

    async def look() -> None:
        MovedClock(clock)

    asyncio.run(look())
    clock.advance(1)


# what moves


async def test_backoff_and_every_instant_that_is_written_down_go_by_it(db: SqliteDb) -> None:
    clock = ManualClock(1_000_000.0)
    seen: list[int] = []

    @hook(run_in_background=True)
    async def flaky(delivery: Delivery) -> None:
        seen.append(delivery.attempt)
        if delivery.attempt < 3:
            raise LookupError("again")

    @hook
    def inline() -> None: ...

    served = agent(post_hooks=[inline, flaky])
    async with serving(served, db=db, clock=clock) as agent_os:
        output = await complete(agent_os, served)
        assert (output.created_at, output.finished_at) == (1_000_000.0, 1_000_000.0)
        for _ in range(2):
            clock.advance(300)
            await drained(agent_os)
        row = await only_delivery(agent_os, output.run_id)
        session = await agent_os.storage.get_session(output.session_id)
        servers = await agent_os.storage.list_servers()
    assert seen == [1, 2, 3]
    assert [attempt.started_at for attempt in row.attempts] == [1_000_000.0, 1_000_300.0, 1_000_600.0]
    assert (row.created_at, row.finished_at) == (1_000_000.0, 1_000_600.0)
    assert session is not None
    assert session.updated_at == 1_000_000.0
    assert servers[0].started_at == 1_000_000.0


async def test_the_deliverer_looks_at_once(db: SqliteDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookline.execution.deliverer.POLL_SECONDS", 1000.0)
    clock, seen = ManualClock(), list[int]()

    @hook(run_in_background=True)
    async def flaky(delivery: Delivery) -> None:
        seen.append(delivery.attempt)
        if delivery.attempt == 1:
            raise LookupError("again")

    served = agent(post_hooks=[flaky])
    async with serving(served, db=db, clock=clock) as agent_os:
        await complete(agent_os, served)
        await asyncio.to_thread(clock.advance, 1)
        await eventually(lambda: seen == [1, 2])


async def test_retention_goes_by_it(db: SqliteDb) -> None:
    clock = ManualClock()

    @hook(run_in_background=True)
    async def done() -> None: ...

    served = agent(post_hooks=[done])
    async with serving(served, db=db, clock=clock, settings={"retention_days": 7}) as agent_os:
        run = await complete(agent_os, served)
        clock.advance(6.9 * DAY)
        await drained(agent_os)
        assert len(await deliveries_of(agent_os, run.run_id)) == 1
        clock.advance(0.2 * DAY)
        await _until_gone(agent_os, run.run_id)


async def _until_gone(agent_os: Any, run_id: str) -> None:
    ends_at = time.monotonic() + 10
    while await deliveries_of(agent_os, run_id):
        assert time.monotonic() < ends_at
        await asyncio.sleep(0.01)


async def leave_a_run_behind(db: SqliteDb, clock: ManualClock, server_id: str) -> None:
    """What another server leaves that was killed in the middle of a run."""
    storage, now = db.open(), clock.time()
    await storage.beat(replace(this_server(clock), server_id=server_id, host="elsewhere"))
    await storage.lock_session(SessionLock("s", None, "left", server_id, now))
    run = RunRecord("left", "s", None, "agent", "a", server_id, now, input="the input")
    await storage.accept_run(run, [NewDelivery("left-pre", "pre", "pre", 0, 4)])
    await storage.close()


async def test_silence_goes_by_it(db: SqliteDb) -> None:
    clock, seen = ManualClock(), list[str]()

    @hook(run_in_background=True, name="pre")
    async def pre() -> None:
        seen.append("pre")

    await leave_a_run_behind(db, clock, "another server")
    served = agent(pre_hooks=[pre])
    async with serving(served, db=db, clock=clock) as agent_os:
        clock.advance(SILENT_SECONDS - 1)
        await drained(agent_os)
        assert (await stored_run(agent_os, "left")).status == "running"
        clock.advance(2)
        await eventually(lambda: seen == ["pre"])
        assert (await stored_run(agent_os, "left")).reason == "interrupted"


async def test_two_living_servers_outlive_any_move(db: SqliteDb) -> None:
    """Both say that they live before either looks whether the other does."""
    clock, go = ManualClock(), asyncio.Event()
    starts: list[str] = []

    @hook(run_in_background=True, name="long")
    async def long() -> None:
        starts.append("long")
        await go.wait()

    one, two = agent(post_hooks=[long]), agent(post_hooks=[long])
    async with serving(one, db=db, clock=clock) as first, serving(two, db=db, clock=clock) as second:
        run = await start(first, one)
        await eventually(lambda: bool(starts))
        await delivery_with(first, run.run_id, "running")
        for _ in range(3):
            clock.advance(DAY)
            await asyncio.sleep(0.02)
        await _all_have_beaten(second, clock)
        await _swept_twice(second)
        assert len(await first.storage.list_servers()) == 2
        go.set()
        await drained(first)
        row = await only_delivery(first, run.run_id)
    assert starts == ["long"]
    assert (row.delivery.status, row.interruptions) == ("delivered", 0)


async def _all_have_beaten(agent_os: AgentOS, clock: ManualClock) -> None:
    """Wait until every server has said that it lives now."""
    ends_at = time.monotonic() + 10
    while {server.heartbeat_at for server in await agent_os.storage.list_servers()} != {clock.time()}:
        assert time.monotonic() < ends_at
        await asyncio.sleep(0.01)


async def _swept_twice(agent_os: Any) -> None:
    """Wait until a sweep that began now is over."""
    await agent_os._open._sweeper.sweep()
    await agent_os._open._sweeper.sweep()


# a clock that is set


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats and sweeps that do not wait."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(sweeper, "SWEEP_SECONDS", 0.02)


@pytest.mark.parametrize("by", [-HOUR, HOUR])
async def test_a_clock_that_is_set_costs_no_living_server_anything(
    by: float, db: SqliteDb, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    clock, go = ManualClock(), asyncio.Event()
    starts: list[str] = []

    @hook(run_in_background=True, name="long")
    async def long() -> None:
        starts.append("long")
        await go.wait()

    one, two = agent(post_hooks=[long]), agent(post_hooks=[long])
    async with serving(one, db=db, clock=clock) as first, serving(two, db=db, clock=clock) as second:
        run = await start(first, one)
        await eventually(lambda: bool(starts))
        await delivery_with(first, run.run_id, "running")
        clock.set_to(clock.time() + by)
        await eventually(lambda: "the clock was set" in caplog.text)
        for _ in range(3):
            await _swept_twice(first)
            await _swept_twice(second)
        go.set()
        await drained(first)
        row = await only_delivery(first, run.run_id)
        again = await complete(second, two)
        assert (await only_delivery(second, again.run_id)).delivery.status == "delivered"
    assert starts == ["long", "long"]
    assert (row.delivery.status, row.interruptions, len(row.attempts)) == ("delivered", 0, 1)


async def test_set_back_an_hour_new_runs_go_on_and_older_retries_wait_that_much_longer(db: SqliteDb) -> None:
    clock, seen = ManualClock(), list[tuple[str, int]]()

    @hook(run_in_background=True, name="flaky")
    async def flaky(delivery: Delivery) -> None:
        seen.append((delivery.run_id, delivery.attempt))
        if len(seen) == 1:
            raise LookupError("again")

    @hook(run_in_background=True, name="after")
    async def after() -> None: ...

    served = agent(post_hooks=[flaky, after])
    async with serving(served, db=db, clock=clock) as agent_os:
        old = await complete(agent_os, served)
        clock.set_to(clock.time() - HOUR)
        new = await complete(agent_os, served)
        rows = await deliveries_of(agent_os, new.run_id)
        assert [row.delivery.status for row in rows] == ["delivered", "delivered"]
        assert len(seen) == 2
        clock.advance(HOUR + 1)
        await drained(agent_os)
        rows = await deliveries_of(agent_os, old.run_id)
        assert [row.delivery.status for row in rows] == ["delivered", "delivered"]


async def test_a_run_under_way_while_the_clock_is_set_back_is_not_lost(db: SqliteDb, quick: None) -> None:
    clock, go, begun = ManualClock(), asyncio.Event(), asyncio.Event()

    @hook
    async def slow() -> None:
        begun.set()
        await go.wait()

    served = agent(post_hooks=[slow])
    async with serving(served, db=db, clock=clock) as agent_os:
        run = agent_os.start_run(served, "hi")
        await asyncio.wait_for(begun.wait(), 10)
        clock.set_to(clock.time() - HOUR)
        await _swept_twice(agent_os)
        go.set()
        assert (await finished(run)).status is RunStatus.COMPLETED
        assert (await stored_run(agent_os, run.run_id)).status == "completed"


async def test_what_a_dead_server_held_is_taken_over_although_its_clock_was_ahead(db: SqliteDb, quick: None) -> None:
    """It wrote of an hour that comes yet; its silence is counted from when it was seen."""
    clock, seen = ManualClock(), list[str]()

    @hook(run_in_background=True, name="pre")
    async def pre() -> None:
        seen.append("pre")

    await leave_a_run_behind(db, clock, "another server")
    clock.set_to(clock.time() - HOUR)
    served = agent(pre_hooks=[pre])
    async with serving(served, db=db, clock=clock) as agent_os:
        await _swept_twice(agent_os)
        clock.advance(SILENT_SECONDS + 1)
        await eventually(lambda: seen == ["pre"])
        assert (await stored_run(agent_os, "left")).status == "failed"


# the watch, alone


def test_a_server_is_silent_from_its_last_sign_of_life() -> None:
    clock = ManualClock()
    me = this_server(clock)
    other = replace(this_server(clock), host="elsewhere")
    watch = Watch(me, clock)
    clock.advance(SILENT_SECONDS)
    assert watch.gone([me, other], clock.monotonic()) == []
    clock.advance(0.1)
    assert watch.gone([me, other], clock.monotonic()) == [other.server_id]
    other.heartbeat_at = clock.time()
    assert watch.gone([me, other], clock.monotonic()) == []


def test_an_old_row_is_believed_at_first_sight() -> None:
    clock = ManualClock()
    other = replace(this_server(clock), host="elsewhere")
    clock.advance(HOUR)
    assert Watch(this_server(clock), clock).gone([other], clock.monotonic()) == [other.server_id]


def test_a_beat_since_the_last_look_is_no_older_than_that() -> None:
    clock = ManualClock()
    other = replace(this_server(clock), host="elsewhere")
    watch = Watch(this_server(clock), clock)
    watch.gone([other], clock.monotonic())
    clock.advance(3)
    other.heartbeat_at = clock.time()
    clock.set_to(clock.time() + HOUR)
    clock.advance(2)
    assert watch.gone([other], clock.monotonic()) == []
    clock.advance(SILENT_SECONDS - 6)
    assert watch.gone([other], clock.monotonic()) == []
    clock.advance(10)
    assert watch.gone([other], clock.monotonic()) == [other.server_id]


@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_leases_are_judged_by_the_earlier_time_until_all_have_been_renewed(by: float) -> None:
    clock = ManualClock(1_000_000.0)
    watch = Watch(this_server(clock), clock)
    assert watch.time() == 1_000_000.0
    clock.set_to(1_000_000.0 + by)
    assert watch.time() == min(1_000_000.0, 1_000_000.0 + by)
    clock.advance(5)
    assert watch.time() == min(1_000_005.0, 1_000_005.0 + by)
    clock.advance(SILENT_SECONDS)
    assert watch.time() == clock.time()


def test_a_clock_that_drifts_was_not_set(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    watch = Watch(this_server(clock), clock)
    for _ in range(20):
        clock.advance(5)
        clock.set_to(clock.time() + 0.5)
        assert watch.time() == clock.time()
    assert caplog.text == ""


async def test_leases_go_by_it(db: SqliteDb) -> None:
    """A lease that ran out while its server was away is found by who looks then."""
    clock = ManualClock()
    await leave_a_run_behind(db, clock, "another server")
    storage = db.open()
    record = await storage.get_run("left")
    assert record is not None
    await storage.close()
    seen: list[str] = []

    @hook(run_in_background=True, name="done")
    async def done() -> None:
        seen.append("done")

    served = agent(post_hooks=[done])
    async with serving(served, db=db, clock=clock) as agent_os:
        live = agent_os.start_run(served, "hi")
        await finished(live)
        taken = await agent_os.storage.exchange(Exchange("another server", clock.time() + 3, scan=True, limit=1))
        assert [claim.run.run_id for claim in taken] == [live.run_id]
        clock.advance(SILENT_SECONDS + 4)
        await eventually(lambda: seen == ["done"])
        row = await delivery_with(agent_os, live.run_id, "delivered")
        assert row.interruptions == 1
