"""Deliveries: order, retries, dead letters, parking, time limits, and what shutdown does to them."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from core_support import (
    DEADLINE,
    agent,
    complete,
    deliveries_of,
    delivery_with,
    drained,
    eventually,
    finished,
    only_delivery,
    serving,
)
from hookline import (
    Agent,
    AgentOS,
    Delivery,
    InputCheckError,
    LiveRun,
    OutputCheckError,
    Refuse,
    RunOutput,
    RunStatus,
    Schedule,
    ServerBusyError,
    hook,
    hookimpl,
)
from hookline.deliveries import FINAL_STATUSES
from hookline_sql import SqliteDb


async def start(agent_os: AgentOS, served: Agent, **options: Any) -> LiveRun:
    """Run, and hand over the response."""
    run = agent_os.start_run(served, "hi", **options)
    await finished(run)
    run.hand_over()
    return run


async def test_one_runs_deliveries_start_in_order_and_one_at_a_time(db: SqliteDb) -> None:
    seen: list[str] = []
    active = most = 0

    def make(number: int) -> Any:
        @hook(run_in_background=True, name=f"hook {number}")
        async def called() -> None:
            nonlocal active, most
            active += 1
            most = max(most, active)
            seen.append(f"hook {number}")
            await asyncio.sleep(0.002 * (5 - number))
            active -= 1

        return called

    hooks = [make(number) for number in range(6)]
    served = agent(pre_hooks=hooks[:2], post_hooks=hooks[2:])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served)
        rows = await deliveries_of(agent_os, output.run_id)
    assert seen == [f"hook {number}" for number in range(6)]
    assert most == 1
    assert [row.delivery.hook for row in rows] == seen
    assert all(len(row.attempts) == 1 for row in rows)


async def test_different_runs_deliver_side_by_side_up_to_the_limit(db: SqliteDb) -> None:
    active = most = 0
    three = asyncio.Event()
    go = asyncio.Event()

    @hook(run_in_background=True)
    async def called() -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        if active == 3:
            three.set()
        await go.wait()
        active -= 1

    served = agent(post_hooks=[called])
    async with serving(served, db=db, settings={"delivery_concurrency": 3}) as agent_os:
        for _ in range(6):
            await start(agent_os, served)
        await asyncio.wait_for(three.wait(), 10)
        await asyncio.sleep(0.05)
        go.set()
        await drained(agent_os)
    assert most == 3


async def test_a_failing_hook_is_tried_again_and_leaves_the_line_meanwhile(db: SqliteDb, short_backoff: None) -> None:
    seen: list[tuple[str, int]] = []

    @hook(run_in_background=True, name="first")
    def first(delivery: Delivery) -> None:
        seen.append(("first", delivery.attempt))
        if delivery.attempt < 3:
            raise LookupError(f"failure {delivery.attempt}")

    @hook(run_in_background=True, name="second")
    def second(delivery: Delivery) -> None:
        seen.append(("second", delivery.attempt))

    served = agent(post_hooks=[first, second])
    async with serving(served, db=db) as agent_os:
        run = await start(agent_os, served)
        await eventually(lambda: len(seen) == 4)
        await drained(agent_os)
        rows = await deliveries_of(agent_os, run.run_id)
    assert seen[:2] == [("first", 1), ("second", 1)]
    assert seen[2:] == [("first", 2), ("first", 3)]
    assert [row.delivery.status for row in rows] == ["delivered", "delivered"]
    attempts = rows[0].attempts
    assert [(attempt.number, attempt.outcome) for attempt in attempts] == [
        (1, "failed"),
        (2, "failed"),
        (3, "delivered"),
    ]
    error = json.loads(attempts[0].error or "")
    assert (error["type"], error["message"]) == ("LookupError", "failure 1")
    assert "in first" in error["traceback"]
    assert attempts[2].error is None


async def test_the_idempotency_key_is_the_same_at_every_attempt(db: SqliteDb, short_backoff: None) -> None:
    keys = []

    @hook(run_in_background=True, retries=2)
    def called(delivery: Delivery) -> None:
        keys.append(delivery.idempotency_key)
        raise RuntimeError("again")

    served = agent(post_hooks=[called])
    async with serving(served, db=db) as agent_os:
        for _ in range(2):
            run = await start(agent_os, served)
            await delivery_with(agent_os, run.run_id, "dead")
    assert len(keys) == 6
    assert len(set(keys[:3])) == len(set(keys[3:])) == 1
    assert keys[0] != keys[3]


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (3, 4)])
async def test_after_the_last_attempt_a_delivery_is_dead_and_kept(
    retries: int, attempts: int, db: SqliteDb, short_backoff: None
) -> None:
    @hook(run_in_background=True, retries=retries)
    async def hopeless() -> None:
        raise LookupError("for ever")

    served = agent(post_hooks=[hopeless])
    async with serving(served, db=db) as agent_os:
        run = await start(agent_os, served)
        dead = await delivery_with(agent_os, run.run_id, "dead")
        await drained(agent_os)
        await asyncio.sleep(0.05)
        assert await only_delivery(agent_os, run.run_id) == dead
    assert dead.delivery.attempt_count == dead.delivery.max_attempts == attempts
    assert [attempt.number for attempt in dead.attempts] == list(range(1, attempts + 1))
    assert "LookupError: for ever" in (dead.delivery.last_error or "")
    assert "hopeless" in (dead.attempts[-1].error or "")
    assert dead.finished_at is not None


def test_backoff_doubles_with_full_jitter_up_to_its_cap() -> None:
    from hookline.execution.attempt import backoff

    for failures, cap in ((1, 1.0), (2, 2.0), (3, 4.0), (20, 300.0), (5000, 300.0)):
        waits = [backoff(failures) for _ in range(300)]
        assert min(waits) >= 0
        assert max(waits) <= cap
        assert max(waits) > cap / 2
        assert min(waits) < cap / 2


@pytest.mark.parametrize("error", [InputCheckError, OutputCheckError])
async def test_a_check_error_in_a_delivery_is_dead_at_once_with_a_hint(
    error: type[Exception], db: SqliteDb, short_backoff: None
) -> None:
    @hook(run_in_background=True)
    def guard_by_mistake() -> None:
        raise error("no")

    served = agent(post_hooks=[guard_by_mistake])
    async with serving(served, db=db) as agent_os:
        run = await start(agent_os, served)
        dead = await delivery_with(agent_os, run.run_id, "dead")
    assert dead.delivery.attempt_count == 1
    assert "a guard ran in the background: mark it @guardrail" in (dead.delivery.last_error or "")
    assert run.output.status is RunStatus.COMPLETED


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [
        SystemExit,
        KeyboardInterrupt,
        asyncio.CancelledError,
        StopIteration,
        GeneratorExit,
        UnprintableError,
        RecursionError,
    ],
)
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_whatever_a_delivery_raises_is_a_failed_attempt_and_others_go_on(
    error: type[BaseException], kind: str, db: SqliteDb
) -> None:
    seen = []

    @hook(run_in_background=True, retries=0, name="bad")
    def sync_bad() -> None:
        raise error("on purpose")

    @hook(run_in_background=True, retries=0, name="bad")
    async def async_bad() -> None:
        raise error("on purpose")

    @hook(run_in_background=True)
    def good() -> None:
        seen.append("good")

    served = agent(post_hooks=[sync_bad if kind == "sync" else async_bad, good])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served)
        bad, fine = await deliveries_of(agent_os, output.run_id)
    assert (bad.delivery.status, fine.delivery.status) == ("dead", "delivered")
    assert error.__name__ in (bad.attempts[0].error or "")
    assert seen == ["good"]


@pytest.mark.parametrize("kind", ["sync", "async", "swallowing"])
async def test_a_delivery_over_its_time_fails_and_others_go_on(
    kind: str, db: SqliteDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookline.calling.GRACE_SECONDS", 0.05)
    release, let_go = threading.Event(), asyncio.Event()
    seen = []

    async def hang() -> None:
        await let_go.wait()

    async def swallow() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    functions: dict[str, Any] = {"sync": lambda: release.wait(DEADLINE), "async": hang, "swallowing": swallow}
    bad = hook(run_in_background=True, retries=0, timeout=0.05, name="bad")(functions[kind])

    @hook(run_in_background=True)
    def good() -> None:
        seen.append("good")

    served = agent(post_hooks=[bad, good])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served)
        dead, fine = await deliveries_of(agent_os, output.run_id)
        assert agent_os.abandoned == (0 if kind == "async" else 1)
        release.set()
        let_go.set()
        await eventually(lambda: agent_os.abandoned == 0)
    assert (dead.delivery.status, fine.delivery.status) == ("dead", "delivered")
    assert dead.attempts[0].outcome == "timeout"
    assert dead.attempts[0].duration >= 0.05
    assert "0.05 s" in (dead.delivery.last_error or "")


# parked, redrive, discard


async def test_a_hook_that_is_no_longer_there_is_parked_until_it_is_redriven(db: SqliteDb) -> None:
    seen = []
    first_time = True

    @hook(run_in_background=True, name="audit")
    async def audit() -> None:
        if first_time:
            await asyncio.Event().wait()
        seen.append("audit")

    async with serving(with_hook := agent(post_hooks=[audit]), db=db, settings={"shutdown_timeout": 0.05}) as agent_os:
        run = await start(agent_os, with_hook)
        await delivery_with(agent_os, run.run_id, "running")
    async with serving(agent(), db=db) as agent_os:
        parked = await delivery_with(agent_os, run.run_id, "parked")
        assert "no post-hook 'audit' in agent 'a'" in (parked.delivery.last_error or "")
        assert parked.attempts == []
        assert parked.delivery.status not in FINAL_STATUSES
    first_time = False
    async with serving(agent(post_hooks=[audit]), db=db) as agent_os:
        await drained(agent_os)
        assert seen == [], "parked stays parked"
        assert await agent_os.storage.redrive(parked.delivery.delivery_id, 0.0) is not None
        agent_os.wake_deliveries()
        await drained(agent_os)
        delivered = await only_delivery(agent_os, run.run_id)
        assert delivered.delivery.status == "delivered"
    assert seen == ["audit"]


async def test_a_parked_hook_leaves_the_line(db: SqliteDb) -> None:
    seen = []

    @hook(run_in_background=True, name="gone")
    async def gone() -> None:
        await asyncio.Event().wait()

    @hook(run_in_background=True, name="stays")
    def stays() -> None:
        seen.append("stays")

    async with serving(
        served := agent(post_hooks=[gone, stays]), db=db, settings={"shutdown_timeout": 0.05}
    ) as agent_os:
        run = await start(agent_os, served)
        await eventually(lambda: agent_os.is_open)
        await asyncio.sleep(0.05)
    async with serving(agent(post_hooks=[stays]), db=db) as agent_os:
        await drained(agent_os)
        rows = await deliveries_of(agent_os, run.run_id)
    assert [row.delivery.status for row in rows] == ["parked", "delivered"]
    assert seen == ["stays"]


async def test_a_redriven_dead_delivery_has_all_its_attempts_again(db: SqliteDb, short_backoff: None) -> None:
    mended = False
    attempts: list[int] = []

    @hook(run_in_background=True, retries=1)
    def called(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if not mended or len(attempts) == 3:
            raise RuntimeError("broken")

    served = agent(post_hooks=[called])
    async with serving(served, db=db) as agent_os:
        run = await start(agent_os, served)
        dead = await delivery_with(agent_os, run.run_id, "dead")
        mended = True
        redriven = await agent_os.storage.redrive(dead.delivery.delivery_id, 0.0)
        assert redriven is not None
        assert redriven.delivery.status == "pending"
        agent_os.wake_deliveries()
        delivered = await delivery_with(agent_os, run.run_id, "delivered")
        assert await agent_os.storage.redrive(delivered.delivery.delivery_id, 0.0) is None, "it was delivered"
    assert len(attempts) == 4
    assert [attempt.outcome for attempt in delivered.attempts] == ["failed", "failed", "failed", "delivered"]


async def test_a_discarded_delivery_is_never_executed(db: SqliteDb) -> None:
    seen: list[str] = []

    class Delay:
        @hookimpl
        def schedule_background(self) -> Schedule:
            return Schedule(0.3)

    @hook(run_in_background=True)
    def called() -> None:
        seen.append("called")

    served = agent(post_hooks=[called])
    async with serving(served, db=db, plugins=[Delay()]) as agent_os:
        run = await start(agent_os, served)
        row = await only_delivery(agent_os, run.run_id)
        discarded = await agent_os.storage.discard(row.delivery.delivery_id, "not needed", 0.0)
        assert discarded is not None
        await asyncio.sleep(0.5)
        await drained(agent_os)
        row = await only_delivery(agent_os, run.run_id)
    assert (row.delivery.status, row.discard_reason) == ("discarded", "not needed")
    assert seen == []


async def test_a_delivery_that_a_plugin_delays_comes_later_and_the_line_goes_on(db: SqliteDb) -> None:
    seen: list[str] = []

    class Delay:
        @hookimpl
        def schedule_background(self, delivery: Delivery) -> Schedule | None:
            return Schedule(0.2) if delivery.hook == "late" else None

    def make(name: str) -> Any:
        return hook(run_in_background=True, name=name)(lambda: seen.append(name))

    served = agent(post_hooks=[make("late"), make("next")])
    async with serving(served, db=db, plugins=[Delay()]) as agent_os:
        run = await start(agent_os, served)
        await drained(agent_os)
        assert seen == ["next"], "drain waits for what is due, not for delays"
        await eventually(lambda: seen == ["next", "late"])
        await drained(agent_os)
        rows = await deliveries_of(agent_os, run.run_id)
    assert [row.delivery.status for row in rows] == ["delivered", "delivered"]


async def test_a_delivery_that_a_plugin_refuses_is_not_made(db: SqliteDb, caplog: pytest.LogCaptureFixture) -> None:
    class Budget:
        @hookimpl
        def schedule_background(self, delivery: Delivery) -> Refuse | None:
            return Refuse("too dear") if delivery.hook == "dear" else None

    def make(name: str) -> Any:
        return hook(run_in_background=True, name=name)(lambda: None)

    served = agent(post_hooks=[make("dear"), make("cheap")])
    async with serving(served, db=db, plugins=[Budget()]) as agent_os:
        output = await complete(agent_os, served)
        rows = await deliveries_of(agent_os, output.run_id)
    assert [row.delivery.hook for row in rows] == ["cheap"]
    assert "too dear" in caplog.text


# other processes, restarts, shutdown


async def test_a_running_delivery_is_given_back_at_shutdown_its_attempt_too(db: SqliteDb) -> None:
    calls: list[int] = []

    @hook(run_in_background=True)
    async def called(delivery: Delivery) -> None:
        calls.append(delivery.attempt)
        if len(calls) == 1:
            await asyncio.Event().wait()

    served = agent(post_hooks=[called])
    async with serving(served, db=db, settings={"shutdown_timeout": 0.05}) as agent_os:
        run = await start(agent_os, served)
        await eventually(lambda: calls == [1])
    async with serving(served, db=db) as agent_os:
        await drained(agent_os)
        row = await only_delivery(agent_os, run.run_id)
    assert calls == [1, 1], "at once, and as the first attempt"
    assert row.delivery.status == "delivered"
    assert row.delivery.attempt_count == 1
    assert row.interruptions == 0
    assert [attempt.outcome for attempt in row.attempts] == ["delivered"]


async def test_shutdown_waits_for_deliveries_that_end_in_time(db: SqliteDb) -> None:
    seen = []

    @hook(run_in_background=True)
    async def called() -> None:
        await asyncio.sleep(0.1)
        seen.append("done")

    served = agent(post_hooks=[called])
    async with serving(served, db=db) as agent_os:
        await start(agent_os, served)
    assert seen == ["done"]


async def test_shutdown_ends_although_a_thread_hangs(db: SqliteDb) -> None:
    begun, release = threading.Event(), threading.Event()

    @hook(run_in_background=True)
    def blocked() -> None:
        begun.set()
        release.wait()

    served = agent(post_hooks=[blocked])
    try:
        async with asyncio.timeout(20):
            async with serving(served, db=db, settings={"shutdown_timeout": 0.05}) as agent_os:
                await start(agent_os, served)
                await asyncio.to_thread(begun.wait, 10)
    finally:
        release.set()


async def test_a_run_under_way_at_shutdown_ends_and_is_stored(db: SqliteDb) -> None:
    async def hang(_request: object) -> str:
        await asyncio.Event().wait()
        return ""

    served = agent(hang)
    async with serving(served, db=db, settings={"shutdown_timeout": 0.05}) as agent_os:
        run = agent_os.start_run(served, "hi")
        await run.accepted()
        agent_os.begin_shutdown()
        with pytest.raises(ServerBusyError, match="shutting down") as raised:
            agent_os.start_run(served, "hi")
        assert raised.value.retry_after is None
        assert await agent_os.readiness() == ["shutting down"]
    assert run.is_finished
    assert run.output.status is RunStatus.CANCELLED


async def test_too_many_runs_at_once_are_turned_away(db: SqliteDb) -> None:
    gate = asyncio.Event()

    async def wait(_request: object) -> str:
        await gate.wait()
        return "fine"

    served = agent(wait)
    async with serving(served, db=db, settings={"max_concurrent_runs": 1}) as agent_os:
        run = agent_os.start_run(served, "hi")
        with pytest.raises(ServerBusyError, match="max_concurrent_runs") as raised:
            agent_os.start_run(served, "hi")
        assert raised.value.retry_after == 1.0
        gate.set()
        await finished(run)
        await eventually(lambda: not agent_os.live_runs)


async def test_two_servers_of_one_ledger_execute_every_delivery_once(db: SqliteDb) -> None:
    seen: list[str] = []

    @hook(run_in_background=True)
    async def called(run_output: RunOutput) -> None:
        await asyncio.sleep(0.001)
        seen.append(run_output.run_id)

    served = agent(post_hooks=[called])
    async with serving(served, db=db) as one, serving(served, db=db) as other:
        runs = [agent_os.start_run(served, "hi") for agent_os in (one, other) for _ in range(20)]
        for run in runs:
            await finished(run)
        for run in runs[::2]:
            run.hand_over()  # the others are found in the ledger by either
        await drained(one)
        await drained(other)
        statuses = {(await only_delivery(one, run.run_id)).delivery.status for run in runs}
    assert statuses == {"delivered"}
    assert sorted(seen) == sorted(run.run_id for run in runs)


async def test_a_server_that_starts_does_not_take_over_from_a_live_one(db: SqliteDb) -> None:
    gate = asyncio.Event()
    calls = []

    async def wait(_request: object) -> str:
        await gate.wait()
        return "fine"

    @hook(run_in_background=True)
    async def called() -> None:
        calls.append(1)
        await gate.wait()

    served, busy = agent(wait, id="waiting"), agent(post_hooks=[called], id="busy")
    async with serving(served, busy, db=db) as one:
        run = one.start_run(served, "hi")
        assert await run.accepted()
        await start(one, busy)
        await eventually(lambda: calls == [1])
        async with serving(served, busy, db=db):
            await asyncio.sleep(0.2)
            assert not run.is_finished
        gate.set()
        assert (await finished(run)).status is RunStatus.COMPLETED
        await drained(one)
    assert calls == [1]


async def test_a_delivery_finished_plugin_hears_of_every_end(db: SqliteDb) -> None:
    heard: list[tuple[str, str]] = []

    class Listener:
        @hookimpl
        async def delivery_finished(self, delivery: Delivery) -> None:
            heard.append((delivery.hook, delivery.status))

    @hook(run_in_background=True, retries=0, name="bad")
    def bad() -> None:
        raise RuntimeError("no")

    @hook(run_in_background=True, name="good")
    def good() -> None: ...

    served = agent(post_hooks=[bad, good])
    async with serving(served, db=db, plugins=[Listener()]) as agent_os:
        await complete(agent_os, served)
        await eventually(lambda: len(heard) == 2)
    assert sorted(heard) == [("bad", "dead"), ("good", "delivered")]
