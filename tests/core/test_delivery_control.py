"""Deliveries that do not simply go on: parked, redriven, discarded, delayed, refused."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from core_support import (
    agent,
    complete,
    deliveries_of,
    delivery_with,
    drained,
    eventually,
    only_delivery,
    serving,
    start,
)
from hookline import (
    Delivery,
    Refuse,
    Schedule,
    hook,
    hookimpl,
)
from hookline.deliveries import FINAL_STATUSES
from hookline.storage import Exchange
from hookline_sql import SqliteDb


async def test_a_hook_that_is_no_longer_there_is_parked_until_it_is_redriven(db: SqliteDb) -> None:
    seen = []
    first_time = True

    @hook(run_in_background=True, name="audit")
    async def audit() -> None:
        if first_time:
            await asyncio.Event().wait()
        seen.append("audit")

    async with serving(with_hook := agent(post_hooks=[audit]), db=db, settings={"shutdown_timeout": 0.05}) as agent_os:
        run = await start(agent_os, with_hook)
        await delivery_with(agent_os, run.run_id, "running")
    async with serving(agent(), db=db) as agent_os:
        parked = await delivery_with(agent_os, run.run_id, "parked")
        assert "no post-hook 'audit' in agent 'a'" in (parked.delivery.last_error or "")
        assert parked.attempts == []
        assert parked.delivery.status not in FINAL_STATUSES
    first_time = False
    async with serving(agent(post_hooks=[audit]), db=db) as agent_os:
        await drained(agent_os)
        assert seen == [], "parked stays parked"
        assert await agent_os.storage.redrive(parked.delivery.delivery_id, 0.0) is not None
        agent_os.wake_deliveries()
        await drained(agent_os)
        delivered = await only_delivery(agent_os, run.run_id)
        assert delivered.delivery.status == "delivered"
    assert seen == ["audit"]


async def test_a_parked_hook_leaves_the_line(db: SqliteDb) -> None:
    seen = []

    @hook(run_in_background=True, name="gone")
    async def gone() -> None:
        await asyncio.Event().wait()

    @hook(run_in_background=True, name="stays")
    def stays() -> None:
        seen.append("stays")

    async with serving(
        served := agent(post_hooks=[gone, stays]), db=db, settings={"shutdown_timeout": 0.05}
    ) as agent_os:
        run = await start(agent_os, served)
        await eventually(lambda: agent_os.is_open)
        await asyncio.sleep(0.05)
    async with serving(agent(post_hooks=[stays]), db=db) as agent_os:
        await drained(agent_os)
        rows = await deliveries_of(agent_os, run.run_id)
    assert [row.delivery.status for row in rows] == ["parked", "delivered"]
    assert seen == ["stays"]


async def test_a_redriven_dead_delivery_has_all_its_attempts_again(db: SqliteDb, short_backoff: None) -> None:
    mended = False
    attempts: list[int] = []

    @hook(run_in_background=True, retries=1)
    def called(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if not mended or len(attempts) == 3:
            raise RuntimeError("broken")

    served = agent(post_hooks=[called])
    async with serving(served, db=db) as agent_os:
        run = await start(agent_os, served)
        dead = await delivery_with(agent_os, run.run_id, "dead")
        mended = True
        redriven = await agent_os.storage.redrive(dead.delivery.delivery_id, 0.0)
        assert redriven is not None
        assert redriven.delivery.status == "pending"
        agent_os.wake_deliveries()
        delivered = await delivery_with(agent_os, run.run_id, "delivered")
        assert await agent_os.storage.redrive(delivered.delivery.delivery_id, 0.0) is None, "it was delivered"
    assert len(attempts) == 4
    assert [attempt.outcome for attempt in delivered.attempts] == ["failed", "failed", "failed", "delivered"]


async def test_a_discarded_delivery_is_never_executed(db: SqliteDb) -> None:
    class Delay:
        @hookimpl
        def schedule_background(self) -> Schedule:
            return Schedule(3600)

    @hook(run_in_background=True)
    def called() -> None: ...

    served = agent(post_hooks=[called])
    async with serving(served, db=db, plugins=[Delay()]) as agent_os:
        discarded, kept = [await start(agent_os, served) for _ in range(2)]
        row = await only_delivery(agent_os, discarded.run_id)
        assert await agent_os.storage.discard(row.delivery.delivery_id, "not needed", time.time()) is not None
        later = Exchange("another server", time.time() + 7200, scan=True, limit=10)
        claimed = await agent_os.storage.exchange(later)
        assert [each.run.run_id for each in claimed] == [kept.run_id]
        row = await only_delivery(agent_os, discarded.run_id)
    assert (row.delivery.status, row.discard_reason) == ("discarded", "not needed")


async def test_a_delivery_that_a_plugin_delays_comes_later_and_the_line_goes_on(db: SqliteDb) -> None:
    seen: list[str] = []

    class Delay:
        @hookimpl
        def schedule_background(self, delivery: Delivery) -> Schedule | None:
            return Schedule(1.5) if delivery.hook == "late" else None

    def make(name: str) -> Any:
        return hook(run_in_background=True, name=name)(lambda: seen.append(name))

    served = agent(post_hooks=[make("late"), make("next")])
    async with serving(served, db=db, plugins=[Delay()]) as agent_os:
        run = await start(agent_os, served)
        await drained(agent_os)
        assert seen == ["next"], "drain waits for what is due, not for delays"
        await eventually(lambda: seen == ["next", "late"])
        await drained(agent_os)
        rows = await deliveries_of(agent_os, run.run_id)
    assert [row.delivery.status for row in rows] == ["delivered", "delivered"]


async def test_a_delivery_that_a_plugin_refuses_is_not_made(db: SqliteDb, caplog: pytest.LogCaptureFixture) -> None:
    class Budget:
        @hookimpl
        def schedule_background(self, delivery: Delivery) -> Refuse | None:
            return Refuse("too dear") if delivery.hook == "dear" else None

    def make(name: str) -> Any:
        return hook(run_in_background=True, name=name)(lambda: None)

    served = agent(post_hooks=[make("dear"), make("cheap")])
    async with serving(served, db=db, plugins=[Budget()]) as agent_os:
        output = await complete(agent_os, served)
        rows = await deliveries_of(agent_os, output.run_id)
    assert [row.delivery.hook for row in rows] == ["cheap"]
    assert "too dear" in caplog.text
