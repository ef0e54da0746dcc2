"""Deliveries: order, retries, dead letters, and what a hook may do wrong."""

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
    only_delivery,
    serving,
    start,
)
from hookline import (
    Delivery,
    InputCheckError,
    OutputCheckError,
    RunStatus,
    hook,
)
from hookline_sql import SqliteDb


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
