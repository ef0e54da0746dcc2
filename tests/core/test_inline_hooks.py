"""Inline hooks: their order, what they see, what their errors do, and which outcomes they are called for."""

from __future__ import annotations

import asyncio
import json
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from core_support import agent, complete, finished, model_of, serving, stored_run
from hookline import (
    Agent,
    Delivery,
    InputCheckError,
    Message,
    ModelError,
    RunContext,
    RunInput,
    RunOutput,
    RunStatus,
    Session,
    hook,
    hookimpl,
)
from hookline_sql import SqliteDb


async def test_hooks_get_the_runs_own_objects() -> None:
    seen: dict[str, Any] = {}

    def pre(
        run_input: RunInput,
        run_context: RunContext,
        session_state: dict[str, Any],
        metadata: dict[str, Any],
        dependencies: dict[str, Any],
    ) -> None:
        run_input.input_content += ", please"
        run_context.session_state["pre"] = True
        assert session_state is run_context.session_state
        assert metadata is run_context.metadata
        assert dependencies["clock"] is clock

    async def post(run_output: RunOutput, **everything: Any) -> None:
        seen.update(everything, run_output=run_output)

    clock = object()
    served = agent("fine", pre_hooks=[pre], post_hooks=[post])
    output = await served.arun(
        "hi", session_id="s", user_id="ada", metadata={"k": 1}, dependencies={"clock": clock}, session_state={"n": 1}
    )
    assert model_of(served).requests[0].messages[-1].content == "hi, please"
    assert seen["run_output"] is output
    assert seen["run_input"].input_content == "hi, please"
    assert isinstance(seen["session"], Session)
    assert seen["session"].session_id == "s"
    assert seen["user_id"] == "ada"
    assert seen["session_state"] == {"n": 1, "pre": True}
    assert seen["agent"] is seen["runnable"] is served
    assert seen["debug_mode"] is False
    assert isinstance(seen["delivery"], Delivery)
    assert seen["delivery"].attempt == 1
    assert set(seen) == {
        "run_input", "run_output", "run_context", "runnable", "agent", "session", "user_id", "metadata",
        "session_state", "dependencies", "debug_mode", "delivery",
    }  # fmt: skip


async def test_post_hooks_see_the_final_status_output_and_duration() -> None:
    seen = []

    def look(run_output: RunOutput) -> None:
        seen.append((run_output.status, run_output.content, run_output.metrics.duration, run_output.finished_at))

    output = await agent("fine", post_hooks=[look]).arun("hi")
    assert seen == [("completed", "fine", output.metrics.duration, output.finished_at)]
    assert output.metrics.duration is not None
    assert output.metrics.duration > 0


async def test_an_error_is_recorded_with_its_traceback_and_the_run_goes_on(
    db: SqliteDb, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    def failing_pre() -> None:
        raise LookupError("lost it")

    def failing_post() -> None:
        raise SystemExit(3)

    def later() -> None:
        seen.append("later")

    served = agent("fine", pre_hooks=[failing_pre, later], post_hooks=[failing_post, hook(name="last")(later)])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served)
        record = await stored_run(agent_os, output.run_id)
    assert (output.status, output.content) == (RunStatus.COMPLETED, "fine")
    assert seen == ["later", "later"]
    calls = json.loads(record.hook_calls)
    assert [(call["phase"], call["status"]) for call in calls] == [
        ("pre", "failed"), ("pre", "completed"), ("post", "failed"), ("post", "completed"),
    ]  # fmt: skip
    assert calls[0]["error"]["type"] == "LookupError"
    assert calls[0]["error"]["message"] == "lost it"
    assert 'raise LookupError("lost it")' in calls[0]["error"]["traceback"]
    assert "SystemExit" in calls[2]["error"]["traceback"]
    assert calls[1]["error"] is None
    assert calls[0]["duration"] >= 0
    assert "lost it" in caplog.text


@pytest.mark.parametrize("phase", ["pre_hooks", "post_hooks"])
async def test_on_error_fail_fails_the_run(phase: str) -> None:
    seen = []

    @hook(on_error="fail", name="strict")
    def strict() -> None:
        raise LookupError("lost it")

    def later() -> None:
        seen.append("later")

    output = await agent("fine", **{phase: [strict, later]}).arun("hi")
    assert (output.status, output.reason) == (RunStatus.FAILED, "hook_failed")
    assert output.error is not None
    assert "'strict'" in output.error.message
    assert seen == []


