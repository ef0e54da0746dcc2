"""Background hooks: which they are, what they are given, and that nothing is shared with anybody."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from core_support import agent, complete, deliveries_of, drained, finished, serving, stored_run
from hookline import (
    Delivery,
    Guardrail,
    InputCheckError,
    RunContext,
    RunInput,
    RunOutput,
    RunStatus,
    Session,
    guardrail,
    hook,
    hookimpl,
)
from hookline.testing import call_tool
from hookline_sql import SqliteDb


def note(seen: list[str], name: str, **options: Any) -> Any:
    @hook(name=name, **options)
    def called(delivery: Delivery) -> None:
        seen.append(name)

    return called


async def test_the_switch_moves_all_but_guardrails_and_those_that_say_no(db: SqliteDb) -> None:
    seen: list[str] = []

    @guardrail(name="guard")
    def guard() -> None:
        seen.append("guard")

    class OutputGuard(Guardrail):
        name = "output guard"

        def check(self) -> None:
            seen.append("output guard")

    class Plug:
        @hookimpl
        @hook(name="plugin")
        def post_run(self) -> None:
            seen.append("plugin")

    served = agent(
        pre_hooks=[note(seen, "pre"), guard, note(seen, "pre stays", run_in_background=False)],
        post_hooks=[note(seen, "post"), OutputGuard(), note(seen, "post stays", run_in_background=False)],
    )
    async with serving(
        served, db=db, run_hooks_in_background=True, post_hooks=[note(seen, "server")], plugins=[Plug()]
    ) as agent_os:
        run = agent_os.start_run(served, "hi")
        await finished(run)
        assert seen == ["guard", "pre stays", "output guard", "post stays"]
        run.hand_over()
        await drained(agent_os)
        assert seen[4:] == ["pre", "post", "server", "plugin"]
        rows = await deliveries_of(agent_os, run.run_id)
    assert [(row.delivery.phase, row.delivery.hook, row.delivery.position) for row in rows] == [
        ("pre", "pre", 0),
        ("post", "post", 1),
        ("post", "server", 2),
        ("post", "plugin", 3),
    ]
    assert {row.delivery.status for row in rows} == {"delivered"}


async def test_without_the_switch_only_marked_hooks_are_in_the_background(db: SqliteDb) -> None:
    seen: list[str] = []
    served = agent(post_hooks=[note(seen, "plain"), note(seen, "marked", run_in_background=True)])
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi")
        await finished(run)
        assert seen == ["plain"]
        run.hand_over()
        await drained(agent_os)
    assert seen == ["plain", "marked"]


@pytest.mark.parametrize("stored", [False, True])
async def test_without_an_agent_os_all_hooks_are_inline_at_attempt_1(db: SqliteDb, *, stored: bool) -> None:
    attempts = []

    @hook(run_in_background=True)
    async def pre(delivery: Delivery, run_input: RunInput) -> None:
        attempts.append(("pre", delivery.attempt, delivery.max_attempts, delivery.idempotency_key))
        run_input.input_content = "changed"

    @hook(run_in_background=True)
    def post(delivery: Delivery, run_output: RunOutput) -> None:
        attempts.append(("post", delivery.attempt, delivery.max_attempts, delivery.idempotency_key))
        run_output.content = "changed"

    output = await agent("fine", pre_hooks=[pre], post_hooks=[post], db=db if stored else None).arun("hi")
    assert [entry[:3] for entry in attempts] == [("pre", 1, 1), ("post", 1, 1)]
    assert len({entry[3] for entry in attempts}) == 2
    assert output.content == "fine", "snapshots, inline too"
    assert output.messages[0].content == "hi"


async def test_a_background_hook_does_not_start_before_the_response_was_handed_over(db: SqliteDb) -> None:
    seen: list[str] = []
    served = agent(post_hooks=[note(seen, "background", run_in_background=True)])
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi")
        await finished(run)
        await asyncio.sleep(0.1)
        assert seen == []
        run.hand_over()
        run.hand_over()
        await drained(agent_os)
    assert seen == ["background"], "twice is once"


async def test_a_response_that_is_never_handed_over_delays_a_delivery_only(db: SqliteDb) -> None:
    seen: list[str] = []
    served = agent(post_hooks=[note(seen, "background", run_in_background=True)])
    async with serving(served, db=db) as agent_os:
        await finished(agent_os.start_run(served, "hi"))
        await drained(agent_os)
    assert seen == ["background"]


async def test_a_background_hook_gets_the_input_as_accepted_and_the_outcome_of_commit_2(db: SqliteDb) -> None:
    seen: dict[str, Any] = {}

    def translate(run_input: RunInput) -> None:
        run_input.input_content = "accepted"

    def meddle(run_input: RunInput, run_output: RunOutput, session_state: dict[str, Any]) -> None:
        run_input.input_content = "changed after acceptance"
        run_output.content = "the final content"
        session_state["n"] = 1

    @hook(run_in_background=True)
    def pre(run_input: RunInput, session_state: dict[str, Any]) -> None:
        seen["pre"] = (run_input.input_content, session_state)

    @hook(run_in_background=True)
    def post(**everything: Any) -> None:
        seen.update(everything)

    served = agent("first content", pre_hooks=[translate, pre], post_hooks=[meddle, post])
    async with serving(served, db=db) as agent_os:
        output = await complete(
            agent_os, served, "raw", session_id="s", user_id="ada", metadata={"k": 1}, dependencies={"d": [1]}
        )
        record = await stored_run(agent_os, output.run_id)
    assert seen["pre"] == ("accepted", {"n": 1})
    assert seen["run_input"] == RunInput("accepted")
    assert record.input == "accepted"
    assert seen["run_output"].to_dict() == output.to_dict()
    assert seen["run_output"].content == "the final content"
    assert seen["run_context"] == RunContext(output.run_id, "s", "ada", {"n": 1}, {"d": [1]}, {"k": 1})
    assert isinstance(seen["session"], Session)
    assert (seen["session"].session_id, seen["session"].session_state) == ("s", {"n": 1})
    assert seen["session"].created_at > 0
    assert (seen["user_id"], seen["metadata"], seen["dependencies"]) == ("ada", {"k": 1}, {"d": [1]})
    assert seen["agent"] is seen["runnable"] is served
    assert seen["delivery"].attempt == 1
    assert seen["debug_mode"] is False
    assert set(seen) - {"pre"} == {
        "run_input", "run_output", "run_context", "runnable", "agent", "session", "user_id", "metadata",
        "session_state", "dependencies", "debug_mode", "delivery",
    }  # fmt: skip


@pytest.mark.parametrize("in_background", [True, False])
async def test_no_reference_is_shared_with_the_run_or_another_hook(db: SqliteDb, *, in_background: bool) -> None:
    given = {"list": [1]}
    seen: list[tuple[Any, ...]] = []

    def make(name: str) -> Any:
        @hook(run_in_background=in_background or None, name=name)
        def called(
            run_output: RunOutput, run_context: RunContext, session_state: dict[str, Any], metadata: dict[str, Any]
        ) -> None:
            seen.append((run_output, run_context, session_state, metadata))
            assert metadata == {"list": [1]}
            assert run_context.metadata == {"list": [1]}
            assert session_state == {"list": [1]}
            assert [message.content for message in run_output.messages] == ["hi", "fine"]
            metadata["list"].append(2)
            session_state["list"].append(2)
            run_output.messages.clear()

        return called

    marked = [hook(run_in_background=True)(make(name)) for name in ("one", "two")]
    served = agent(post_hooks=marked, db=None if in_background else db)
    if in_background:
        async with serving(served, db=db) as agent_os:
            output = await complete(agent_os, served, metadata=given, session_state=given)
            rows = await deliveries_of(agent_os, output.run_id)
            assert [row.delivery.last_error for row in rows] == [None, None]
            assert {row.delivery.status for row in rows} == {"delivered"}
    else:
        output = await served.arun("hi", metadata=given, session_state=given)
    assert len(seen) == 2
    assert given == {"list": [1]}
    assert output.metadata == {"list": [1]}
    assert len(output.messages) == 2
    for one, two in zip(*seen, strict=True):
        assert one is not two


async def test_each_attempt_gets_fresh_snapshots(db: SqliteDb, short_backoff: None) -> None:
    seen: list[list[int]] = []

    @hook(run_in_background=True)
    def called(metadata: dict[str, Any], delivery: Delivery) -> None:
        metadata["list"].append(delivery.attempt)
        seen.append(metadata["list"])
        if delivery.attempt < 3:
            raise RuntimeError("not yet")

    served = agent(post_hooks=[called])
    async with serving(served, db=db) as agent_os:
        run = agent_os.start_run(served, "hi", metadata={"list": []})
        await finished(run)
        run.hand_over()
        while len(seen) < 3:
            await drained(agent_os)
    assert seen == [[1], [2], [3]]


async def test_dependencies_that_cannot_be_stored_are_left_out_with_a_warning(
    db: SqliteDb, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    @hook(run_in_background=True)
    def called(dependencies: dict[str, Any]) -> None:
        seen.append(dependencies)

    served = agent(post_hooks=[called])
    with caplog.at_level(logging.WARNING):
        async with serving(served, db=db) as agent_os:
            output = await complete(
                agent_os, served, dependencies={"a_lock": threading.Lock(), "word": "blue", "nan": float("nan")}
            )
    assert output.status is RunStatus.COMPLETED
    assert seen == [{"word": "blue"}]
    assert "'a_lock'" in caplog.text
    assert "'nan'" in caplog.text


async def test_dependencies_are_not_stored_if_no_background_hook_names_them(db: SqliteDb) -> None:
    @hook(run_in_background=True)
    def called(run_output: RunOutput) -> None: ...

    def inline(dependencies: dict[str, Any]) -> None: ...

    served = agent(post_hooks=[called, inline])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served, dependencies={"password": "hunter2"})
        record = await stored_run(agent_os, output.run_id)
    assert "hunter2" not in f"{record.snapshot}{record.document}{record.hook_calls}{record.metadata}"


async def test_background_pre_hooks_are_not_for_inputs_that_were_rejected(db: SqliteDb) -> None:
    seen: list[str] = []

    @guardrail
    def refuse() -> None:
        raise InputCheckError("no")

    served = agent(
        pre_hooks=[note(seen, "pre", run_in_background=True), refuse],
        post_hooks=[note(seen, "default", run_in_background=True), note(seen, "of rejected", on="rejected")],
    )
    async with serving(served, db=db, run_hooks_in_background=True) as agent_os:
        output = await complete(agent_os, served)
        rows = await deliveries_of(agent_os, output.run_id)
    assert seen == ["of rejected"]
    assert [row.delivery.hook for row in rows] == ["of rejected"]


async def test_a_hook_for_rejected_runs_gets_no_word_of_what_was_withheld(db: SqliteDb) -> None:
    seen: list[RunOutput] = []

    @guardrail
    def refuse(run_output: RunOutput) -> None:
        raise InputCheckError("no", check_trigger="rule")

    @hook(run_in_background=True, on="rejected")
    def called(run_output: RunOutput) -> None:
        seen.append(run_output)

    served = agent(call_tool("echo", word="xyzzy"), "xyzzy", tools=[echo], post_hooks=[refuse, called])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served)
    (given,) = seen
    assert (given.status, given.reason) == (RunStatus.REJECTED, "rule")
    assert "xyzzy" not in str(given.to_dict())
    assert given.to_dict() == output.to_dict()


def echo(word: str) -> str:
    """Say it again."""
    return word


async def test_contextvars_of_one_run_do_not_reach_anothers_deliveries(db: SqliteDb) -> None:
    """A delivery may run in another process: it must not depend on who started it here."""
    from contextvars import ContextVar

    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    seen = []

    @hook(run_in_background=True)
    def called() -> None:
        seen.append(tenant.get())

    served = agent(post_hooks=[called])

    async def one(agent_os: Any) -> None:
        tenant.set("ada")
        run = agent_os.start_run(served, "hi")
        run.hand_over()
        await finished(run)

    async with serving(served, db=db) as agent_os:
        await asyncio.create_task(one(agent_os))
        await drained(agent_os)
    assert seen == ["nobody"]
