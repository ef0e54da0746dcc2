"""What a hook's policy and its own words decide: when it is tried again, and when it is given up."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest

from core_support import agent, complete, deliveries_of, drained, only_delivery, serving, start
from hookline import Delivery, DeliveryStatus, GiveUp, OutputCheckError, RetryAfter, hook
from hookline.execution.attempt import RETRY_AFTER_CAP_SECONDS
from hookline.policy import Policy
from hookline.storage import DeliveryRecord, Exchange
from hookline.testing import ManualClock
from hookline_sql import SqliteDb


def outcomes(record: DeliveryRecord) -> list[str]:
    return [attempt.outcome for attempt in record.attempts]


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, "5", None, True])
def test_retry_after_takes_a_number_of_seconds(seconds: Any) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        RetryAfter(seconds)


def test_the_wait_doubles_up_to_the_cap() -> None:
    policy = Policy(backoff=2.0)
    for failures, longest in [(1, 2.0), (2, 4.0), (5, 32.0), (20, 300.0), (5000, 300.0)]:
        waits = [policy.wait_after(failures) for _ in range(200)]
        assert max(waits) <= longest
        assert max(waits) > longest / 2, "full jitter, over all of it"


@pytest.mark.parametrize("seconds", [0, 0.5, 90, 86_400])
async def test_retry_after_is_taken_at_its_word(seconds: float, db: SqliteDb) -> None:
    clock, attempts = ManualClock(), []

    @hook(run_in_background=True)
    async def limited(delivery: Delivery) -> None:
        attempts.append(clock.time())
        if delivery.attempt == 1:
            raise RetryAfter(seconds, "the far end is busy")

    served = agent(post_hooks=[limited])
    async with serving(served, db=db, clock=clock) as agent_os:
        run = await complete(agent_os, served)
        if seconds:
            row = await only_delivery(agent_os, run.run_id)
            assert (row.delivery.status, row.delivery.due_at) == ("pending", clock.time() + seconds)
            assert row.delivery.last_error == f"RetryAfter: try again after {seconds:g} s: the far end is busy"
            clock.advance(seconds * 0.9)
            await drained(agent_os)
            assert len(attempts) == 1
            clock.advance(seconds * 0.1 + 1e-3)
            await drained(agent_os)
        row = await only_delivery(agent_os, run.run_id)
    assert (row.delivery.status, outcomes(row)) == ("delivered", ["failed", "delivered"])


async def test_retry_after_counts_towards_retries(db: SqliteDb) -> None:
    clock = ManualClock()

    @hook(run_in_background=True, retries=2)
    async def limited() -> None:
        raise RetryAfter(10)

    served = agent(post_hooks=[limited])
    async with serving(served, db=db, clock=clock) as agent_os:
        run = await complete(agent_os, served)
        for _ in range(2):
            clock.advance(10)
            await drained(agent_os)
        row = await only_delivery(agent_os, run.run_id)
    assert (row.delivery.status, outcomes(row)) == ("dead", ["failed"] * 3)


async def test_retry_after_is_capped(db: SqliteDb) -> None:
    clock = ManualClock()

    @hook(run_in_background=True)
    async def limited() -> None:
        raise RetryAfter(1e12)

    served = agent(post_hooks=[limited])
    async with serving(served, db=db, clock=clock) as agent_os:
        row = await only_delivery(agent_os, (await complete(agent_os, served)).run_id)
    assert row.delivery.due_at == clock.time() + RETRY_AFTER_CAP_SECONDS


async def test_give_up_is_dead_at_once_with_its_reason(db: SqliteDb) -> None:
    @hook(run_in_background=True)
    def hopeless() -> None:
        raise GiveUp("there is no such customer")

    served = agent(post_hooks=[hopeless])
    async with serving(served, db=db) as agent_os:
        row = await only_delivery(agent_os, (await complete(agent_os, served)).run_id)
    assert (row.delivery.status, outcomes(row)) == ("dead", ["failed"])
    assert row.delivery.last_error == "GiveUp: there is no such customer"
    assert json.loads(row.attempts[0].error or "")["type"] == "GiveUp"


@pytest.mark.parametrize("error", [RetryAfter(5), GiveUp("no")])
async def test_inline_they_are_failures_like_any_other(error: Exception, db: SqliteDb) -> None:
    called = []

    @hook
    def telling() -> None:
        called.append(1)
        raise error

    served = agent(post_hooks=[telling])
    async with serving(served, db=db) as agent_os:
        output = await complete(agent_os, served)
        record = await agent_os.storage.get_run(output.run_id)
    assert record is not None
    (call,) = json.loads(record.hook_calls)
    assert (output.status, called) == ("completed", [1])
    assert (call["status"], call["error"]["type"]) == ("failed", type(error).__name__)


async def test_max_age_ends_it_before_an_attempt(db: SqliteDb) -> None:
    clock, seen = ManualClock(), []

    @hook(run_in_background=True, max_age=60)
    async def late() -> None:
        seen.append(1)

    served = agent(post_hooks=[late])
    async with serving(served, db=db, clock=clock) as agent_os:
        live = agent_os.start_run(served, "hi")  # never handed over: it stays in the ledger for two seconds
        await live.finished()
        clock.advance(60)
        await drained(agent_os)
        row = await only_delivery(agent_os, live.run_id)
    assert seen == []
    assert (row.delivery.status, row.delivery.attempt_count, row.attempts) == ("dead", 0, [])
    assert row.delivery.last_error == "given up: more than max_age=60 s have passed since its run ended"


async def test_a_retry_that_would_be_too_late_is_dead_at_once(db: SqliteDb) -> None:
    clock = ManualClock()

    @hook(run_in_background=True, max_age=60, retries=50)
    async def limited() -> None:
        raise RetryAfter(40)

    served = agent(post_hooks=[limited])
    async with serving(served, db=db, clock=clock) as agent_os:
        run = await complete(agent_os, served)
        assert (await only_delivery(agent_os, run.run_id)).delivery.status == "pending"
        clock.advance(40)
        await drained(agent_os)
        row = await only_delivery(agent_os, run.run_id)
    assert (row.delivery.status, outcomes(row)) == ("dead", ["failed", "failed"])
    assert row.delivery.last_error is not None
    assert "no further attempt: it would come more than max_age=60 s after the run" in row.delivery.last_error


async def test_what_somebody_redrives_is_attempted_however_old_it_is(db: SqliteDb) -> None:
    clock, seen = ManualClock(), []

    @hook(run_in_background=True, max_age=60, retries=0)
    async def late() -> None:
        seen.append(clock.time())
        if len(seen) == 1:
            raise LookupError("not yet")

    served = agent(post_hooks=[late])
    async with serving(served, db=db, clock=clock) as agent_os:
        run = await complete(agent_os, served)
        clock.advance(3600)
        row = await only_delivery(agent_os, run.run_id)
        assert row.delivery.status == "dead"
        assert await agent_os.storage.redrive(row.delivery.delivery_id, clock.time()) is not None
        agent_os.wake_deliveries()
        await drained(agent_os)
        assert (await only_delivery(agent_os, run.run_id)).delivery.status == "delivered"


async def test_todays_policy_holds_for_rows_that_were_stored_under_another(db: SqliteDb) -> None:
    clock = ManualClock()

    @hook(run_in_background=True, name="flaky")
    async def flaky() -> None:
        raise LookupError("again")

    served = agent(post_hooks=[flaky])
    async with serving(served, db=db, clock=clock) as agent_os:
        run = await complete(agent_os, served)
        first = await only_delivery(agent_os, run.run_id)
    assert (first.delivery.status, first.delivery.attempt_count, first.delivery.max_attempts) == ("pending", 1, 4)
    clock.advance(300)
    hooks = {"a/post/flaky": {"retries": 1}}
    async with serving(agent(post_hooks=[flaky]), db=db, clock=clock, settings={"hooks": hooks}) as agent_os:
        await drained(agent_os)
        row = await only_delivery(agent_os, run.run_id)
    assert (row.delivery.status, row.delivery.attempt_count, row.delivery.max_attempts) == ("dead", 2, 2)


async def test_more_retries_than_when_it_was_stored_are_made(db: SqliteDb) -> None:
    clock = ManualClock()

    @hook(run_in_background=True, name="flaky")
    async def flaky() -> None:
        raise RetryAfter(10)

    async def with_retries(retries: int) -> list[DeliveryRecord]:
        hooks = {"a/post/flaky": {"retries": retries}}
        served = agent(post_hooks=[flaky])
        async with serving(served, db=db, clock=clock, settings={"hooks": hooks}) as agent_os:
            if not runs:
                runs.append((await complete(agent_os, served)).run_id)
            await drained(agent_os)
            return await deliveries_of(agent_os, runs[0])

    runs: list[str] = []
    await with_retries(1)
    clock.advance(10)
    (row,) = await with_retries(2)
    assert (row.delivery.status, row.delivery.max_attempts) == ("pending", 3)
    clock.advance(10)
    (row,) = await with_retries(2)
    assert (row.delivery.status, row.delivery.attempt_count) == ("dead", 3)


async def test_a_check_error_is_dead_at_once_whatever_the_policy(db: SqliteDb) -> None:
    @hook(run_in_background=True, retries=5)
    def guarding() -> None:
        raise OutputCheckError("no")

    served = agent(post_hooks=[guarding])
    async with serving(served, db=db) as agent_os:
        row = await only_delivery(agent_os, (await complete(agent_os, served)).run_id)
    assert (row.delivery.status, outcomes(row)) == ("dead", ["failed"])


async def test_a_timeout_is_tried_again_like_a_failure(db: SqliteDb) -> None:
    clock = ManualClock()

    @hook(run_in_background=True, timeout=0.05)
    async def slow(delivery: Delivery) -> None:
        if delivery.attempt == 1:
            await asyncio.Event().wait()

    served = agent(post_hooks=[slow])
    async with serving(served, db=db, clock=clock) as agent_os:
        run = await complete(agent_os, served)
        clock.advance(1)
        await drained(agent_os)
        row = await only_delivery(agent_os, run.run_id)
    assert (row.delivery.status, outcomes(row)) == ("delivered", ["timeout", "delivered"])


async def test_a_delivery_that_is_not_due_is_nobodys(db: SqliteDb) -> None:
    """Not even another server's, whose clock is the ledger's."""
    clock = ManualClock()

    @hook(run_in_background=True)
    async def limited() -> None:
        raise RetryAfter(10)

    served = agent(post_hooks=[limited])
    async with serving(served, db=db, clock=clock) as agent_os:
        run = await start(agent_os, served)
        await drained(agent_os)
        scan = Exchange("another server", clock.time() + 9.9, scan=True, limit=10)
        assert await agent_os.storage.exchange(scan) == []
        row = await only_delivery(agent_os, run.run_id)
        assert row.delivery.status is DeliveryStatus.PENDING
