"""Gates and circuits: a hook that keeps failing is paused, and nobody else notices."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest

from core_support import agent, complete, deliveries_of, drained, eventually, serving, start
from hookline import Agent, AgentOS, Delivery, GiveUp, InputCheckError, RetryAfter, hook
from hookline.deliveries import HookKey
from hookline.execution.gates import Gate, HookState
from hookline.policy import Policy
from hookline.testing import ManualClock
from hookline_sql import SqliteDb

KEY = HookKey("a", "post", "shaky")
POLICY = Policy(circuit_threshold=3, circuit_cooldown=60.0)


def gate(clock: ManualClock, policy: Policy = POLICY, *, threads: bool = True) -> Gate:
    return Gate(KEY, policy, clock, lambda: threads)


def attempt(one: Gate, *, failed: bool | None) -> None:
    turn = one.enter(claimed=True)
    assert turn is not None
    one.leave(turn, failed=failed)


def opened(clock: ManualClock, policy: Policy = POLICY) -> Gate:
    one = gate(clock, policy)
    for _ in range(policy.circuit_threshold):
        attempt(one, failed=True)
    assert one.state.circuit == "open"
    return one


def half_open(clock: ManualClock, policy: Policy = POLICY) -> Gate:
    one = opened(clock, policy)
    clock.advance(policy.circuit_cooldown)
    assert one.reopen()
    return one


def test_a_closed_circuit_limits_nothing() -> None:
    one = gate(ManualClock())
    assert one.room == math.inf
    assert [one.enter(claimed=True) is not None for _ in range(100)] == [True] * 100
    assert one.state == HookState(KEY, "closed", 0, None, 100, waits_for_threads=False)


def test_failures_in_a_row_open_it_and_a_success_in_between_does_not() -> None:
    clock = ManualClock()
    one = gate(clock)
    for failed in (True, True, False, True, True):
        attempt(one, failed=failed)
    assert (one.state.circuit, one.state.failures) == ("closed", 2)
    attempt(one, failed=True)
    assert one.state == HookState(KEY, "open", 3, clock.time() + 60, 0, waits_for_threads=False)
    assert one.room == 0
    assert one.enter(claimed=True) is None


def test_what_says_nothing_about_the_hook_changes_nothing() -> None:
    one = gate(ManualClock())
    for failed in (True, True, None):
        attempt(one, failed=failed)
    assert (one.state.circuit, one.state.failures) == ("closed", 2)


def test_a_threshold_of_0_never_opens_it() -> None:
    one = gate(ManualClock(), Policy(circuit_threshold=0))
    for _ in range(1000):
        attempt(one, failed=True)
    assert one.state.circuit == "closed"


def test_it_stays_open_for_the_cooldown_and_then_lets_one_through() -> None:
    clock = ManualClock()
    one = opened(clock)
    clock.advance(59.9)
    assert not one.reopen()
    assert one.enter(claimed=True) is None
    clock.advance(0.1)
    assert one.reopen()
    assert one.state.circuit == "half-open"
    assert one.enter(claimed=True) is not None
    assert one.enter(claimed=True) is None, "exactly one"


def test_the_one_that_was_let_through_decides() -> None:
    one = half_open(ManualClock())
    attempt(one, failed=False)
    assert (one.state.circuit, one.state.failures, one.room) == ("closed", 0, math.inf)
    clock = ManualClock()
    one = half_open(clock)
    attempt(one, failed=True)
    assert (one.state.circuit, one.state.open_until) == ("open", clock.time() + 60)


def test_one_that_was_given_back_decides_nothing_and_leaves_room_for_another() -> None:
    one = half_open(ManualClock())
    attempt(one, failed=None)
    assert (one.state.circuit, one.room) == ("half-open", 1)


@pytest.mark.parametrize("failed", [True, False])
def test_what_began_before_it_opened_decides_nothing(failed: bool) -> None:
    clock = ManualClock()
    one = gate(clock)
    turn = one.enter(claimed=True)
    assert turn is not None
    for _ in range(3):
        attempt(one, failed=True)
    clock.advance(60)
    assert one.reopen()
    one.leave(turn, failed=failed)
    assert (one.state.circuit, one.state.running, one.room) == ("half-open", 0, 1)


def test_concurrency_holds_in_every_state() -> None:
    clock = ManualClock()
    policy = Policy(circuit_threshold=3, circuit_cooldown=60.0, concurrency=1)
    one = gate(clock, policy)
    turn = one.enter(claimed=True)
    assert turn is not None
    assert (one.room, one.enter(claimed=True)) == (0, None)
    assert one.leave(turn, failed=False), "somebody waits for the room"
    one = half_open(clock, policy)
    assert one.room == 1


def test_who_was_there_first_comes_first() -> None:
    one = gate(ManualClock(), Policy(concurrency=1))
    turn = one.enter(claimed=False)
    assert turn is not None
    assert one.enter(claimed=False) is None, "it goes to the ledger"
    one.leave(turn, failed=False)
    assert one.enter(claimed=False) is None, "the other one is there still"
    assert one.enter(claimed=True) is not None


def test_what_cannot_enter_is_due_when_the_circuit_lets_one_through() -> None:
    clock = ManualClock()
    assert opened(clock).postpone(None).due_at == pytest.approx(clock.time() + 60, abs=0.01)
    one = gate(clock, Policy(concurrency=1))
    assert one.enter(claimed=True) is not None
    assert one.postpone(None).due_at == clock.time()
    assert one.postpone(clock.time() - 5).due_at == clock.time() - 5, "it keeps its place"


def test_a_sync_hook_waits_for_threads() -> None:
    one = gate(ManualClock(), threads=False)
    assert one.enter(claimed=True) is None
    assert one.state.is_held


async def test_a_cooldown_that_passes_in_pieces_lets_one_through_in_the_end(db: SqliteDb) -> None:
    clock, shaky = ManualClock(1_700_000_000.1), Shaky()
    served = agent(post_hooks=[shaky.hook(circuit_threshold=1, backoff=0.0, circuit_cooldown=0.7)])
    async with serving(served, db=db, clock=clock) as agent_os:
        clock.advance(0.1)
        await complete(agent_os, served)
        shaky.error = None
        for _ in range(7):
            assert shaky.calls == 1
            clock.advance(0.1)
            await drained(agent_os)
        assert shaky.calls == 2


def test_a_clock_that_is_set_changes_no_pause() -> None:
    clock = ManualClock()
    one = opened(clock)
    clock.set_to(clock.time() - 3600)
    assert not one.reopen()
    assert one.state.open_until == clock.time() + 60
    clock.advance(60)
    assert one.reopen()


# in a server


class Shaky:
    """A background hook that fails until it is mended."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error: Exception | None = error or LookupError("down")
        self.calls = 0

    def hook(self, **options: Any) -> Any:
        @hook(run_in_background=True, name="shaky", **{"circuit_threshold": 3, "circuit_cooldown": 60, **options})
        async def shaky() -> None:
            self.calls += 1
            if self.error is not None:
                raise self.error

        return shaky


