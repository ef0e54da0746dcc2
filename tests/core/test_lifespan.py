"""The lifespan of an AgentOS: opening, taking over what a dead server left, and the watchdog."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from core_support import FaultyDb, agent, complete, deliveries_of, drained, eventually, serving, stored_run
from hookline import AgentOS, ConfigurationError, RunInput, RunOutput, RunStatus, Settings, hook
from hookline.execution import sweeper, watchdog
from hookline.execution.heartbeat import is_gone, this_server
from hookline.storage import SILENT_SECONDS, NewDelivery, Prune, RunRecord, SessionLock
from hookline_sql import SqliteDb


async def test_what_needs_the_lifespan_names_the_line_to_add(db: SqliteDb) -> None:
    served = agent()
    agent_os = AgentOS(agents=[served], db=db, settings=Settings(plugins=[]))
    with pytest.raises(ConfigurationError, match=r"lifespan=agent_os\.lifespan"):
        agent_os.start_run(served, "hi")
    with pytest.raises(ConfigurationError, match="lifespan"):
        _ = agent_os.storage
    assert not agent_os.is_open
    async with agent_os.lifespan():
        assert agent_os.is_open
        with pytest.raises(ConfigurationError, match="running already"):
            async with agent_os.lifespan():
                pass
        assert (await complete(agent_os, served)).status is RunStatus.COMPLETED
    async with agent_os.lifespan():
        assert (await complete(agent_os, served)).status is RunStatus.COMPLETED


def test_making_and_loading_one_touches_no_database(db: SqliteDb) -> None:
    AgentOS(agents=[agent(db=db)], settings=Settings(plugins=[])).load()
    assert not db.file.exists()


async def test_standalone_runs_open_a_database_once(faulty: FaultyDb, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    really_open = faulty.open

    def count_and_open() -> Any:
        opened.append(1)
        return really_open()

    monkeypatch.setattr(faulty, "open", count_and_open)
    served, other = agent(db=faulty), agent(id="other", db=faulty)
    outputs = [await served.arun("hi"), await other.arun("hi")]
    assert {output.status for output in outputs} == {"completed"}
    assert opened == [1]
    async with serving(served, db=faulty.inner) as agent_os:
        for output in outputs:
            assert (await stored_run(agent_os, output.run_id)).document is not None


async def leave_a_run_behind(db: SqliteDb, agent_id: str, *hooks: str) -> str:
    """What a process leaves that was killed in the middle of a run."""
    storage = db.open()
    now = time.time()
    await storage.lock_session(SessionLock("s", "ada", "left", "dead server", now))
    run = RunRecord("left", "s", "ada", "agent", agent_id, "dead server", now, input="the input")
    rows = [NewDelivery(f"left-{name}", "pre", name, position, 4) for position, name in enumerate(hooks)]
    await storage.accept_run(run, rows)
    await storage.close()
    return run.run_id


async def test_a_run_whose_server_died_ends_as_interrupted_with_its_hooks(db: SqliteDb) -> None:
    seen: list[Any] = []

    @hook(run_in_background=True, name="pre")
    def pre(run_input: RunInput) -> None:
        seen.append(("pre", run_input.input_content))

    @hook(run_in_background=True, name="post", on="failed")
    def post(run_output: RunOutput, run_input: RunInput, user_id: str) -> None:
        seen.append(("post", run_output.status, run_output.reason, run_input.input_content, user_id))

    @hook(run_in_background=True, name="of completed")
    def of_completed() -> None:
        seen.append("never")

    run_id = await leave_a_run_behind(db, "a", "pre")
    served = agent(pre_hooks=[pre], post_hooks=[post, of_completed])
    async with serving(served, db=db) as agent_os:
        await eventually(lambda: len(seen) == 2)
        await drained(agent_os)
        record = await stored_run(agent_os, run_id)
        rows = await deliveries_of(agent_os, run_id)
        assert (record.status, record.reason, record.input) == ("failed", "interrupted", "the input")
        assert [row.delivery.status for row in rows] == ["delivered", "delivered"]
        assert (await complete(agent_os, served, session_id="s")).status is RunStatus.COMPLETED
    assert seen[:2] == [("pre", "the input"), ("post", "failed", "interrupted", "the input", "ada")]


async def test_a_left_run_that_cannot_be_ended_keeps_no_other_one_up(
    db: SqliteDb, caplog: pytest.LogCaptureFixture
) -> None:
    storage = db.open()
    for run_id in ("broken", "sound"):
        await storage.lock_session(SessionLock(run_id, None, run_id, "dead server", time.time()))
        run = RunRecord(run_id, run_id, None, "agent", "a", "dead server", time.time(), input="hi")
        await storage.accept_run(run, [])
    ended = []

    async def end_run(run: RunRecord) -> None:
        if run.run_id == "broken":
            raise LookupError("on purpose")
        ended.append(run.run_id)

    await sweeper.Sweeper(storage, this_server(), end_run=end_run).sweep()
    await storage.close()
    assert ended == ["sound"]
    assert "run broken cannot be ended now" in caplog.text


async def test_left_runs_with_slow_hooks_are_ended_side_by_side(db: SqliteDb) -> None:
    storage = db.open()
    for number in range(sweeper.AT_ONCE + 3):
        run_id = f"r{number}"
        await storage.lock_session(SessionLock(run_id, None, run_id, "dead server", time.time()))
        await storage.accept_run(RunRecord(run_id, run_id, None, "agent", "a", "dead server", time.time()), [])
    goes_on = asyncio.Event()
    begun: list[str] = []

    async def end_run(run: RunRecord) -> None:
        begun.append(run.run_id)
        await goes_on.wait()

    sweeping = asyncio.create_task(sweeper.Sweeper(storage, this_server(), end_run=end_run).sweep())
    await eventually(lambda: len(begun) == sweeper.AT_ONCE)
    goes_on.set()
    await asyncio.wait_for(sweeping, 10)
    await storage.close()
    assert len(set(begun)) == sweeper.AT_ONCE + 3


async def test_much_to_delete_keeps_no_sweep_waiting(faulty: FaultyDb, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, deleting = faulty.open(), asyncio.Event()

    async def prune(_request: Prune) -> None:
        deleting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(storage, "prune", prune, raising=False)
    monkeypatch.setattr(sweeper, "SWEEP_SECONDS", 0.001)
    sweeping = sweeper.Sweeper(storage, this_server())
    sweeping.start()
    await asyncio.wait_for(deleting.wait(), 10)
    swept = faulty.calls["take_over"]
    await eventually(lambda: faulty.calls["take_over"] > swept + 1)
    await sweeping.stop()
    await storage.close()


async def test_a_left_run_of_an_agent_that_is_no_longer_served_ends_too(db: SqliteDb) -> None:
    run_id = await leave_a_run_behind(db, "gone")
    served = agent()
    async with serving(served, db=db) as agent_os:
        assert (await complete(agent_os, served, session_id="s")).status is RunStatus.COMPLETED
        assert (await stored_run(agent_os, run_id)).status == "failed"


def test_who_is_gone() -> None:
    me = this_server()
    now = time.time()
    other = this_server()
    assert not is_gone(me, me, now + 1000), "oneself is never dead"
    assert not is_gone(other, me, now), "a process that is seen to live"
    assert is_gone(other, me, now + SILENT_SECONDS + 1), "silent for too long"
    other.pid_started -= 1
    assert is_gone(other, me, now), "its pid is another process now"
    other.host = "elsewhere"
    assert not is_gone(other, me, now), "a process elsewhere cannot be looked at"


async def test_a_hook_that_blocks_the_loop_is_named(
    db: SqliteDb, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(watchdog, "BLOCKED_SECONDS", 0.05)

    @hook(name="the_blocking_one")
    async def blocking() -> None:
        ends_at = time.monotonic() + 10
        while "the_blocking_one" not in caplog.text and time.monotonic() < ends_at:
            time.sleep(0.01)  # noqa: ASYNC251 - this is what must be noticed

    served = agent(pre_hooks=[blocking])
    async with serving(served, db=db) as agent_os:
        await complete(agent_os, served)
    assert "the event loop has been blocked" in caplog.text
    assert "the_blocking_one" in caplog.text
