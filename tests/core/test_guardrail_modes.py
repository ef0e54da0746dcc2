"""Guardrails that observe or are off: what they find is written down, and the run is as if they were not there."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from collections.abc import Callable
from enum import Enum
from typing import Any, cast

import pytest

from core_support import agent, complete, events_of, finished, serving, stored_run
from hookline import (
    Agent,
    Guardrail,
    InputCheckError,
    OutputCheckError,
    RunInput,
    RunOutput,
    RunStatus,
    guardrail,
    hook,
)
from hookline.jsontext import loads
from hookline.testing import call_tool
from hookline_sql import SqliteDb


def rejecting_input(run_input: RunInput) -> None:
    raise InputCheckError("no", check_trigger="rule-7", additional_data={"score": 9})


def rejecting_output(run_output: RunOutput) -> None:
    raise OutputCheckError("no", check_trigger="rule-8")


def crashing() -> None:
    raise ConnectionError("the backend is down")


def ending_the_process() -> None:
    raise SystemExit(3)


def guard(body: Callable[..., None], *, name: str = "g", **options: Any) -> Any:
    """A guardrail, its body unmarked."""
    return guardrail(name=name, **options)(functools.partial(body))


def run_sync(served: Agent) -> RunOutput:
    output: RunOutput = served.run("hi")
    return output


def run_async(served: Agent) -> RunOutput:
    return asyncio.run(_arun(served))


def run_streaming(served: Agent) -> RunOutput:
    *_, last = served.run("hi", stream=True)
    return RunOutput.from_dict(last.data["run"])


async def _arun(served: Agent) -> RunOutput:
    output: RunOutput = await served.arun("hi")
    return output


@pytest.mark.parametrize("way", [run_sync, run_async, run_streaming])
@pytest.mark.parametrize("mode", ["observe", "off"])
@pytest.mark.parametrize(
    ("phase", "body"),
    [
        ("pre", rejecting_input),
        ("post", rejecting_output),
        ("pre", crashing),
        ("post", crashing),
        ("pre", ending_the_process),
        ("post", ending_the_process),
    ],
)
def test_the_run_passes_on_every_path(
    phase: str, body: Callable[..., None], mode: Any, way: Callable[[Agent], RunOutput]
) -> None:
    guarded = agent(**{f"{phase}_hooks": [guard(body, mode=mode)]})
    output = way(guarded)
    assert (output.status, output.content, output.reason, output.error) == (RunStatus.COMPLETED, "fine", None, None)


class Watcher(Guardrail):
    name = "watcher"
    mode = "observe"

    async def check(self, run_input: RunInput) -> None:
        rejecting_input(run_input)


async def test_what_an_observing_guardrail_finds_is_written_down(
    db: SqliteDb, caplog: pytest.LogCaptureFixture
) -> None:
    served = agent(
        pre_hooks=[
            Watcher(),
            guard(lambda: None, name="passing", mode="observe"),
            guard(lambda: None, name="strict"),
        ],
        post_hooks=[
            guard(rejecting_output, name="rejecting", mode="observe"),
            guard(crashing, name="crashing", mode="observe"),
            guard(crashing, name="off", mode="off"),
            plain,
        ],
    )
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served)
        calls = loads((await stored_run(agent_os, output.run_id)).hook_calls)
    assert output.status is RunStatus.COMPLETED
    found = [
        (call["hook"], call["status"], call["guardrail_mode"], (call["error"] or {}).get("type")) for call in calls
    ]
    assert found == [
        ("watcher", "rejected", "observe", "InputCheckError"),
        ("passing", "completed", "observe", None),
        ("strict", "completed", "enforce", None),
        ("rejecting", "rejected", "observe", "OutputCheckError"),
        ("crashing", "failed", "observe", "ConnectionError"),
        ("plain", "completed", None, None),
    ]
    assert calls[0]["details"] == {"check_trigger": "rule-7", "additional_data": {"score": 9}}
    assert calls[0]["error"]["message"] == "no"
    told = [record for record in caplog.records if record.name == "hookline.hooks"]
    assert [(record.levelname, record.getMessage()) for record in told] == [
        ("WARNING", f"guardrail 'watcher' only observes: it would have rejected run {output.run_id} (rule-7)"),
        ("WARNING", f"guardrail 'rejecting' only observes: it would have rejected run {output.run_id} (rule-8)"),
        ("WARNING", "post-hook 'crashing' failed: ConnectionError: the backend is down"),
    ]
    assert told[0].__dict__["hook"] == "watcher"


@hook(name="plain")
def plain() -> None: ...


@pytest.mark.parametrize("phase", ["pre", "post"])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_timeout_is_written_down_too(kind: str, phase: str, db: SqliteDb) -> None:
    release = threading.Event()

    @guardrail(name="slow", timeout=0.05, mode="observe")
    def slow() -> None:
        release.wait(20)

    @guardrail(name="slow", timeout=0.05, mode="observe")
    async def slow_async() -> None:
        await asyncio.Event().wait()

    served = agent(**{f"{phase}_hooks": [slow if kind == "sync" else slow_async]})
    try:
        async with serving(served, db=db) as agent_os:
            output = await complete(agent_os, served)
            (call,) = loads((await stored_run(agent_os, output.run_id)).hook_calls)
    finally:
        release.set()
    assert output.status is RunStatus.COMPLETED
    assert (call["status"], call["guardrail_mode"], call["error"]["type"]) == ("failed", "observe", "HookTimeoutError")


# streams


async def test_a_stream_is_not_held_for_an_observing_guardrail(db: SqliteDb) -> None:
    """The text is there before the guard has looked at it."""
    begun, release = asyncio.Event(), asyncio.Event()

    @guardrail(mode="observe")
    async def patient(run_output: RunOutput) -> None:
        begun.set()
        await release.wait()
        raise OutputCheckError("no")

    served = agent(post_hooks=[patient])
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi", stream=True)
        await asyncio.wait_for(begun.wait(), 10)
        text = ""
        async for event in run.events():
            text += event.data.get("content", "")
            if event.event == "PostHookStarted":
                break
        assert text == "fine"
        release.set()
        events = await events_of(run)
    names = [event.event for event in events]
    assert names[-2:] == ["PostHookFailed", "RunCompleted"]
    assert events[-2].data["guardrail_mode"] == "observe"
    assert events[-2].data["error"] == {"type": "OutputCheckError"}
    assert "content_released" not in events[-1].data


async def test_a_stream_is_held_while_another_guardrail_enforces(db: SqliteDb) -> None:
    served = agent(
        post_hooks=[
            guard(rejecting_output, name="watching", mode="observe"),
            guard(rejecting_output, name="strict"),
        ]
    )
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi", stream=True)
        events = await events_of(run)
        output = await finished(run)
    assert (output.status, output.reason) == (RunStatus.REJECTED, "rule-8")
    assert run.rejection is not None
    assert run.rejection.hook == "strict"
    assert "fine" not in json.dumps([event.to_dict() for event in events])


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_a_run_that_fails_keeps_what_it_had_as_without_the_guardrail(mode: Any, db: SqliteDb) -> None:
    def failing() -> None:
        raise ValueError("no")

    hooks: dict[str, Any] = {"tools": [failing], "max_turns": 1}
    turn = call_tool("failing")
    turn.content = "let me see"
    served = agent(turn, post_hooks=[guard(plain, mode=mode)], **hooks)
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served)
    assert output.status is RunStatus.FAILED
    assert [message.role for message in output.messages] != ["user"]


# what it changes


async def test_what_an_observing_guardrail_changes_is_undone(db: SqliteDb) -> None:
    @guardrail(mode="observe")
    def redact_input(run_input: RunInput) -> None:
        run_input.input_content = "***"

    @guardrail(mode="observe")
    def redact_output(run_output: RunOutput) -> None:
        run_output.content = "***"
        raise OutputCheckError("redacted")

    served = agent(pre_hooks=[redact_input], post_hooks=[redact_output])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served, "my secret")
        record = await stored_run(agent_os, output.run_id)
    assert (output.content, record.input) == ("fine", "my secret")
    assert "***" not in str(record.document)


async def test_an_observing_guardrail_looks_again_at_a_changed_input(db: SqliteDb) -> None:
    seen: list[str] = []

    @guardrail(mode="observe")
    def watch(run_input: RunInput) -> None:
        seen.append(run_input.input_content)
        raise InputCheckError("no")

    def change(run_input: RunInput) -> None:
        run_input.input_content += "!"

    served = agent(pre_hooks=[watch, change])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served, "hi")
    assert output.status is RunStatus.COMPLETED
    assert seen == ["hi", "hi!"]


async def test_guardrails_that_keep_changing_the_input_name_one_that_enforces(db: SqliteDb) -> None:
    @guardrail(name="grows")
    def grow(run_input: RunInput) -> None:
        run_input.input_content += "!"

    served = agent(pre_hooks=[grow, guard(plain, name="watches", mode="observe")])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served)
    assert (output.status, output.reason) == (RunStatus.FAILED, "guardrail_failed")
    assert output.error is not None
    assert "'grows'" in output.error.message


class Rule(Enum):
    """Rules, as many a guard library has them."""

    INJECTION = "injection"


class BareError(InputCheckError):
    def __init__(self) -> None:  # and no more
        Exception.__init__(self, "bare")


@pytest.mark.parametrize("mode", ["observe", "enforce"])
@pytest.mark.parametrize(
    ("raised", "trigger"),
    [
        (lambda: InputCheckError("no", check_trigger=Rule.INJECTION), "injection"),
        (lambda: InputCheckError("no", check_trigger=cast("str", 7)), "7"),
        (lambda: InputCheckError("\ud800\x00", check_trigger="\ud800\x00"), "\\ud800\\x00"),
        (lambda: InputCheckError("no", additional_data={"\ud800": object()}), None),
        (BareError, None),
    ],
    ids=["enum", "number", "odd text", "odd data", "bare"],
)
async def test_whatever_a_check_error_carries_can_be_stored(
    raised: Callable[[], Exception], trigger: str | None, mode: Any, db: SqliteDb
) -> None:
    def check() -> None:
        raise raised()

    served = agent(pre_hooks=[guard(check, mode=mode)])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served)
        (call,) = loads((await stored_run(agent_os, output.run_id)).hook_calls)
    assert (call["status"], call["details"]["check_trigger"]) == ("rejected", trigger)
    if mode == "observe":
        assert output.status is RunStatus.COMPLETED
    else:
        assert (output.status, output.reason) == (RunStatus.REJECTED, trigger or "check_failed")