def other(name: str, seen: list[str]) -> Any:
    @hook(run_in_background=True, name=name)
    async def called() -> None:
        seen.append(name)

    return called


def circuit_of(agent_os: AgentOS) -> str:
    (state,) = [state for state in agent_os.hook_states if state.key == KEY]
    return state.circuit


async def open_the_circuit(agent_os: AgentOS, served: Agent) -> list[str]:
    runs = [(await complete(agent_os, served)).run_id for _ in range(3)]
    assert circuit_of(agent_os) == "open"
    return runs


async def statuses(agent_os: AgentOS, runs: list[str], name: str = "shaky") -> list[tuple[str, int]]:
    found = [row.delivery for run in runs for row in await deliveries_of(agent_os, run)]
    return [(each.status.value, each.attempt_count) for each in found if each.hook == name]


async def test_a_paused_hook_burns_no_attempts_and_goes_on_when_it_works_again(
    db: SqliteDb, caplog: pytest.LogCaptureFixture
) -> None:
    clock, shaky = ManualClock(), Shaky()
    served = agent(post_hooks=[shaky.hook(backoff=0.0)])
    async with serving(served, db=db, clock=clock) as agent_os:
        await complete(agent_os, served)  # no backoff: it fails three times, and is put off
        assert circuit_of(agent_os) == "open"
        runs = [(await complete(agent_os, served)).run_id for _ in range(5)]
        assert shaky.calls == 3
        assert await statuses(agent_os, runs) == [("pending", 0)] * 5
        (shown,) = agent_os.details()["hooks"]
        assert (shown["hook"], shown["circuit"], shown["failures"]) == ("shaky", "open", 3)

        clock.advance(60)
        await drained(agent_os)
        assert shaky.calls == 4, "one attempt, and it is paused again"
        assert circuit_of(agent_os) == "open"

        shaky.error = None
        clock.advance(60)
        await drained(agent_os)
        assert circuit_of(agent_os) == "closed"
        assert await statuses(agent_os, runs) == [("delivered", 1)] * 5
        assert agent_os.details()["hooks"] == []
    said = [record.getMessage() for record in caplog.records if "shaky" in str(getattr(record, "hook", ""))]
    changes = [text for text in said if text.startswith("hook a/post/shaky")]
    assert changes == [
        "hook a/post/shaky is paused for 60 s: its last 3 attempts failed",
        "hook a/post/shaky is paused for 60 s: its last 4 attempts failed",
        "hook a/post/shaky works again: its deliveries go on",
    ]
    assert {record.levelno for record in caplog.records if record.getMessage() in changes} == {logging.WARNING}


