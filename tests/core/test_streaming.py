"""Readers of a run's events: one order, one terminal event, and no reader that can harm the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from core_support import agent, drained, events_of, eventually, finished, model_of, serving, stored_run
from hookline import (
    EventName,
    InputCheckError,
    ModelError,
    RunEvent,
    RunInput,
    RunOutput,
    RunStatus,
    guardrail,
    hook,
)
from hookline.events import TERMINAL_EVENTS
from hookline.testing import call_tool
from hookline_sql import SqliteDb


def shout(word: str) -> str:
    """Shout a word."""
    return word.upper()


def pre() -> None: ...


def post() -> None: ...


def failing() -> None:
    raise LookupError("with a secret")


def failing_hook() -> Callable[[], None]:
    """One of its own, for a mark stays on a function."""

    def failing() -> None:
        raise LookupError("with a secret")

    return failing


def names(events: list[RunEvent]) -> list[str]:
    return [event.event.value for event in events]


def check_shape(events: list[RunEvent]) -> None:
    """What holds for every run's events."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert len({event.run_id for event in events}) == 1
    assert [event.event in TERMINAL_EVENTS for event in events] == [False] * (len(events) - 1) + [True]


async def test_the_order_of_all_events(db: SqliteDb) -> None:
    background = hook(run_in_background=True, name="background")(post)
    streaming = agent(
        call_tool("shout", word="a"), "one two", tools=[shout], pre_hooks=[pre], post_hooks=[failing, background]
    )
    async with serving(streaming, db=db) as agent_os:
        run = agent_os.start_run(streaming, "hi", stream=True)
        events = await events_of(run)
    check_shape(events)
    assert names(events) == [
        "RunStarted",
        "PreHookStarted",
        "PreHookCompleted",
        "ToolCallStarted",
        "ToolCallCompleted",
        "RunContent",
        "RunContent",
        "PostHookStarted",
        "PostHookFailed",
        "HookScheduled",
        "RunCompleted",
    ]
    assert events[0].data == {"session_id": run.session_id}
    assert events[3].data["name"] == "shout"
    assert json.loads(events[3].data["arguments"]) == {"word": "a"}
    assert events[4].data["result"] == "A"
    assert events[3].data["tool_call_id"] == events[4].data["tool_call_id"]
    assert [event.content for event in events[5:7]] == ["one", " two"]
    assert events[8].data == {"hook": "failing", "error": {"type": "LookupError"}}, "no message, no traceback"
    assert set(events[9].data) == {"hook", "delivery_id"}
    assert events[10].data["run"] == json.loads(run.document)
    assert events[10].to_dict()["event"] == "RunCompleted"


async def test_the_terminal_event_comes_after_commit_2(db: SqliteDb) -> None:
    streaming = agent()
    async with serving(streaming, db=db) as agent_os:
        run = agent_os.start_run(streaming, "hi", stream=True)
        async for event in run.events():
            record = await agent_os.storage.get_run(run.run_id)
            if event.event in TERMINAL_EVENTS:
                assert record is not None
                assert record.status == "completed"
                assert record.document == run.document


def refuse() -> None:
    raise InputCheckError("no")


