"""Cancelling a run: at every moment, it ends once, as cancelled, with its hooks; or it had ended before."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from core_support import (
    FaultyDb,
    agent,
    complete,
    deliveries_of,
    drained,
    events_of,
    finished,
    model_of,
    serving,
    stored_run,
)
from hookline import AgentOS, EventName, LiveRun, RunOutput, RunStatus, hook
from hookline.testing import call_tool
from hookline_sql import SqliteDb


class Pause:
    """Something to hang in: `begun` is set when it is reached."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = False

    async def __call__(self, *_args: object) -> str:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return ""


async def cancel(agent_os: AgentOS, run: LiveRun, *, accepted: bool) -> RunOutput:
    """Cancel it and check everything that holds for a cancelled run."""
    assert run.cancel() is True
    assert run.cancel() is True, "twice is once"
    output = await finished(run)
    events = await events_of(run)
    assert output.status is RunStatus.CANCELLED
    assert output.reason == "cancelled"
    assert [event.event for event in events].count(EventName.RUN_CANCELLED) == 1
    assert events[-1].event is EventName.RUN_CANCELLED
    assert await run.accepted() is accepted
    record = await stored_run(agent_os, run.run_id)
    assert record.status == "cancelled"
    assert json.loads(record.document or "") == output.to_dict()
    assert run.run_id not in agent_os.live_runs
    assert run.cancel() is False
    return output


async def test_before_it_has_begun(db: SqliteDb) -> None:
    served = agent()
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi", session_id="s")
        await cancel(agent_os, run, accepted=False)
        assert model_of(served).requests == []
        assert (await complete(agent_os, served, session_id="s")).status is RunStatus.COMPLETED


async def test_while_it_waits_for_its_turn(db: SqliteDb) -> None:
    pause = Pause()
    holding = agent(pre_hooks=[pause], id="holding")
    served = agent()
    async with serving(holding, served, db=db) as agent_os:
        first = agent_os.start_run(holding, "hi", session_id="s")
        await pause.begun.wait()
        second = agent_os.start_run(served, "hi", session_id="s")
        third = agent_os.start_run(served, "hi", session_id="s")
        await asyncio.sleep(0.01)
        await cancel(agent_os, second, accepted=False)
        assert not first.is_finished
        await cancel(agent_os, first, accepted=False)
        assert (await finished(third)).status is RunStatus.COMPLETED


async def test_in_an_inline_pre_hook(db: SqliteDb) -> None:
    pause = Pause()
    served = agent(pre_hooks=[pause])
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "secret", session_id="s")
        await pause.begun.wait()
        await cancel(agent_os, run, accepted=False)
        assert pause.cancelled
        assert (await stored_run(agent_os, run.run_id)).input is None, "it was not accepted"


async def test_in_the_model(db: SqliteDb) -> None:
    pause = Pause()
    seen: list[str] = []

    @hook(on="cancelled")
    def notice(run_output: RunOutput) -> None:
        seen.append(run_output.status)

    @hook(run_in_background=True)
    def pre_background() -> None:
        seen.append("pre background")

    served = agent(pause, "again", pre_hooks=[pre_background], post_hooks=[notice])
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi", session_id="s")
        await pause.begun.wait()
        await cancel(agent_os, run, accepted=True)
        assert pause.cancelled
        run.hand_over()
        await drained(agent_os)
        assert seen == ["cancelled", "pre background"], "what was accepted is delivered"
        assert (await complete(agent_os, served, session_id="s")).status is RunStatus.COMPLETED


async def test_in_an_async_tool(db: SqliteDb) -> None:
    pause = Pause()

    async def hang() -> str:
        return await pause()

    served = agent(call_tool("hang"), tools=[hang])
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi")
        await pause.begun.wait()
        await cancel(agent_os, run, accepted=True)
    assert pause.cancelled


async def test_in_a_sync_tool_whose_thread_is_left_behind_and_counted(db: SqliteDb) -> None:
    begun, release = threading.Event(), threading.Event()

    def block() -> str:
        begun.set()
        release.wait()
        return "too late"

    served = agent(call_tool("block"), tools=[block])
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi")
        await asyncio.to_thread(begun.wait, 10)
        try:
            output = await cancel(agent_os, run, accepted=True)
            assert agent_os.abandoned == 1
        finally:
            release.set()
        assert "too late" not in json.dumps(output.to_dict())


async def test_in_an_inline_post_hook(db: SqliteDb) -> None:
    pause = Pause()
    served = agent(post_hooks=[pause])
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi")
        await pause.begun.wait()
        await cancel(agent_os, run, accepted=True)


async def test_in_a_hook_that_swallows_it(db: SqliteDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookline.calling.GRACE_SECONDS", 0.05)
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        begun.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    served = agent(pre_hooks=[stubborn])
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi")
        await begun.wait()
        await cancel(agent_os, run, accepted=False)
        assert agent_os.abandoned == 1
        let_go.set()


@pytest.mark.parametrize("operation", ["lock_session", "accept_run"])
async def test_during_a_storage_operation_which_is_waited_for(operation: str, db: SqliteDb) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    class Slow(FaultyDb):
        def fault(self, name: str) -> bool | None:
            if name == operation and not begun.is_set():
                begun.set()
            return super().fault(name)

    slow = Slow(db)
    served = agent()
    async with serving(served, db=slow) as agent_os:
        inner = agent_os.storage
        original = getattr(inner, operation)

        async def delayed(*args: Any) -> Any:
            result = await original(*args)
            begun.set()
            await go.wait()
            return result

        inner.__dict__[operation] = delayed
        run = agent_os.start_run(served, "hi", session_id="s")
        await asyncio.wait_for(begun.wait(), 10)
        assert run.cancel()
        await asyncio.sleep(0.01)
        assert not run.is_finished, "an operation of the storage is not interrupted"
        go.set()
        assert (await finished(run)).status is RunStatus.CANCELLED
        assert (await stored_run(agent_os, run.run_id)).status == "cancelled"
        assert (await finished(agent_os.start_run(served, "hi", session_id="s"))).status is RunStatus.COMPLETED


async def test_during_commit_2_it_is_too_late(db: SqliteDb) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    served = agent()
    async with serving(served, db=FaultyDb(db)) as agent_os:
        original = agent_os.storage.finish_run

        async def delayed(request: Any) -> bool:
            begun.set()
            await go.wait()
            return await original(request)

        agent_os.storage.__dict__["finish_run"] = delayed
        run = agent_os.start_run(served, "hi")
        await begun.wait()
        assert run.cancel() is False
        go.set()
        assert (await finished(run)).status is RunStatus.COMPLETED


async def test_after_the_end_it_is_too_late(db: SqliteDb) -> None:
    served = agent()
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi")
        await finished(run)
        assert run.cancel() is False
        assert run.output.status is RunStatus.COMPLETED
        assert (await stored_run(agent_os, run.run_id)).status == "completed"


async def test_background_hooks_of_a_cancelled_run_are_those_that_ask_for_it(db: SqliteDb) -> None:
    pause = Pause()
    seen = []

    def make(name: str, **options: Any) -> Any:
        @hook(run_in_background=True, name=name, **options)
        def called(run_output: RunOutput) -> None:
            seen.append((name, run_output.status))

        return called

    served = agent(pause, post_hooks=[make("default"), make("of cancelled", on=["cancelled"])])
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi")
        await pause.begun.wait()
        run.cancel()
        await finished(run)
        run.hand_over()
        await drained(agent_os)
        assert [row.delivery.hook for row in await deliveries_of(agent_os, run.run_id)] == ["of cancelled"]
    assert seen == [("of cancelled", "cancelled")]