async def test_a_paused_hook_in_the_middle_of_a_line_holds_up_nobody(db: SqliteDb) -> None:
    clock, shaky, seen = ManualClock(), Shaky(), list[str]()
    hooks = [other("before", seen), shaky.hook(), other("after", seen), other("last", seen)]
    served = agent(post_hooks=hooks)
    async with serving(served, db=db, clock=clock) as agent_os:
        await open_the_circuit(agent_os, served)
        seen.clear()
        run = await complete(agent_os, served)
        assert seen == ["before", "after", "last"]
        assert await statuses(agent_os, [run.run_id]) == [("pending", 0)]
        shaky.error = None
        clock.advance(60)
        await drained(agent_os)
        assert await statuses(agent_os, [run.run_id]) == [("delivered", 1)]
        assert shaky.calls == 3 + 4


async def test_drain_does_not_wait_for_a_paused_hook(db: SqliteDb) -> None:
    clock, shaky = ManualClock(), Shaky()
    served = agent(post_hooks=[shaky.hook()])
    async with serving(served, db=db, clock=clock) as agent_os:
        await open_the_circuit(agent_os, served)
        run = await complete(agent_os, served)  # drains
        assert await statuses(agent_os, [run.run_id]) == [("pending", 0)]


@pytest.mark.parametrize(("error", "circuit"), [
    (RetryAfter(0), "closed"), (GiveUp("no"), "closed"), (InputCheckError("no"), "closed"), (SystemExit(), "open"),
])  # fmt: skip
async def test_what_counts_as_a_failure_of_the_hook(error: Any, circuit: str, db: SqliteDb) -> None:
    clock, shaky = ManualClock(), Shaky(error)
    served = agent(post_hooks=[shaky.hook(retries=0)])
    async with serving(served, db=db, clock=clock) as agent_os:
        for _ in range(4):
            await complete(agent_os, served)
        assert circuit_of(agent_os) == circuit


async def test_a_far_end_that_asks_to_wait_neither_pauses_nor_frees_a_hook(db: SqliteDb) -> None:
    clock, shaky = ManualClock(), Shaky()
    served = agent(post_hooks=[shaky.hook()])
    async with serving(served, db=db, clock=clock) as agent_os:
        for error in (OSError("no"), OSError("no"), RetryAfter(3600)):
            shaky.error = error
            await complete(agent_os, served)
        assert circuit_of(agent_os) == "closed"
        shaky.error = OSError("no")
        await complete(agent_os, served)
        assert circuit_of(agent_os) == "open", "three failures in a row, but for the one that tells nothing"
        shaky.error = RetryAfter(3600)
        clock.advance(60)
        await drained(agent_os)
        assert (circuit_of(agent_os), shaky.calls) == ("half-open", 7), "all that waited asked, one after the other"
        shaky.error = None
        clock.advance(3600)
        await drained(agent_os)
        assert circuit_of(agent_os) == "closed"


async def test_a_timeout_counts_too(db: SqliteDb) -> None:
    @hook(run_in_background=True, name="shaky", circuit_threshold=2, timeout=0.02)
    async def shaky() -> None:
        await asyncio.Event().wait()

    served = agent(post_hooks=[shaky])
    async with serving(served, db=db, clock=ManualClock()) as agent_os:
        for _ in range(2):
            await complete(agent_os, served)
        assert circuit_of(agent_os) == "open"


async def test_every_process_has_circuits_of_its_own(db: SqliteDb) -> None:
    clock, shaky = ManualClock(), Shaky()
    served, same = agent(post_hooks=[shaky.hook()]), agent(post_hooks=[shaky.hook()])
    async with serving(served, db=db, clock=clock) as one, serving(same, db=db, clock=clock) as two:
        await open_the_circuit(one, served)
        assert circuit_of(two) == "closed"


# so many at once


class Counted:
    """A hook that counts how many of it are under way."""

    def __init__(self) -> None:
        self.now = self.most = self.calls = 0
        self.go = asyncio.Event()

    def hook(self, **options: Any) -> Any:
        @hook(run_in_background=True, name="counted", **options)
        async def counted() -> None:
            self.now += 1
            self.calls += 1
            self.most = max(self.most, self.now)
            await self.go.wait()
            await asyncio.sleep(0)
            self.now -= 1

        return counted


