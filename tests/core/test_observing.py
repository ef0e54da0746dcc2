"""`delivery_finished`: called for a few deliveries at a time, and never waited for by deliveries."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from core_support import DEADLINE, agent, drained, eventually, finished, serving
from hookline import Agent, AgentOS, Delivery, hook, hookimpl
from hookline.execution import observing
from hookline.execution.points import PointHook, Points
from hookline_sql import SqliteDb


class Listener:
    """Hears of deliveries, once it may."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.called = 0
        self.heard: list[str] = []

    @hookimpl
    async def delivery_finished(self, delivery: Delivery) -> None:
        self.called += 1
        await self.goes_on.wait()
        self.heard.append(delivery.delivery_id)


def background(number: int) -> Any:
    @hook(run_in_background=True, name=f"h{number}")
    async def nothing() -> None: ...

    return nothing


HOOKS = [background(number) for number in range(20)]


async def run_delivered(agent_os: AgentOS, served: Agent) -> None:
    """Run, and wait for its deliveries, not for what plugins hear of them."""
    run = agent_os.start_run(served, "hi")
    await finished(run)
    run.hand_over()
    ends_at = time.monotonic() + DEADLINE
    while any(each.delivery.status != "delivered" for each in await agent_os.storage.run_deliveries(run.run_id)):
        assert time.monotonic() < ends_at
        await asyncio.sleep(0.01)


async def test_plugins_hear_of_a_few_deliveries_at_a_time_and_of_all_in_the_end(db: SqliteDb) -> None:
    listener, served = Listener(), agent(post_hooks=HOOKS)
    async with serving(served, db=db, plugins=[listener]) as agent_os:
        await run_delivered(agent_os, served)
        await eventually(lambda: listener.called > 0)
        assert listener.called == observing.AT_ONCE
        listener.goes_on.set()
        await drained(agent_os)
        assert len(listener.heard) == len(set(listener.heard)) == len(HOOKS)


async def test_more_than_fit_are_left_out_and_that_is_said(
    db: SqliteDb, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(observing, "MOST_WAITING", 3)
    listener, served = Listener(), agent(post_hooks=HOOKS)
    async with serving(served, db=db, plugins=[listener]) as agent_os:
        await run_delivered(agent_os, served)
        listener.goes_on.set()
        await drained(agent_os)
    assert 0 < len(listener.heard) < len(HOOKS)
    assert f"were not told of {len(HOOKS) - len(listener.heard)} deliveries" in caplog.text


async def test_what_is_told_just_when_the_last_call_ends_is_not_left_behind() -> None:
    heard: list[str] = []

    class Told:
        async def call(self, _callee: object, offered: dict[str, Any], **_: object) -> None:
            heard.append(offered["delivery"])

    hooks: Any = Points({"delivery_finished": [PointHook("p", None, 1.0)]})  # type: ignore[arg-type]  # never looked at
    told: Any = Told()
    observers = observing.Observers(hooks, told, None, lambda _delivery: None)  # type: ignore[arg-type]  # no thread
    deliveries: list[Any] = [f"d{number}" for number in range(observing.AT_ONCE)]
    for delivery in deliveries:
        observers.tell(delivery)
    late: Any = "late"
    asyncio.get_running_loop().call_soon(lambda: observers.tell(late))  # behind the calls, before their tasks are gone
    await eventually(lambda: late in heard)
    await observers.wait()
