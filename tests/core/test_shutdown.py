"""Deliveries and runs across shutdown, restart and several servers."""

from __future__ import annotations

import asyncio
import threading

import pytest

from core_support import (
    agent,
    complete,
    drained,
    eventually,
    finished,
    only_delivery,
    serving,
    start,
)
from hookline import (
    Delivery,
    RunOutput,
    RunStatus,
    ServerBusyError,
    hook,
    hookimpl,
)
from hookline_sql import SqliteDb


async def test_a_running_delivery_is_given_back_at_shutdown_its_attempt_too(db: SqliteDb) -> None:
    calls: list[int] = []

    @hook(run_in_background=True)
    async def called(delivery: Delivery) -> None:
        calls.append(delivery.attempt)
        if len(calls) == 1:
            await asyncio.Event().wait()

    served = agent(post_hooks=[called])
    async with serving(served, db=db, settings={"shutdown_timeout": 0.05}) as agent_os:
        run = await start(agent_os, served)
        await eventually(lambda: calls == [1])
    async with serving(served, db=db) as agent_os:
        await drained(agent_os)
        row = await only_delivery(agent_os, run.run_id)
    assert calls == [1, 1], "at once, and as the first attempt"
    assert row.delivery.status == "delivered"
    assert row.delivery.attempt_count == 1
    assert row.interruptions == 0
    assert [attempt.outcome for attempt in row.attempts] == ["delivered"]


async def test_shutdown_waits_for_deliveries_that_end_in_time(db: SqliteDb) -> None:
    seen = []

    @hook(run_in_background=True)
    async def called() -> None:
        await asyncio.sleep(0.1)
        seen.append("done")

    served = agent(post_hooks=[called])
    async with serving(served, db=db) as agent_os:
        await start(agent_os, served)
    assert seen == ["done"]


async def test_shutdown_ends_although_a_thread_hangs(db: SqliteDb) -> None:
    begun, release = threading.Event(), threading.Event()

    @hook(run_in_background=True)
    def blocked() -> None:
        begun.set()
        release.wait()

    served = agent(post_hooks=[blocked])
    try:
        async with asyncio.timeout(20):
            async with serving(served, db=db, settings={"shutdown_timeout": 0.05}) as agent_os:
                await start(agent_os, served)
                await asyncio.to_thread(begun.wait, 10)
    finally:
        release.set()


async def test_a_run_under_way_at_shutdown_ends_and_is_stored(db: SqliteDb) -> None:
    async def hang(_request: object) -> str:
        await asyncio.Event().wait()
        return ""

    served = agent(hang)
    async with serving(served, db=db, settings={"shutdown_timeout": 0.05}) as agent_os:
        run = agent_os.start_run(served, "hi")
        await run.accepted()
        agent_os.begin_shutdown()
        with pytest.raises(ServerBusyError, match="shutting down") as raised:
            agent_os.start_run(served, "hi")
        assert raised.value.retry_after is None
        assert await agent_os.readiness() == ["shutting down"]
    assert run.is_finished
    assert run.output.status is RunStatus.CANCELLED


async def test_too_many_runs_at_once_are_turned_away(db: SqliteDb) -> None:
    gate = asyncio.Event()

    async def wait(_request: object) -> str:
        await gate.wait()
        return "fine"

    served = agent(wait)
    async with serving(served, db=db, settings={"max_concurrent_runs": 1}) as agent_os:
        run = agent_os.start_run(served, "hi")
        with pytest.raises(ServerBusyError, match="max_concurrent_runs") as raised:
            agent_os.start_run(served, "hi")
        assert raised.value.retry_after == 1.0
        gate.set()
        await finished(run)
        await eventually(lambda: not agent_os.live_runs)


async def test_two_servers_of_one_ledger_execute_every_delivery_once(db: SqliteDb) -> None:
    seen: list[str] = []

    @hook(run_in_background=True)
    async def called(run_output: RunOutput) -> None:
        await asyncio.sleep(0.001)
        seen.append(run_output.run_id)

    served = agent(post_hooks=[called])
    async with serving(served, db=db) as one, serving(served, db=db) as other:
        runs = [agent_os.start_run(served, "hi") for agent_os in (one, other) for _ in range(20)]
        for run in runs:
            await finished(run)
        for run in runs[::2]:
            run.hand_over()  # the others are found in the ledger by either
        await drained(one)
        await drained(other)
        statuses = {(await only_delivery(one, run.run_id)).delivery.status for run in runs}
    assert statuses == {"delivered"}
    assert sorted(seen) == sorted(run.run_id for run in runs)


async def test_a_server_that_starts_does_not_take_over_from_a_live_one(db: SqliteDb) -> None:
    gate = asyncio.Event()
    calls = []

    async def wait(_request: object) -> str:
        await gate.wait()
        return "fine"

    @hook(run_in_background=True)
    async def called() -> None:
        calls.append(1)
        await gate.wait()

    served, busy = agent(wait, id="waiting"), agent(post_hooks=[called], id="busy")
    async with serving(served, busy, db=db) as one:
        run = one.start_run(served, "hi")
        assert await run.accepted()
        await start(one, busy)
        await eventually(lambda: calls == [1])
        async with serving(served, busy, db=db):
            await asyncio.sleep(0.2)
            assert not run.is_finished
        gate.set()
        assert (await finished(run)).status is RunStatus.COMPLETED
        await drained(one)
    assert calls == [1]


async def test_a_delivery_finished_plugin_hears_of_every_end(db: SqliteDb) -> None:
    heard: list[tuple[str, str]] = []

    class Listener:
        @hookimpl
        async def delivery_finished(self, delivery: Delivery) -> None:
            heard.append((delivery.hook, delivery.status))

    @hook(run_in_background=True, retries=0, name="bad")
    def bad() -> None:
        raise RuntimeError("no")

    @hook(run_in_background=True, name="good")
    def good() -> None: ...

    served = agent(post_hooks=[bad, good])
    async with serving(served, db=db, plugins=[Listener()]) as agent_os:
        await complete(agent_os, served)
        await eventually(lambda: len(heard) == 2)
    assert sorted(heard) == [("bad", "dead"), ("good", "delivered")]