async def test_one_at_a_time_with_200_runs(db: SqliteDb) -> None:
    counted, seen = Counted(), list[str]()
    counted.go.set()
    served = agent(post_hooks=[counted.hook(concurrency=1), other("after", seen)])
    async with serving(served, db=db) as agent_os:
        runs = [await start(agent_os, served) for _ in range(200)]
        await drained(agent_os)
        assert (counted.most, counted.calls, len(seen)) == (1, 200, 200)
        found = await statuses(agent_os, [run.run_id for run in runs], "counted")
        assert found == [("delivered", 1)] * 200


async def test_a_saturated_hook_takes_nobodys_place(db: SqliteDb) -> None:
    counted, seen = Counted(), list[str]()
    served = agent(post_hooks=[counted.hook(concurrency=2), other("after", seen)])
    async with serving(served, db=db, settings={"delivery_concurrency": 3}) as agent_os:
        for _ in range(20):
            await start(agent_os, served)
        await eventually(lambda: len(seen) == 18, within=10)  # all but those of the two runs that hold it
        assert counted.now == 2
        counted.go.set()
        await drained(agent_os)
        assert (counted.calls, counted.most, len(seen)) == (20, 2, 20)


async def test_a_backlog_of_a_saturated_hook_holds_up_no_line(db: SqliteDb) -> None:
    """After a restart the heads of all lines are its; what follows them is not made to wait for it."""
    counted, seen = Counted(), list[str]()
    served = agent(post_hooks=[counted.hook(concurrency=1), other("after", seen)])
    async with serving(served, db=db, settings={"delivery_concurrency": 1, "shutdown_timeout": 0.0}) as agent_os:
        for _ in range(30):
            await (agent_os.start_run(served, "hi")).finished()
    counted, seen = Counted(), []
    served = agent(post_hooks=[counted.hook(concurrency=1), other("after", seen)])
    async with serving(served, db=db, settings={"delivery_concurrency": 4}) as agent_os:
        await eventually(lambda: len(seen) == 29, within=15)
        assert counted.now == 1
        counted.go.set()
        await drained(agent_os)
        assert (counted.calls, counted.most, len(seen)) == (30, 1, 30)


async def test_one_hooks_limit_is_not_anothers(db: SqliteDb) -> None:
    counted, seen = Counted(), list[str]()
    served = agent(post_hooks=[counted.hook(concurrency=1)])
    free = agent(id="b", post_hooks=[other("free", seen)])
    async with serving(served, free, db=db, settings={"delivery_concurrency": 2}) as agent_os:
        for _ in range(5):
            await start(agent_os, served)
        for _ in range(5):
            await start(agent_os, free)
        await eventually(lambda: len(seen) == 5, within=10)
        counted.go.set()
        await drained(agent_os)


async def test_a_hook_with_both_limits_is_paused_too(db: SqliteDb) -> None:
    clock, shaky = ManualClock(), Shaky()
    served = agent(post_hooks=[shaky.hook(concurrency=1)])
    async with serving(served, db=db, clock=clock) as agent_os:
        await open_the_circuit(agent_os, served)
        runs = [(await complete(agent_os, served)).run_id for _ in range(5)]
        shaky.error = None
        clock.advance(60)
        await drained(agent_os)
        assert await statuses(agent_os, runs) == [("delivered", 1)] * 5


async def test_stopping_with_a_saturated_hook_gives_everything_back(db: SqliteDb) -> None:
    counted = Counted()
    served = agent(post_hooks=[counted.hook(concurrency=1)])
    async with serving(served, db=db, settings={"shutdown_timeout": 0.05}) as agent_os:
        runs = [(await start(agent_os, served)).run_id for _ in range(5)]
        await eventually(lambda: counted.now == 1)
    counted = Counted()
    counted.go.set()
    served = agent(post_hooks=[counted.hook(concurrency=1)])
    async with serving(served, db=db) as agent_os:
        await eventually(lambda: counted.calls == 5)
        await drained(agent_os)
        assert await statuses(agent_os, runs, "counted") == [("delivered", 1)] * 5


async def test_the_delivery_that_was_put_off_keeps_its_number_of_attempts(db: SqliteDb) -> None:
    clock, numbers = ManualClock(), list[int]()

    @hook(run_in_background=True, name="shaky", circuit_threshold=1, circuit_cooldown=60, backoff=0.0)
    async def shaky(delivery: Delivery) -> None:
        numbers.append(delivery.attempt)
        if len(numbers) == 1:
            raise LookupError("down")

    served = agent(post_hooks=[shaky])
    async with serving(served, db=db, clock=clock) as agent_os:
        run = await complete(agent_os, served)
        for _ in range(3):
            agent_os.wake_deliveries()
            await drained(agent_os)
        clock.advance(60)
        await drained(agent_os)
        assert await statuses(agent_os, [run.run_id]) == [("delivered", 2)]
    assert numbers == [1, 2]
