"""Agents: what the model is asked, tools, turns, output schemas, history, and what goes along with a run."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from core_support import agent, model_of
from hookline import (
    Agent,
    ConfigurationError,
    EventName,
    InputCheckError,
    Message,
    ModelError,
    ModelResponse,
    RunContext,
    RunningLoopError,
    RunNotCompletedError,
    RunStatus,
    Usage,
    tool,
)
from hookline.agent import MARKDOWN
from hookline.testing import ScriptedModel, call_tool
from hookline_sql import SqliteDb


def messages_asked(served: Agent, turn: int = -1) -> list[tuple[str, str | None]]:
    return [(message.role, message.content) for message in model_of(served).requests[turn].messages]


# what the model is asked


async def test_the_system_message() -> None:
    served = agent("a", "b", description="A cook.", instructions=["Be short.", "Be kind."], markdown=True)
    await served.arun("hi")
    assert messages_asked(served) == [
        ("system", f"A cook.\n\n- Be short.\n- Be kind.\n\n{MARKDOWN}"),
        ("user", "hi"),
    ]


async def test_without_instructions_there_is_no_system_message() -> None:
    served = agent(retries=4)
    await served.arun("hi")
    assert messages_asked(served) == [("user", "hi")]
    assert model_of(served).requests[0].retries == 4
    assert model_of(served).requests[0].stream is False


async def test_the_output_bears_what_was_said_and_what_it_cost() -> None:
    response = ModelResponse(Message("assistant", "fine"), Usage(3, 4, 7))
    output = await agent(response).arun("hi", session_id="s", user_id="ada", metadata={"k": "v"})
    assert [(message.role, message.content) for message in output.messages] == [("user", "hi"), ("assistant", "fine")]
    metrics = output.metrics
    assert (metrics.input_tokens, metrics.output_tokens, metrics.total_tokens) == (3, 4, 7)
    assert metrics.duration is not None
    assert metrics.time_to_first_token is not None
    assert 0 < metrics.time_to_first_token <= metrics.duration
    assert (output.session_id, output.user_id, output.metadata, output.agent_id) == ("s", "ada", {"k": "v"}, "a")
    assert output.finished_at is not None
    assert output.raise_for_status() is output
    assert json.loads(json.dumps(output.to_dict()))["status"] == "completed"


async def test_a_failed_model_fails_the_run_and_raises_nothing_by_itself() -> None:
    output = await agent(ModelError("unreachable", status_code=503)).arun("hi")
    assert (output.status, output.reason, output.content) == (RunStatus.FAILED, "model_error", None)
    assert output.error is not None
    assert (output.error.type, output.error.message) == ("Model", "unreachable")
    with pytest.raises(RunNotCompletedError, match="unreachable"):
        output.raise_for_status()


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, TimeoutError])
async def test_a_model_that_raises_what_no_model_may_fails_the_run(error: type[BaseException], db: SqliteDb) -> None:
    served = agent(error("a bug in the client"), "fine", db=db)
    output = await asyncio.wait_for(served.arun("hi", session_id="s"), 10)
    assert (output.status, output.reason) == (RunStatus.FAILED, "model_error")
    following = await asyncio.wait_for(served.arun("hi", session_id="s"), 10)
    assert following.status is RunStatus.COMPLETED


async def test_a_model_text_is_looked_up_by_an_agent_os_only() -> None:
    with pytest.raises(ConfigurationError, match="looked up by an AgentOS"):
        await agent(model="openai:gpt-4o-mini").arun("hi")


@pytest.mark.parametrize(
    ("given", "error"), [("", ValueError), ("  \n", ValueError), (None, TypeError), (3, TypeError)]
)
async def test_bad_input_is_refused_at_once(given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="input"):
        await agent().arun(given)


@pytest.mark.parametrize("argument", ["metadata", "dependencies", "session_state"])
async def test_bad_arguments_are_named(argument: str) -> None:
    with pytest.raises(TypeError, match=argument):
        await agent().arun("hi", **{argument: ["a"]})  # type: ignore[call-overload]  # what a user may get wrong


# run() and arun()


def test_run_works_without_a_loop_and_again() -> None:
    served = agent("one", "two")
    assert [served.run("hi").content, served.run("hi").content] == ["one", "two"]


async def test_run_inside_a_running_loop_names_arun() -> None:
    served = agent()
    with pytest.raises(RunningLoopError, match=r"arun\(\)"):
        served.run("hi")
    with pytest.raises(RunningLoopError, match=r"arun\(\)"):
        served.run("hi", stream=True)
    assert model_of(served).requests == []


def test_run_works_in_many_threads_at_once() -> None:
    served = agent()
    contents: list[Any] = []
    threads = [threading.Thread(target=lambda: contents.append(served.run("hi").content)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert contents == ["fine"] * 8


def test_one_agent_runs_on_many_loops_one_after_the_other() -> None:
    served = agent()

    async def once() -> Any:
        return (await served.arun("hi")).content

    assert [asyncio.run(once()), served.run("hi").content, asyncio.run(once())] == ["fine"] * 3


async def test_a_model_is_opened_once_also_when_many_runs_come_at_once() -> None:
    class Counting(ScriptedModel):
        opened = 0

        def open(self) -> None:
            self.opened += 1

    model = Counting("fine", repeat=True)
    served = agent(model=model)
    await asyncio.gather(*(served.arun("hi") for _ in range(5)))
    assert model.opened == 1


# tools


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_a_tools_answer_goes_back_to_the_model() -> None:
    served = agent(call_tool("add", a=1, b=2), "3", tools=[add])
    output = await served.arun("1 + 2?")
    assert output.content == "3"
    assert messages_asked(served)[-1] == ("tool", "3")
    called, answer = output.messages[1:3]
    assert called.tool_calls is not None
    assert answer.tool_call_id == called.tool_calls[0].id
    assert [definition.name for definition in model_of(served).requests[0].tools] == ["add"]


async def test_tools_of_one_turn_run_side_by_side_and_answer_in_order() -> None:
    meeting = threading.Barrier(2, timeout=10)
    both_begun = asyncio.Event()

    def sync_one() -> str:
        meeting.wait()
        return "sync one"

    def sync_two() -> str:
        meeting.wait()
        return "sync two"

    async def first() -> str:
        await asyncio.wait_for(both_begun.wait(), 10)
        return "first"

    async def second() -> str:
        both_begun.set()
        return "second"

    names = ["sync_one", "sync_two", "first", "second"]
    calls = Message("assistant", tool_calls=[call for name in names for call in call_tool(name).tool_calls or []])
    served = agent(calls, "done", tools=[sync_one, sync_two, first, second])
    output = await served.arun("go")
    assert [content for role, content in messages_asked(served) if role == "tool"] == [
        "sync one", "sync two", "first", "second",
    ]  # fmt: skip
    assert output.content == "done"


def explode() -> None:
    """Fail."""
    raise LookupError("nothing there")


def leave() -> None:
    """Leave."""
    raise SystemExit(3)


def refuse() -> None:
    """Refuse."""
    raise InputCheckError("a tool is no guard")


def unspeakable() -> object:
    """Give what JSON cannot hold."""
    return object()


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (call_tool("explode"), "LookupError: nothing there"),
        (call_tool("leave"), "SystemExit"),
        (call_tool("refuse"), "a tool is no guard"),
        (call_tool("unspeakable"), "JSON has no form"),
        (call_tool("missing"), "there is no tool 'missing'; there is add, explode"),
        (call_tool("add", a=1), "b"),
        (call_tool("add", a=1, b="x"), "b"),
        (call_tool("add", a=1, b=2, c=3), "c"),
    ],
    ids=["raises", "exits", "check error", "unspeakable", "unknown", "missing", "wrong type", "extra"],
)
async def test_what_goes_wrong_in_a_tool_is_told_to_the_model(call: Message, answer: str) -> None:
    served = agent(call, "sorry", tools=[add, explode, leave, refuse, unspeakable])
    events = [event async for event in served.arun("go", stream=True)]
    role, told = messages_asked(served)[-1]
    assert role == "tool"
    assert told is not None
    assert told.startswith("Error: ")
    assert answer in told
    assert events[-1].event is EventName.RUN_COMPLETED
    failed = [event for event in events if event.event is EventName.TOOL_CALL_FAILED]
    assert len(failed) == 1


async def test_broken_json_from_the_model_is_told_to_the_model() -> None:
    call = call_tool("add")
    assert call.tool_calls is not None
    call.tool_calls[0].arguments = '{"a": 1,'
    served = agent(call, "sorry", tools=[add])
    assert (await served.arun("go")).content == "sorry"
    assert "not valid JSON" in (messages_asked(served)[-1][1] or "")


async def test_a_tool_gets_the_run_context_and_may_change_the_state(db: SqliteDb) -> None:
    def remember(word: str, run_context: RunContext, agent: Agent) -> str:
        run_context.session_state["word"] = word
        return f"{agent.id} has it"

    served = agent(call_tool("remember", word="blue"), "ok", "ok", tools=[remember], db=db)
    await served.arun("remember blue", session_id="s")
    assert messages_asked(served)[-1] == ("tool", "a has it")
    seen = []
    served.pre_hooks = (lambda session_state: seen.append(dict(session_state)),)
    again = Agent(id="a", model=ScriptedModel("ok"), db=db, pre_hooks=list(served.pre_hooks))
    await again.arun("and?", session_id="s")
    assert seen == [{"word": "blue"}]


async def test_sync_tools_do_not_run_on_the_loops_thread() -> None:
    where = []

    def look() -> str:
        where.append(threading.current_thread())
        return "seen"

    await agent(call_tool("look"), "ok", tools=[look]).arun("go")
    assert where != [threading.current_thread()]


async def test_too_many_turns_fail_the_run() -> None:
    served = agent(model=ScriptedModel(call_tool("add", a=1, b=1), repeat=True), tools=[add], max_turns=3)
    output = await served.arun("go")
    assert (output.status, output.reason) == (RunStatus.FAILED, "model_error")
    assert output.error is not None
    assert "max_turns" in output.error.message
    assert len(model_of(served).requests) == 3


# output schemas


@dataclass
class City:
    name: str
    people: int


async def test_an_output_schema_makes_plain_data() -> None:
    served = agent('{"name": "Ulm", "people": 130000}', output_schema=City)
    output = await served.arun("a city?")
    assert output.content == {"name": "Ulm", "people": 130000}
    schema = model_of(served).requests[0].output_schema
    assert schema is not None
    assert schema["title"] == "City"
    assert set(schema["properties"]) == {"name", "people"}


@pytest.mark.parametrize("answer", ["Ulm", '{"name": "Ulm"}', ""])
async def test_an_answer_that_does_not_follow_the_schema_fails_the_run(answer: str) -> None:
    output = await agent(answer, output_schema=City).arun("a city?")
    assert (output.status, output.reason, output.content) == (RunStatus.FAILED, "model_error", None)
    assert output.error is not None
    assert "output_schema" in output.error.message


async def test_an_empty_answer_is_an_answer() -> None:
    output = await agent(Message("assistant", "")).arun("hi")
    assert (output.status, output.content) == (RunStatus.COMPLETED, "")


# history


async def test_history_is_the_latest_completed_runs_of_this_agent_and_session(db: SqliteDb) -> None:
    def no_bad_words(run_input: Any) -> None:
        if "bad" in run_input.input_content:
            raise InputCheckError("no")

    options: dict[str, Any] = {"db": db, "add_history_to_context": True, "num_history_runs": 2}
    served = agent(
        "1", "2", ModelError("down"), "3", "4", pre_hooks=[no_bad_words], instructions="Be short.", **options
    )
    other = agent("other", id="other", **options)
    for text in ("one", "two", "failing", "bad", "three"):
        await served.arun(text, session_id="s")
    await other.arun("other agent", session_id="s")
    await other.arun("other session", session_id="t")
    await served.arun("four", session_id="s")
    assert messages_asked(served) == [
        ("system", "Be short."),
        ("user", "two"),
        ("assistant", "2"),
        ("user", "three"),
        ("assistant", "3"),
        ("user", "four"),
    ]


async def test_history_has_tool_calls_but_the_output_has_only_this_run(db: SqliteDb) -> None:
    served = agent(call_tool("add", a=1, b=2), "3", "yes", tools=[add], db=db, add_history_to_context=True)
    await served.arun("1 + 2?", session_id="s")
    output = await served.arun("sure?", session_id="s")
    assert [role for role, _ in messages_asked(served)] == ["user", "assistant", "tool", "assistant", "user"]
    assert model_of(served).requests[-1].messages[1].tool_calls is not None
    assert [message.content for message in output.messages] == ["sure?", "yes"]


async def test_without_the_switch_there_is_no_history(db: SqliteDb) -> None:
    served = agent("1", "2", db=db)
    await served.arun("one", session_id="s")
    await served.arun("two", session_id="s")
    assert messages_asked(served) == [("user", "two")]
