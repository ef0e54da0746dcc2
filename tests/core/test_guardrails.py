"""Guardrails: they reject, they fail closed on every path, and what they withhold is nowhere."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from core_support import agent, events_of, finished, model_of, serving, stored_run
from hookline import (
    Agent,
    Guardrail,
    InputCheckError,
    ModelError,
    OutputCheckError,
    RunInput,
    RunNotCompletedError,
    RunOutput,
    RunStatus,
    guardrail,
)
from hookline.testing import call_tool
from hookline_sql import SqliteDb

SECRET = "the magic word is xyzzy"  # noqa: S105 - what a guard withholds, and no password

Way = Callable[..., RunOutput]


def run_sync(agent: Agent, **options: Any) -> RunOutput:
    output: RunOutput = agent.run("hi", **options)
    return output


def run_async(agent: Agent, **options: Any) -> RunOutput:
    return asyncio.run(_arun(agent, **options))


def run_after_arun(agent: Agent, **options: Any) -> RunOutput:
    run_async(agent, **options)
    return run_sync(agent, **options)


def run_streaming(agent: Agent, **options: Any) -> RunOutput:
    *_, last = agent.run("hi", stream=True, **options)
    return RunOutput.from_dict(last.data["run"])


async def _arun(agent: Agent, **options: Any) -> RunOutput:
    output: RunOutput = await agent.arun("hi", **options)
    return output


WAYS = [run_sync, run_async, run_after_arun, run_streaming]


def guard_of(kind: str, body: Callable[[], None]) -> Any:
    """A guardrail of each kind that a user may write."""

    def sync_guard() -> None:
        body()

    async def async_guard() -> None:
        await asyncio.sleep(0)
        body()

    class Checker(Guardrail):
        def check(self) -> None:
            body()

    class AsyncChecker(Guardrail):
        async def check(self) -> None:
            body()

    class AsyncObject:
        async def __call__(self) -> None:
            body()

    kinds: dict[str, Callable[[], Any]] = {
        "sync": lambda: guardrail(sync_guard),
        "async": lambda: guardrail(async_guard),
        "class": Checker,
        "async class": AsyncChecker,
        "async object": lambda: guardrail(AsyncObject()),
    }
    return kinds[kind]()


KINDS = ["sync", "async", "class", "async class", "async object"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_input_guardrail_rejects_on_every_path(kind: str, way: Way) -> None:
    def body() -> None:
        raise InputCheckError("no", check_trigger="rule-7")

    rejecting = agent(pre_hooks=[guard_of(kind, body)])
    output = way(rejecting)
    assert output.status is RunStatus.REJECTED
    assert output.reason == "rule-7"
    assert model_of(rejecting).requests == [], "the model was never asked"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phase", ["pre_hooks", "post_hooks"])
@pytest.mark.parametrize("error", [ConnectionError, SystemExit, asyncio.CancelledError, StopIteration])
def test_a_guardrail_that_breaks_fails_the_run(phase: str, kind: str, error: type[BaseException], way: Way) -> None:
    def body() -> None:
        raise error("the backend is down")

    output = way(agent(SECRET, SECRET, **{phase: [guard_of(kind, body)]}))
    assert output.status is RunStatus.FAILED
    assert output.reason == "guardrail_failed"
    assert output.content is None
    assert SECRET not in json.dumps(output.to_dict())
    with pytest.raises(RunNotCompletedError):
        output.raise_for_status()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("phase", ["pre_hooks", "post_hooks"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_guardrail_over_its_time_fails_the_run(kind: str, phase: str, way: Way) -> None:
    release = threading.Event()

    @guardrail(name="slow", timeout=0.05)
    def sync_guard() -> None:
        release.wait()

    @guardrail(name="slow", timeout=0.05)
    async def async_guard() -> None:
        await asyncio.Event().wait()

    try:
        output = way(agent(SECRET, SECRET, **{phase: [sync_guard if kind == "sync" else async_guard]}))
    finally:
        release.set()
    assert (output.status, output.reason) == (RunStatus.FAILED, "guardrail_failed")
    assert output.error is not None
    assert "'slow'" in output.error.message
    assert output.content is None


def test_a_guardrail_that_passes_lets_the_answer_through() -> None:
    output = run_sync(
        agent("fine", pre_hooks=[guard_of("sync", lambda: None)], post_hooks=[guard_of("async", lambda: None)])
    )
    assert (output.status, output.content) == (RunStatus.COMPLETED, "fine")


@guardrail
def no_secrets(run_output: RunOutput) -> None:
    if "xyzzy" in str(run_output.content):
        raise OutputCheckError("it has the word", check_trigger="secret")


async def test_a_withheld_answer_is_nowhere(db: SqliteDb) -> None:
    speaking = agent(call_tool("spell", word="xyzzy"), SECRET, tools=[spell], post_hooks=[no_secrets])
    async with serving(speaking, db=db) as agent_os:
        run = agent_os.start_run(speaking, "tell me", stream=True)
        events = await events_of(run)
        output = await finished(run)
        record = await stored_run(agent_os, run.run_id)
    assert output.status is RunStatus.REJECTED
    assert output.reason == "secret"
    assert output.content is None
    assert [message.role for message in output.messages] == ["user"]
    for text in (json.dumps([event.to_dict() for event in events]), run.document, json.dumps(output.to_dict())):
        assert "xyzzy" not in text
        assert "it has the word" not in text
    for stored in (record.document, record.input, record.metadata, record.snapshot):
        assert "xyzzy" not in str(stored)
    assert run.rejection is not None
    assert (run.rejection.hook, run.rejection.check_trigger) == ("no_secrets", "secret")
    assert "content_released" not in events[-1].data


def spell(word: str) -> str:
    """Spell a word."""
    return f"{word}!"


async def test_an_answer_that_a_broken_guard_did_not_pass_is_nowhere(db: SqliteDb) -> None:
    @guardrail
    def broken(run_output: RunOutput) -> None:
        raise ValueError(f"cannot judge {run_output.content}")

    speaking = agent(SECRET, post_hooks=[broken])
    async with serving(speaking, db=db) as agent_os:
        run = agent_os.start_run(speaking, "tell me", stream=True)
        events = await events_of(run)
        await finished(run)
        record = await stored_run(agent_os, run.run_id)
    for text in (run.document, json.dumps([event.to_dict() for event in events]), str(record.document)):
        assert "xyzzy" not in text


@pytest.mark.parametrize("ending", ["model error", "too many turns"])
async def test_a_run_that_fails_before_its_guard_shows_nothing_unchecked(ending: str, db: SqliteDb) -> None:
    """What the model said in earlier turns was never passed by the guard."""
    turn = call_tool("spell", word="xyzzy")
    turn.content = SECRET
    speaking = agent(
        turn,
        ModelError("out of order") if ending == "model error" else turn,
        tools=[spell],
        post_hooks=[no_secrets],
        max_turns=2 if ending == "model error" else 1,
    )
    async with serving(speaking, db=db) as agent_os:
        run = agent_os.start_run(speaking, "tell me", stream=True)
        events = await events_of(run)
        output = await finished(run)
        record = await stored_run(agent_os, run.run_id)
    assert (output.status, output.reason) == (RunStatus.FAILED, "model_error")
    assert "xyzzy" not in run.document
    assert "xyzzy" not in json.dumps([event.to_dict() for event in events])
    assert "xyzzy" not in str(record.document)


@pytest.mark.parametrize("while_in", ["guard", "tool"])
async def test_a_run_cancelled_before_its_guard_has_passed_shows_nothing_unchecked(while_in: str, db: SqliteDb) -> None:
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    @guardrail
    async def hanging() -> None:
        await hang()

    async def hang_tool() -> str:
        await hang()
        return ""

    turn = call_tool("hang_tool")
    turn.content = SECRET
    replies = [SECRET] if while_in == "guard" else [turn, "never"]
    speaking = agent(*replies, tools=[hang_tool], post_hooks=[hanging])
    async with serving(speaking, db=db) as agent_os:
        run = agent_os.start_run(speaking, "tell me", stream=True)
        await asyncio.wait_for(begun.wait(), 10)
        assert run.cancel()
        output = await finished(run)
        events = await events_of(run)
        record = await stored_run(agent_os, run.run_id)
    assert output.status is RunStatus.CANCELLED
    assert output.content is None
    assert "xyzzy" not in run.document
    assert "xyzzy" not in json.dumps([event.to_dict() for event in events])
    assert "xyzzy" not in str(record.document)


async def test_the_rejected_input_is_not_stored_unless_a_setting_says_so(db: SqliteDb) -> None:
    @guardrail
    def refuse(run_input: RunInput) -> None:
        raise InputCheckError(f"bad input: {len(run_input.input_content)}")

    refusing = agent(pre_hooks=[refuse])
    for setting, stored in ((False, None), (True, SECRET)):
        async with serving(refusing, db=db, settings={"store_rejected_input": setting}) as agent_os:
            run = agent_os.start_run(refusing, SECRET)
            assert await run.accepted() is False
            await finished(run)
            record = await stored_run(agent_os, run.run_id)
        assert record.input == stored
        assert SECRET not in str(record.document)
        assert SECRET not in run.document
        assert record.status == "rejected"