async def test_a_hook_over_its_time_is_recorded_and_the_run_goes_on(db: SqliteDb) -> None:
    release = threading.Event()

    @hook(timeout=0.05)
    def slow() -> None:
        release.wait()

    served = agent("fine", pre_hooks=[slow])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served)
        record = await stored_run(agent_os, output.run_id)
        assert agent_os.abandoned == 1, "its thread is counted until it ends"
        release.set()
    assert output.status is RunStatus.COMPLETED
    (call,) = json.loads(record.hook_calls)
    assert call["error"]["type"] == "HookTimeoutError"


def outcome_hooks(seen: list[tuple[str, str]]) -> list[Any]:
    def make(outcome: str) -> Any:
        @hook(on=outcome, name=f"on {outcome}")
        def called(run_output: RunOutput) -> None:
            seen.append((outcome, run_output.status))

        return called

    def default(run_output: RunOutput) -> None:
        seen.append(("default", run_output.status))

    @hook(on=["completed", "failed", "rejected", "cancelled"])
    def always(run_output: RunOutput) -> None:
        seen.append(("always", run_output.status))

    return [default, *(make(outcome) for outcome in ("completed", "rejected", "failed", "cancelled")), always]


def refuse() -> None:
    raise InputCheckError("no")


@pytest.mark.parametrize("outcome", ["completed", "rejected", "failed", "cancelled"])
@pytest.mark.parametrize("background", [False, True])
async def test_post_hooks_are_called_for_the_outcomes_that_they_name(
    outcome: str, db: SqliteDb, *, background: bool
) -> None:
    seen: list[tuple[str, str]] = []
    begun = asyncio.Event()

    async def hang(_request: object) -> str:
        begun.set()
        await asyncio.Event().wait()
        return ""

    replies: dict[str, Any] = {"failed": ModelError("out of order"), "cancelled": hang}
    served = agent(
        replies.get(outcome, "fine"),
        pre_hooks=[hook(run_in_background=False)(refuse)] if outcome == "rejected" else [],
        post_hooks=outcome_hooks(seen),
    )
    async with serving(served, db=db, run_hooks_in_background=background) as agent_os:
        run = agent_os.start_run(served, "hi")
        if outcome == "cancelled":
            await begun.wait()
            run.cancel()
        output = await finished(run)
        run.hand_over()
        await asyncio.wait_for(agent_os.drain(), 20)
    assert output.status == outcome
    expected = [(outcome, outcome), ("always", outcome)]
    assert seen == ([("default", outcome)] if outcome == "completed" else []) + expected


async def test_a_model_error_that_is_none_of_its_own_fails_the_run_as_one() -> None:
    output = await agent(ZeroDivisionError("in the client")).arun("hi")
    assert (output.status, output.reason) == (RunStatus.FAILED, "model_error")
    assert output.error is not None
    assert "ZeroDivisionError" in output.error.message


_tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


async def test_hooks_can_read_the_callers_context_variables() -> None:
    seen = []

    def sync_hook() -> None:
        seen.append(_tenant.get())

    async def async_hook() -> None:
        seen.append(_tenant.get())

    _tenant.set("ada's company")
    await agent(pre_hooks=[sync_hook], post_hooks=[async_hook]).arun("hi")
    assert seen == ["ada's company"] * 2


async def test_sync_hooks_do_not_run_on_the_loops_thread(db: SqliteDb) -> None:
    seen = []

    def where() -> None:
        seen.append(threading.current_thread())

    @hook(run_in_background=True)
    def later() -> None:
        where()

    served = agent(pre_hooks=[where], post_hooks=[where, later])
    async with serving(served, db=db) as agent_os:
        await complete(agent_os, served)
    assert len(seen) == 3
    assert threading.current_thread() not in seen
    assert all(thread.daemon for thread in seen)


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("phase", ["pre_hooks", "post_hooks"])
async def test_an_exception_that_cannot_be_printed_is_recorded_like_any_other(phase: str) -> None:
    def failing() -> None:
        raise UnprintableError

    output = await agent("fine", **{phase: [failing]}).arun("hi")
    assert output.status is RunStatus.COMPLETED