@pytest.mark.parametrize(
    ("options", "reply", "terminal"),
    [
        ({}, "fine", "RunCompleted"),
        ({"pre_hooks": [refuse]}, "fine", "RunRejected"),
        ({"post_hooks": [refuse]}, "fine", "RunRejected"),
        ({"pre_hooks": [guardrail(failing_hook())]}, "fine", "RunFailed"),
        ({}, ModelError("down"), "RunFailed"),
        ({"post_hooks": [hook(on_error="fail", name="strict")(failing_hook())]}, "fine", "RunFailed"),
        ({"post_hooks": [lambda run_output: setattr(run_output, "content", object())]}, "fine", "RunFailed"),
    ],
    ids=["completed", "rejected", "rejected late", "guard broken", "model down", "strict hook", "content not JSON"],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_exactly_one_terminal_event(
    options: dict[str, Any], reply: Any, terminal: str, db: SqliteDb, *, stream: bool
) -> None:
    served = agent(reply, **options)
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi", stream=stream)
        events = await events_of(run)
        output = await finished(run)
        record = await stored_run(agent_os, run.run_id)
    check_shape(events)
    assert names(events)[-1] == terminal
    assert events[-1].data["run"]["status"] == output.status.value == record.status
    assert json.loads(run.document) == output.to_dict() == json.loads(record.document or "")


async def test_a_run_that_is_not_streamed_has_its_text_in_one_event() -> None:
    served = agent("one two three")
    output = await served.arun("hi")
    assert output.content == "one two three"
    assert model_of(served).requests[0].stream is False
    seen = [event async for event in agent("one two three").arun("hi", stream=True)]
    assert [event.content for event in seen if event.event is EventName.RUN_CONTENT] == ["one", " two", " three"]


async def test_two_readers_and_a_late_one_see_the_same(db: SqliteDb) -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    streaming = agent("one two three", pre_hooks=[wait])
    async with serving(streaming, db=db) as agent_os:
        run = agent_os.start_run(streaming, "hi", stream=True)
        readers = [asyncio.create_task(events_of(run)) for _ in range(2)]
        await asyncio.sleep(0.01)
        gate.set()
        first, second = await asyncio.gather(*readers)
        late = await events_of(run)
    assert first == second == late
    check_shape(first)


async def test_a_reader_that_leaves_ends_nothing(db: SqliteDb) -> None:
    gate = asyncio.Event()
    fired = []

    async def slow(_request: object) -> str:
        await gate.wait()
        return "one two"

    @hook(run_in_background=True)
    def background() -> None:
        fired.append("background")

    streaming = agent(slow, post_hooks=[lambda: fired.append("inline"), background])
    async with serving(streaming, db=db) as agent_os:
        run = agent_os.start_run(streaming, "hi", stream=True)
        reader = run.events()
        assert (await anext(reader)).event is EventName.RUN_STARTED
        await reader.aclose()  # type: ignore[attr-defined]  # it is an async generator
        waiting = asyncio.create_task(events_of(run))
        await asyncio.sleep(0.01)
        waiting.cancel()
        run.hand_over()
        gate.set()
        assert (await finished(run)).status is RunStatus.COMPLETED
        await drained(agent_os)
    assert fired == ["inline", "background"]


async def test_a_slow_reader_does_not_hold_up_the_run(db: SqliteDb) -> None:
    streaming = agent("word " * 500)
    async with serving(streaming, db=db) as agent_os:
        run = agent_os.start_run(streaming, "hi", stream=True)
        reader = run.events()
        await anext(reader)
        await finished(run)
        rest = [event async for event in reader]
    assert rest[-1].event is EventName.RUN_COMPLETED
    assert len(rest) > 500


# standalone


def test_run_with_stream_gives_events_without_a_loop() -> None:
    events = list(agent("one two").run("hi", stream=True))
    check_shape(events)
    assert names(events) == ["RunStarted", "RunContent", "RunContent", "RunCompleted"]
    assert RunOutput.from_dict(events[-1].data["run"]).content == "one two"


def test_leaving_a_streamed_run_does_not_end_it() -> None:
    fired = []
    events = agent("one two three", post_hooks=[lambda: fired.append("post")]).run("hi", stream=True)
    assert next(events).event is EventName.RUN_STARTED
    events.close()  # type: ignore[attr-defined]  # it is a generator
    asyncio.run(eventually(lambda: fired == ["post"]))


async def test_leaving_a_streamed_arun_does_not_end_it() -> None:
    fired = []
    async for _ in agent("one two three", post_hooks=[lambda: fired.append("post")]).arun("hi", stream=True):
        break
    await eventually(lambda: fired == ["post"])


@pytest.mark.filterwarnings("error")
def test_a_streamed_run_that_nobody_reads_warns_of_nothing() -> None:
    events = agent().run("hi", stream=True)
    del events
    coroutine = agent().arun("hi", stream=True)
    del coroutine


async def test_bad_arguments_of_a_streamed_run_raise_at_once() -> None:
    with pytest.raises(ValueError, match="blank"):
        agent().arun(" ", stream=True)


async def test_an_inline_guardrail_rejects_before_any_content(db: SqliteDb) -> None:
    @guardrail
    def no(run_input: RunInput) -> None:
        raise InputCheckError("no", check_trigger="x")

    streaming = agent(pre_hooks=[no])
    async with serving(streaming, db=db) as agent_os:
        run = agent_os.start_run(streaming, "hi", stream=True)
        assert await run.accepted() is False
        assert run.is_finished, "there is an answer to give instead of a stream"
        events = await events_of(run)
    assert names(events) == ["RunStarted", "PreHookStarted", "PreHookFailed", "RunRejected"]
    assert "content_released" not in events[-1].data


async def test_text_that_left_before_a_failure_is_owned_up_to() -> None:
    turn = call_tool("shout", word="a")
    turn.content = "let me see"
    events = [event async for event in agent(turn, ModelError("down"), tools=[shout]).arun("hi", stream=True)]
    assert events[-1].event is EventName.RUN_FAILED
    assert events[-1].data["content_released"] is True
