"""Sessions: one run at a time, first come first served; and a state of which no update is lost."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from core_support import FaultyDb, agent, complete, drained, finished, serving
from hookline import (
    Agent,
    AgentOS,
    ConfigurationError,
    InputCheckError,
    LiveRun,
    RunContext,
    RunStatus,
    SessionBusyError,
    hook,
)
from hookline.execution.heartbeat import this_server
from hookline.storage import SessionLock
from hookline.testing import ScriptedModel, call_tool
from hookline_sql import SqliteDb


async def state_of(agent_os: AgentOS, session_id: str) -> dict[str, Any]:
    session = await agent_os.storage.get_session(session_id)
    assert session is not None
    return session.session_state


async def increment(session_state: dict[str, Any]) -> None:
    before = session_state.get("n", 0)
    await asyncio.sleep(0.002)
    session_state["n"] = before + 1


async def test_ten_concurrent_increments_are_ten(db: SqliteDb) -> None:
    counting = agent(pre_hooks=[increment])
    async with serving(counting, db=db) as agent_os:
        runs = [agent_os.start_run(counting, "hi", session_id="s") for _ in range(10)]
        await asyncio.gather(*(finished(run) for run in runs))
        assert await state_of(agent_os, "s") == {"n": 10}


async def test_increments_from_many_loops_and_an_agent_os_are_all_kept(db: SqliteDb) -> None:
    """`run()` in threads, `arun()` here and an AgentOS: three queues, one ledger."""
    counting = agent(pre_hooks=[increment], db=db)
    async with serving(counting, db=db) as agent_os:
        runs = [agent_os.start_run(counting, "hi", session_id="s") for _ in range(3)]
        await asyncio.gather(
            *(finished(run) for run in runs),
            *(counting.arun("hi", session_id="s") for _ in range(3)),
            *(asyncio.to_thread(counting.run, "hi", session_id="s") for _ in range(3)),
        )
        assert await state_of(agent_os, "s") == {"n": 9}


async def test_first_come_first_served(db: SqliteDb) -> None:
    order: list[str] = []

    async def note(run_input: Any) -> None:
        order.append(run_input.input_content)
        await asyncio.sleep(0.001)

    served = agent(pre_hooks=[note])
    async with serving(served, db=db) as agent_os:
        runs = [agent_os.start_run(served, str(number), session_id="s") for number in range(8)]
        await asyncio.sleep(0)
        runs[3].cancel()
        await asyncio.gather(*(finished(run) for run in runs))
    assert order == ["0", "1", "2", "4", "5", "6", "7"]


async def test_other_sessions_do_not_wait(db: SqliteDb) -> None:
    meeting = asyncio.Barrier(3)

    async def meet() -> None:
        await asyncio.wait_for(meeting.wait(), 10)

    served = agent(pre_hooks=[hook(on_error="fail")(meet)])
    async with serving(served, db=db) as agent_os:
        runs = [agent_os.start_run(served, "hi", session_id=name) for name in "abc"]
        outputs = await asyncio.gather(*(finished(run) for run in runs))
    assert {output.status for output in outputs} == {"completed"}


async def hold(agent_os: AgentOS, holding: Agent, begun: asyncio.Event) -> LiveRun:
    run = agent_os.start_run(holding, "hold", session_id="s")
    await asyncio.wait_for(begun.wait(), 10)
    return run


@pytest.mark.parametrize("stream", [False, True])
async def test_on_busy_reject_raises(db: SqliteDb, *, stream: bool) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await go.wait()

    holding, rejecting = agent(id="holding", pre_hooks=[wait]), agent(id="rejecting", on_busy="reject")
    async with serving(holding, rejecting, db=db) as agent_os:
        held = await hold(agent_os, holding, begun)
        refused = agent_os.start_run(rejecting, "hi", session_id="s", stream=stream)
        with pytest.raises(SessionBusyError, match="'s'"):
            await finished(refused)
        with pytest.raises(SessionBusyError):
            _ = [event async for event in refused.events()]
        assert await refused.accepted() is False
        assert await agent_os.storage.get_run(refused.run_id) is None
        go.set()
        assert (await finished(held)).status is RunStatus.COMPLETED
        assert (await finished(agent_os.start_run(rejecting, "hi", session_id="s"))).status is RunStatus.COMPLETED


async def hold_elsewhere(agent_os: AgentOS) -> None:
    """Another process, which lives, holds the session `s` for a run."""
    await agent_os.storage.beat(replace(this_server(), server_id="another server"))
    lock = SessionLock("s", None, "another run", "another server", time.time())
    assert await agent_os.storage.lock_session(lock) is not None


async def test_on_busy_reject_raises_if_another_process_holds_the_session_too(db: SqliteDb) -> None:
    rejecting = agent(on_busy="reject")
    async with serving(rejecting, db=db) as agent_os:
        await hold_elsewhere(agent_os)
        refused = agent_os.start_run(rejecting, "hi", session_id="s")
        with pytest.raises(SessionBusyError, match="'s'"):
            await finished(refused)
        assert await agent_os.storage.get_run(refused.run_id) is None


async def test_a_session_that_another_process_holds_is_waited_for(db: SqliteDb) -> None:
    served = agent()
    async with serving(served, db=db) as agent_os:
        await hold_elsewhere(agent_os)
        run = agent_os.start_run(served, "hi", session_id="s")
        await asyncio.sleep(0.05)
        assert not run.is_finished
        await agent_os.storage.unlock_session("s", "another run")
        assert (await finished(run)).status is RunStatus.COMPLETED


async def test_a_run_that_waits_for_another_process_can_be_cancelled(db: SqliteDb) -> None:
    served = agent()
    async with serving(served, db=db) as agent_os:
        await hold_elsewhere(agent_os)
        run = agent_os.start_run(served, "hi", session_id="s")
        await asyncio.sleep(0.03)
        assert run.cancel()
        assert (await finished(run)).status is RunStatus.CANCELLED
        lock = SessionLock("s", None, "third run", "third server", time.time())
        assert await agent_os.storage.lock_session(lock) is None, "it is still the other process's"


# nested runs


@pytest.mark.parametrize("place", ["sync hook", "async hook", "sync tool", "async tool"])
@pytest.mark.parametrize("same", [True, False])
async def test_a_nested_run_may_not_use_the_session_that_its_run_holds(place: str, db: SqliteDb, *, same: bool) -> None:
    caught: list[object] = []
    inner = agent(id="inner", db=db)

    async def nested(run_context: RunContext) -> str:
        session_id = run_context.session_id if same else "another"
        try:
            output = await asyncio.wait_for(inner.arun("hi", session_id=session_id), 10)
        except SessionBusyError as error:
            caught.append(error)
            return "busy"
        caught.append(output.status)
        return "done"

    def nested_sync(run_context: RunContext) -> str:
        session_id = run_context.session_id if same else "another"
        try:
            output = inner.run("hi", session_id=session_id)
        except SessionBusyError as error:
            caught.append(error)
            return "busy"
        caught.append(output.status)
        return "done"

    function = nested_sync if place.startswith("sync") else nested
    as_tool = place.endswith("tool")
    outer = agent(
        *([call_tool(function.__name__)] if as_tool else []),
        "fine",
        db=db,
        tools=[function] if as_tool else [],
        pre_hooks=[] if as_tool else [function],
    )
    output = await asyncio.wait_for(outer.arun("hi", session_id="s"), 20)
    assert output.status is RunStatus.COMPLETED
    (result,) = caught
    if same:
        assert isinstance(result, SessionBusyError)
        assert "another session_id" in str(result), "it says what to do"
    else:
        assert result == "completed"


@pytest.mark.parametrize("when", ["after the end", "before the end"])
async def test_a_background_hook_may_run_on_its_runs_session_which_nobody_holds_any_more(
    when: str, db: SqliteDb
) -> None:
    results: list[object] = []
    follow_up = agent(id="follow-up", db=db)

    @hook(run_in_background=True, retries=0)
    async def follow(run_context: RunContext) -> None:
        try:
            results.append((await follow_up.arun("and?", session_id=run_context.session_id)).status)
        except SessionBusyError as error:
            results.append(error)

    served = agent(post_hooks=[follow])
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi", session_id="s")
        if when == "before the end":
            run.hand_over()  # the client has gone
        await finished(run)
        run.hand_over()
        await drained(agent_os)
    assert results == ["completed"]


async def test_what_a_hook_starts_may_use_the_session_once_the_run_has_ended(db: SqliteDb) -> None:
    inner = agent(id="inner", db=db)
    ended = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def later(session_id: str) -> Any:
        await ended.wait()
        return (await inner.arun("hi", session_id=session_id)).status

    async def start(run_context: RunContext) -> None:
        tasks.append(asyncio.create_task(later(run_context.session_id)))

    await agent(pre_hooks=[start], db=db).arun("hi", session_id="s")
    ended.set()
    assert await asyncio.wait_for(tasks[0], 10) == "completed"


async def test_a_session_of_another_database_is_another_session(tmp_path: Any) -> None:
    """A helper agent without a db, or with one of its own, has nothing to do with this session."""
    inner = agent(id="inner")

    @hook(on_error="fail")
    async def ask(run_context: RunContext) -> None:
        await inner.arun("hi", session_id=run_context.session_id)

    outer = agent(pre_hooks=[ask], db=SqliteDb(db_file=tmp_path / "outer.db"))
    assert (await outer.arun("hi", session_id="s")).status is RunStatus.COMPLETED


# state


async def test_a_new_sessions_state_is_the_agents_and_no_run_changes_the_agents(db: SqliteDb) -> None:
    def change(session_state: dict[str, Any]) -> None:
        session_state["list"].append(len(session_state["list"]))

    served = agent(session_state={"list": []}, pre_hooks=[change], db=db)
    for session_id in ("s", "t", "s"):
        await served.arun("hi", session_id=session_id)
    assert served.session_state == {"list": []}
    async with serving(served, db=db) as agent_os:
        assert await state_of(agent_os, "s") == {"list": [0, 1]}
        assert await state_of(agent_os, "t") == {"list": [0]}


def test_the_definition_does_not_follow_the_callers_dict() -> None:
    given = {"n": 1}
    served = agent(session_state=given)
    given["n"] = 2
    assert served.session_state == {"n": 1}


async def test_the_callers_objects_are_not_changed(db: SqliteDb) -> None:
    def change(session_state: dict[str, Any], metadata: dict[str, Any]) -> None:
        session_state["inner"]["n"] = 2
        metadata["inner"]["n"] = 2

    state, metadata = {"inner": {"n": 1}}, {"inner": {"n": 1}}
    output = await agent(pre_hooks=[change], db=db).arun("hi", session_state=state, metadata=metadata)
    assert output.status is RunStatus.COMPLETED
    assert (state, metadata) == ({"inner": {"n": 1}}, {"inner": {"n": 1}})


async def test_keys_given_with_a_run_are_set_and_kept(db: SqliteDb) -> None:
    served = agent(session_state={"a": 1, "b": 1})
    async with serving(served, db=db) as agent_os:
        await complete(agent_os, served, session_id="s", session_state={"b": 2})
        assert await state_of(agent_os, "s") == {"a": 1, "b": 2}
        await complete(agent_os, served, session_id="s")
        assert await state_of(agent_os, "s") == {"a": 1, "b": 2}


async def test_a_state_can_be_emptied(db: SqliteDb) -> None:
    def empty(session_state: dict[str, Any]) -> None:
        session_state.clear()

    served = agent(session_state={"a": 1}, post_hooks=[empty])
    async with serving(served, db=db) as agent_os:
        await complete(agent_os, served, session_id="s")
        assert await state_of(agent_os, "s") == {}


@pytest.mark.parametrize("outcome", ["rejected", "failed"])
async def test_the_session_is_free_after_every_outcome(outcome: str, db: SqliteDb) -> None:
    def refuse(run_input: Any) -> None:
        if run_input.input_content == "first":
            raise InputCheckError("no")

    served = agent(
        *([RuntimeError("down")] if outcome == "failed" else []),
        "fine",
        pre_hooks=[refuse] if outcome == "rejected" else [],
    )
    async with serving(served, db=db) as agent_os:
        assert (await complete(agent_os, served, "first", session_id="s")).status == outcome
        assert (await complete(agent_os, served, "second", session_id="s")).status is RunStatus.COMPLETED


@pytest.mark.parametrize("background", [False, True], ids=["plain", "a background hook wants it"])
async def test_a_state_that_json_cannot_hold_fails_the_run_clearly(db: SqliteDb, *, background: bool) -> None:
    def spoil(session_state: dict[str, Any], run_input: Any) -> None:
        session_state["n"] = 2
        if run_input.input_content == "spoil":
            session_state["lock"] = threading.Lock()

    @hook(run_in_background=True, on=["completed", "failed"])
    def wants_it(session_state: dict[str, Any]) -> None: ...

    served = agent(session_state={"n": 1}, post_hooks=[spoil, *([wants_it] if background else [])])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served, "spoil", session_id="s")
        assert output.status is RunStatus.FAILED
        assert output.error is not None
        assert "session_state" in output.error.message
        assert await state_of(agent_os, "s") == {"n": 1}
        assert (await complete(agent_os, served, "fine", session_id="s")).status is RunStatus.COMPLETED
        assert await state_of(agent_os, "s") == {"n": 2}


@pytest.mark.parametrize("where", ["metadata", "session_state"])
@pytest.mark.parametrize("bad", [threading.Lock, lambda: float("nan")], ids=["object", "nan"])
async def test_arguments_that_json_cannot_hold_fail_the_run_clearly(where: str, bad: Any, db: SqliteDb) -> None:
    @hook(run_in_background=True)
    def wants_it(session_state: dict[str, Any], metadata: dict[str, Any]) -> None: ...

    served = agent(post_hooks=[wants_it])
    async with serving(served, db=db) as agent_os:
        given: dict[str, Any] = {where: {"x": bad()}}
        output = await complete(agent_os, served, session_id="s", **given)
        assert output.status is RunStatus.FAILED
        assert output.error is not None
        assert where in output.error.message
        assert (await complete(agent_os, served, session_id="s")).status is RunStatus.COMPLETED


async def test_a_definitions_state_that_json_cannot_hold_is_said_clearly(db: SqliteDb) -> None:
    try:
        output = await agent(session_state={"lock": threading.Lock()}, db=db).arun("hi")
    except ConfigurationError as error:
        assert "session_state" in str(error)  # noqa: PT017 - either way is clear
    else:
        assert output.status is RunStatus.FAILED
        assert output.error is not None
        assert "session_state" in output.error.message


async def test_the_ledger_is_asked_once_for_a_free_session(faulty: FaultyDb) -> None:
    served = agent()
    async with serving(served, db=faulty) as agent_os:
        await complete(agent_os, served)
    assert (faulty.calls["lock_session"], faulty.calls["accept_run"], faulty.calls["finish_run"]) == (1, 1, 1)
    assert faulty.calls["unlock_session"] == 0


async def test_two_agents_of_one_ledger_share_a_sessions_state(db: SqliteDb) -> None:
    counting, other = (
        agent(id="a", pre_hooks=[increment]),
        Agent(id="b", model=ScriptedModel("ok"), pre_hooks=[increment]),
    )
    async with serving(counting, other, db=db) as agent_os:
        await complete(agent_os, counting, session_id="s")
        output = await complete(agent_os, other, session_id="s")
        assert await state_of(agent_os, "s") == {"n": 2}
        record = await agent_os.storage.get_run(output.run_id)
        assert record is not None
        assert json.loads(record.document or "")["agent_id"] == "b"