async def test_blocked_hooks_do_not_block_others_for_ever(db: SqliteDb) -> None:
    """Inline hooks, tools and deliveries have limits of their own."""
    release = threading.Event()

    @hook(run_in_background=True, timeout=0.05, retries=0)
    def stuck() -> None:
        release.wait()

    def quick() -> None: ...

    served = agent(pre_hooks=[quick], post_hooks=[stuck], tools=[])
    try:
        async with serving(served, db=db, settings={"delivery_threads": 1, "hook_threads": 1}) as agent_os:
            for _ in range(3):
                assert (await complete(agent_os, served)).status is RunStatus.COMPLETED
            assert agent_os.abandoned >= 1
    finally:
        release.set()


# what a hook puts into the run


@pytest.mark.parametrize("nonsense", ["status", "messages", "content", "metadata", "replaced metadata", "metrics"])
async def test_nonsense_from_a_hook_fails_the_run_clearly_and_frees_the_session(nonsense: str, db: SqliteDb) -> None:
    def spoil(run_output: RunOutput, run_context: RunContext) -> None:
        if nonsense == "status":
            run_output.status = "completed"  # type: ignore[assignment]  # what a user may get wrong
        elif nonsense == "messages":
            run_output.messages.append({"role": "assistant"})  # type: ignore[arg-type]  # the same
        elif nonsense == "content":
            run_output.content = object()
        elif nonsense == "metadata":
            run_context.metadata["x"] = object()
        elif nonsense == "replaced metadata":
            run_context.metadata = {"x": object()}
        else:
            run_output.metrics = None  # type: ignore[assignment]  # the same

    spoiling = agent(post_hooks=[spoil], id="spoiling")
    fine = agent(id="fine")
    async with serving(spoiling, fine, db=db) as agent_os:
        run = agent_os.start_run(spoiling, "hi", session_id="s")
        output = await finished(run)
        assert output.status in {RunStatus.FAILED, RunStatus.COMPLETED}
        record = await stored_run(agent_os, run.run_id)
        assert record.status == output.status
        following = await finished(agent_os.start_run(fine, "hi", session_id="s"))
        assert following.status is RunStatus.COMPLETED


async def test_server_hooks_and_plugins_fire_in_their_order(db: SqliteDb) -> None:
    seen: list[str] = []

    def note(name: str) -> Any:
        @hook(name=name)
        def called() -> None:
            seen.append(name)

        return called

    class Plug:
        @hookimpl
        def pre_run(self) -> None:
            seen.append("plugin pre")

        @hookimpl
        async def post_run(self) -> None:
            seen.append("plugin post")

    served = agent(pre_hooks=[note("own pre")], post_hooks=[note("own post")])
    async with serving(
        served, db=db, pre_hooks=[note("server pre")], post_hooks=[note("server post")], plugins=[Plug()]
    ) as agent_os:
        await complete(agent_os, served)
    assert seen == ["plugin pre", "server pre", "own pre", "own post", "server post", "plugin post"]


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, asyncio.CancelledError])
@pytest.mark.parametrize("point", ["run_event", "schedule_background", "pre_model", "delivery_finished"])
async def test_a_plugins_points_never_end_the_loop_nor_the_run(
    point: str, error: type[BaseException], db: SqliteDb
) -> None:
    calls = []

    def broken(self: object) -> None:
        calls.append(point)
        raise error("on purpose")

    plug = type("Plug", (), {point: hookimpl(broken)})()

    @hook(run_in_background=True)
    def background() -> None:
        calls.append("background")

    served = agent(post_hooks=[background])
    async with serving(served, db=db, plugins=[plug]) as agent_os:
        output = await complete(agent_os, served)
        assert output.status is RunStatus.COMPLETED
    assert point in calls
    assert "background" in calls


async def test_outside_an_agent_os_only_the_agents_own_hooks_run(db: SqliteDb) -> None:
    seen = []

    def server_hook() -> None:
        seen.append("server")

    served: Agent = agent()
    async with serving(served, db=db, pre_hooks=[server_hook]) as agent_os:
        await served.arun("hi")
        assert seen == []
        await complete(agent_os, served)
        assert seen == ["server"]


async def test_a_hook_may_add_messages_of_the_right_kind() -> None:
    def add(run_output: RunOutput) -> None:
        run_output.messages.append(Message("assistant", "by the way"))

    output = await agent("fine", post_hooks=[add]).arun("hi")
    assert [message.content for message in output.messages] == ["hi", "fine", "by the way"]
