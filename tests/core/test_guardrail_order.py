"""Guardrails among other hooks: when they look, and what of a stream leaves before they have."""

from __future__ import annotations

import json

import pytest

from core_support import agent, complete, model_of, serving, stored_run
from hookline import (
    EventName,
    InputCheckError,
    OutputCheckError,
    RunInput,
    RunOutput,
    RunStatus,
    guardrail,
    hook,
)
from hookline.testing import call_tool
from hookline_sql import SqliteDb

SECRET = "the magic word is xyzzy"  # noqa: S105 - what a guard withholds, and no password


@guardrail
def no_secrets(run_output: RunOutput) -> None:
    if "xyzzy" in str(run_output.content):
        raise OutputCheckError("it has the word", check_trigger="secret")


def spell(word: str) -> str:
    """Spell a word."""
    return f"{word}!"


async def test_a_guardrail_looks_again_if_a_later_hook_changed_the_input() -> None:
    looked: list[str] = []

    @guardrail
    def no_beef(run_input: RunInput) -> None:
        looked.append(run_input.input_content)
        if "beef" in run_input.input_content:
            raise InputCheckError("no", check_trigger="beef")

    def translate(run_input: RunInput) -> None:
        run_input.input_content = run_input.input_content.replace("boeuf", "beef")

    guarded = agent(pre_hooks=[no_beef, translate])
    output = await guarded.arun("boeuf please")
    assert looked == ["boeuf please", "beef please"]
    assert (output.status, output.reason) == (RunStatus.REJECTED, "beef")


async def test_a_guardrail_looks_once_if_nothing_changed() -> None:
    looked: list[str] = []

    @guardrail
    def look(run_input: RunInput) -> None:
        looked.append(run_input.input_content)

    def change_nothing(run_input: RunInput) -> None:
        run_input.input_content = str(run_input.input_content)

    await agent(pre_hooks=[look, change_nothing]).arun("hi")
    assert looked == ["hi"]


async def test_a_guardrail_that_cleans_the_input_is_enough() -> None:
    @guardrail
    def mask(run_input: RunInput) -> None:
        run_input.input_content = run_input.input_content.replace("4711", "****")

    @guardrail
    def no_numbers(run_input: RunInput) -> None:
        if "4711" in run_input.input_content:
            raise InputCheckError("no")

    cleaning = agent(pre_hooks=[mask, no_numbers])
    output = await cleaning.arun("my pin is 4711")
    assert output.status is RunStatus.COMPLETED
    assert model_of(cleaning).requests[0].messages[-1].content == "my pin is ****"


async def test_guardrails_that_change_the_input_for_ever_fail_the_run() -> None:
    calls = 0

    @guardrail
    def append(run_input: RunInput) -> None:
        nonlocal calls
        calls += 1
        run_input.input_content += "!"

    fighting = agent(pre_hooks=[append])
    output = await fighting.arun("hi")
    assert (output.status, output.reason) == (RunStatus.FAILED, "guardrail_failed")
    assert calls < 20
    assert model_of(fighting).requests == []


async def test_a_guard_on_the_output_runs_before_every_other_post_hook() -> None:
    seen: list[tuple[str, str]] = []

    def other(run_output: RunOutput) -> None:
        seen.append(("other", run_output.status))

    @hook(on="rejected")
    def of_rejected(run_output: RunOutput) -> None:
        assert run_output.content is None
        seen.append(("of rejected", run_output.status))

    guarded = agent(SECRET, post_hooks=[other, of_rejected, no_secrets])
    assert (await guarded.arun("hi")).status is RunStatus.REJECTED
    assert seen == [("of rejected", "rejected")]


@pytest.mark.parametrize("phase", ["pre_hooks", "post_hooks"])
@pytest.mark.parametrize("error", [InputCheckError, OutputCheckError])
async def test_a_check_error_of_a_plain_hook_rejects_and_skips_later_hooks(
    error: type[InputCheckError | OutputCheckError], phase: str
) -> None:
    seen = []

    def first() -> None:
        seen.append("first")
        raise error("no", check_trigger="plain")

    def later() -> None:
        seen.append("later")

    output = await agent(SECRET, **{phase: [first, later]}).arun("hi")
    assert (output.status, output.reason, output.content) == (RunStatus.REJECTED, "plain", None)
    assert seen == ["first"]
    assert SECRET not in json.dumps(output.to_dict())


@pytest.mark.parametrize("way", [False, True])
async def test_a_check_error_without_words_is_a_rejection_too(*, way: bool) -> None:
    @guardrail
    def refuse() -> None:
        raise InputCheckError if way else OutputCheckError

    output = await agent(pre_hooks=[refuse]).arun("hi")
    assert output.status is RunStatus.REJECTED
    assert output.error is not None
    assert "refuse" in output.error.message


async def test_what_a_check_error_carries_is_kept_with_the_run(db: SqliteDb) -> None:
    """`additional_data`: anything JSON can hold, kept with the run."""
    score = 987_000 + 654  # not as a literal, which the traceback shows

    @guardrail
    def refuse() -> None:
        raise InputCheckError("why", check_trigger="rule", additional_data={"score": score})

    refusing = agent(pre_hooks=[refuse])
    async with serving(refusing, db=db) as agent_os:
        output = await complete(agent_os, refusing)
        record = await stored_run(agent_os, output.run_id)
    (call,) = json.loads(record.hook_calls)
    assert (call["hook"], call["status"]) == (refuse.__qualname__, "rejected")
    assert "987654" in f"{record.hook_calls} {record.document}"


async def test_a_server_wide_guardrail_guards_every_agent(db: SqliteDb) -> None:
    one, two = agent(id="one"), agent(id="two")

    @guardrail
    def refuse() -> None:
        raise InputCheckError("no")

    async with serving(one, two, db=db, pre_hooks=[refuse], run_hooks_in_background=True) as agent_os:
        for each in (one, two):
            assert (await complete(agent_os, each)).status is RunStatus.REJECTED


async def test_hold_output_false_lets_text_leave_and_says_so() -> None:
    @guardrail(hold_output=False)
    def refuse() -> None:
        raise OutputCheckError("no")

    events = [event async for event in agent(SECRET, post_hooks=[refuse]).arun("hi", stream=True)]
    assert "".join(event.content or "" for event in events if event.event is EventName.RUN_CONTENT) == SECRET
    assert events[-1].event is EventName.RUN_REJECTED
    assert events[-1].data["content_released"] is True
    assert SECRET not in json.dumps(events[-1].to_dict())


async def test_held_output_leaves_in_order_once_the_guard_has_passed() -> None:
    steps: list[str] = []

    @guardrail
    async def slow() -> None:
        steps.append("guard")

    streaming = agent(call_tool("spell", word="a"), "one two three", tools=[spell], post_hooks=[slow])
    names = []
    async for event in streaming.arun("hi", stream=True):
        names.append(event.event)
        if event.event is EventName.RUN_CONTENT:
            steps.append(event.content or "")
    assert steps == ["guard", "one", " two", " three"]
    assert names == [
        "RunStarted",
        "PostHookStarted",
        "PostHookCompleted",
        "ToolCallStarted",
        "ToolCallCompleted",
        *["RunContent"] * 3,
        "RunCompleted",
    ]
