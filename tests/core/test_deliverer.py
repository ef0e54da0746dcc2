"""The deliverer alone, against a ledger that the test plays: what it says, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from core_support import agent, eventually
from hookline import Clock, Delivery, DeliveryStatus, PlannedHook, RunStatus, StorageError, hook
from hookline.clock import SYSTEM_CLOCK
from hookline.deliveries import HookKey
from hookline.execution.attempt import Found, Verdict
from hookline.execution.deliverer import Deliverer
from hookline.execution.gates import Gates
from hookline.execution.pressure import Pressure
from hookline.plan import build_plan
from hookline.policy import Policy
from hookline.storage import RESERVE_SECONDS, ClaimedDelivery, Exchange, NewDelivery, RunRecord
from hookline.testing import ManualClock

DELIVERED = Verdict(DeliveryStatus.DELIVERED, "delivered", 1.0, 0.1)


RUNNABLE = agent()


def planned(name: str, policy: Policy) -> PlannedHook:
    """A background hook of that name."""

    @hook(name=name, run_in_background=True)
    async def nothing() -> None: ...

    (item,) = build_plan(agent(post_hooks=[nothing]), run_in_background=False).items
    return replace(item, policy=policy)


class Ledger:
    """Remembers every exchange; gives `claims` to the first scan."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.claims: list[ClaimedDelivery] = []
        self.before_answer: Callable[[Exchange], None] | None = None
        self.broken = False

    async def exchange(self, request: Exchange) -> list[ClaimedDelivery]:
        await asyncio.sleep(0)
        if self.broken:
            raise StorageError("away")
        self.exchanges.append(request)
        if self.before_answer is not None:
            self.before_answer(request)
        claims = self._claimed(request) if request.scan else []
        self.claims = [each for each in self.claims if each not in claims]
        return claims

    def _claimed(self, request: Exchange) -> list[ClaimedDelivery]:
        """With the care that is asked for: a suspect alone, then a few that were interrupted, then the others."""
        assert request.suspect_after is not None
        assert request.limit_interrupted is not None
        if suspects := [each for each in self.claims if each.interruptions >= request.suspect_after]:
            return suspects[: min(1, request.limit)]
        few = [each for each in self.claims if each.interruptions][: request.limit_interrupted]
        return (few + [each for each in self.claims if not each.interruptions])[: request.limit]

    async def backlog(self, limit: int) -> int:
        return 0

    @property
    def settled(self) -> list[tuple[str, str]]:
        return [(each.delivery_id, each.outcome) for request in self.exchanges for each in request.settlements]


class Attempts:
    """In the place of the attempter: `gates` hold back deliveries by their hook's name."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.verdicts: dict[str, Verdict] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.policies: dict[str, Policy] = {}

    def look_up(self, delivery: Delivery, _run: RunRecord) -> Found | Verdict:
        return Found(RUNNABLE, planned(delivery.hook, self.policies.get(delivery.hook, Policy())))

    async def attempt(self, delivery: Delivery, _run: RunRecord, _found: Found) -> Verdict:
        self.begun.append(delivery.delivery_id)
        if (gate := self.gates.get(delivery.hook)) is not None:
            await gate.wait()
        return self.verdicts.get(delivery.hook, DELIVERED)


def record(run_id: str) -> RunRecord:
    return RunRecord(run_id, "s", None, "agent", "a", "me", time.time(), RunStatus.COMPLETED)


def row(run_id: str, hook: str, position: int = 0) -> NewDelivery:
    return NewDelivery(f"{run_id}/{hook}", "post", hook, position, 4)


def claim(run_id: str, hook: str, *, interruptions: int = 0) -> ClaimedDelivery:
    delivery = Delivery(f"{run_id}/{hook}", run_id, "a", "post", hook, 0, DeliveryStatus.RUNNING, attempt_count=1)
    return ClaimedDelivery(delivery, fence=1, interruptions=interruptions, run=record(run_id))


@asynccontextmanager
async def delivering(
    ledger: Ledger,
    attempts: Attempts,
    *,
    concurrency: int = 4,
    stop_after: float = 1.0,
    clock: Clock = SYSTEM_CLOCK,
    gates: Gates | None = None,
) -> AsyncIterator[Deliverer]:
    deliverer = Deliverer(
        ledger,
        "me",
        attempts,  # type: ignore[arg-type]  # plays the Attempter
        concurrency=concurrency,
        on_final=lambda _delivery: None,
        clock=clock,
        gates=gates or Gates(clock, lambda: True),
        pressure=Pressure(ledger, 1_000_000),
    )
    deliverer.start()
    try:
        yield deliverer
    finally:
        await deliverer.stop(stop_after)


def commit(deliverer: Deliverer, run_id: str, *hooks: str, at: float | None = None) -> None:
    rows = [row(run_id, hook, position) for position, hook in enumerate(hooks)]
    deliverer.line_committed(record(run_id), rows, time.time() if at is None else at)


async def test_a_line_starts_when_it_is_handed_over_and_not_before() -> None:
    ledger, attempts = Ledger(), Attempts()
    async with delivering(ledger, attempts) as deliverer:
        commit(deliverer, "r", "one", "two")
        await asyncio.sleep(0.02)
        assert attempts.begun == []
        deliverer.hand_over("r")
        await eventually(lambda: len(ledger.settled) == 2)
    assert attempts.begun == ["r/one", "r/two"]
    assert ledger.settled == [("r/one", "delivered"), ("r/two", "delivered")]


async def test_what_is_begun_is_told_while_it_runs() -> None:
    ledger, attempts = Ledger(), Attempts()
    attempts.gates["slow"] = asyncio.Event()
    async with delivering(ledger, attempts) as deliverer:
        commit(deliverer, "r", "slow")
        deliverer.hand_over("r")
        await eventually(lambda: any(request.starts for request in ledger.exchanges))
        (start,) = [start for request in ledger.exchanges for start in request.starts]
        assert (start.delivery_id, start.fence) == ("r/slow", 0)
        attempts.gates["slow"].set()
        await eventually(lambda: bool(ledger.settled))
        (settlement,) = [each for request in ledger.exchanges for each in request.settlements]
        assert (settlement.started, settlement.fence) == (True, 1)


async def test_a_settlement_tells_the_start_of_the_next_in_the_same_exchange() -> None:
    """Otherwise another worker could take the next one in between."""
    ledger, attempts = Ledger(), Attempts()
    attempts.gates["two"] = asyncio.Event()
    async with delivering(ledger, attempts) as deliverer:
        commit(deliverer, "r", "one", "two")
        deliverer.hand_over("r")
        await eventually(lambda: bool(ledger.settled))
        (with_settlement,) = [request for request in ledger.exchanges if request.settlements]
        assert [start.delivery_id for start in with_settlement.starts] == ["r/two"]
        attempts.gates["two"].set()


async def test_a_line_that_waited_too_long_is_left_to_the_ledger() -> None:
    ledger, attempts = Ledger(), Attempts()
    async with delivering(ledger, attempts) as deliverer:
        commit(deliverer, "r", "one", at=time.time() - RESERVE_SECONDS)
        deliverer.hand_over("r")
        await asyncio.sleep(0.05)
    assert attempts.begun == [], "another server may have it by now"


async def test_no_more_is_claimed_than_there_are_free_places() -> None:
    ledger, attempts = Ledger(), Attempts()
    attempts.gates["slow"] = asyncio.Event()
    ledger.claims = [claim(f"r{number}", "slow") for number in range(5)]
    async with delivering(ledger, attempts, concurrency=2) as deliverer:
        await eventually(lambda: deliverer.active == 2)
        deliverer.wake()
        await asyncio.sleep(0.05)
        assert len(attempts.begun) == 2
        attempts.gates["slow"].set()
        await eventually(lambda: len(ledger.settled) == 5)


async def test_suspects_run_alone_one_after_the_other_before_anything_else_begins() -> None:
    """A delivery that lost its lease twice may be what ends the process: nobody else's work is at risk."""
    ledger, attempts = Ledger(), Attempts()
    for name in ("first", "suspect-1", "suspect-2"):
        attempts.gates[name] = asyncio.Event()
    async with delivering(ledger, attempts, concurrency=8) as deliverer:
        commit(deliverer, "r1", "first")
        deliverer.hand_over("r1")
        await eventually(lambda: attempts.begun == ["r1/first"])
        ledger.claims = [
            claim("r2", "plain"),
            claim("r3", "suspect-1", interruptions=2),
            claim("r4", "suspect-2", interruptions=2),
        ]
        deliverer.wake()
        await eventually(lambda: len(ledger.claims) == 2)
        commit(deliverer, "r5", "plain")
        deliverer.hand_over("r5")
        await asyncio.sleep(0.05)
        assert attempts.begun == ["r1/first"], "it waits for what is under way"
        for begun, name in enumerate(("first", "suspect-1"), start=1):
            attempts.gates[name].set()
            await eventually(lambda: len(attempts.begun) == begun + 1)  # noqa: B023 - called at once
            await asyncio.sleep(0.05)
        assert attempts.begun == ["r1/first", "r3/suspect-1", "r4/suspect-2"], "nothing beside it, or in between"
        attempts.gates["suspect-2"].set()
        await eventually(lambda: len(ledger.settled) == 5)
    assert set(attempts.begun[3:]) == {"r2/plain", "r5/plain"}
    assert {outcome for _, outcome in ledger.settled} == {"delivered"}


async def test_a_suspect_that_may_not_begin_holds_nothing_up() -> None:
    ledger, attempts = Ledger(), Attempts()
    attempts.policies["suspect"] = Policy(circuit_threshold=1)
    attempts.verdicts["suspect"] = Verdict(DeliveryStatus.DEAD, "failed", 1.0, 0.1, failed=True)
    async with delivering(ledger, attempts) as deliverer:
        commit(deliverer, "r1", "suspect")
        deliverer.hand_over("r1")
        await eventually(lambda: bool(ledger.settled))
        ledger.claims = [claim("r2", "suspect", interruptions=2), claim("r3", "plain")]
        deliverer.wake()
        await eventually(lambda: len(ledger.settled) == 3)
    assert ledger.settled[1:] == [("r2/suspect", "postponed"), ("r3/plain", "delivered")]


async def test_what_was_interrupted_runs_a_few_at_a_time_beside_the_others() -> None:
    """So a second end of the process makes few of them suspects."""
    ledger, attempts = Ledger(), Attempts()
    attempts.gates["slow"] = asyncio.Event()
    ledger.claims = [claim(f"r{number}", "slow", interruptions=1) for number in range(6)]
    ledger.claims += [claim(f"p{number}", "plain") for number in range(6)]
    async with delivering(ledger, attempts, concurrency=16) as deliverer:
        await eventually(lambda: len(ledger.settled) == 6)
        deliverer.wake()
        await asyncio.sleep(0.05)
        assert [begun for begun in attempts.begun if begun.endswith("slow")] == ["r0/slow", "r1/slow"]
        attempts.gates["slow"].set()
        await within(10, deliverer.drain())
    assert len(ledger.settled) == 12


async def test_stopping_gives_back_what_is_running_and_what_was_claimed_and_not_begun() -> None:
    """Nothing that this server claimed stays leased to a server that is gone."""
    ledger, attempts = Ledger(), Attempts()
    attempts.gates["slow"] = asyncio.Event()
    ledger.claims = [claim("first", "slow"), claim("second", "slow")]
    async with delivering(ledger, attempts, concurrency=2, stop_after=0.05) as deliverer:

        def take_a_place(request: Exchange) -> None:
            if request.scan and not attempts.begun:
                commit(deliverer, "local", "slow")
                deliverer.hand_over("local")

        ledger.before_answer = take_a_place
        await eventually(lambda: bool(attempts.begun) and not ledger.claims)
        await asyncio.sleep(0.05)
        assert attempts.begun == ["local/slow", "first/slow"]
    assert dict(ledger.settled) == dict.fromkeys(("local/slow", "first/slow", "second/slow"), "released")


async def test_stopping_claims_nothing_more() -> None:
    ledger, attempts = Ledger(), Attempts()
    attempts.gates["slow"] = asyncio.Event()
    async with delivering(ledger, attempts) as deliverer:
        commit(deliverer, "r", "slow")
        deliverer.hand_over("r")
        await eventually(lambda: bool(attempts.begun))
        stopping = asyncio.create_task(deliverer.stop(5.0))
        await asyncio.sleep(0.02)
        said = len(ledger.exchanges)
        ledger.claims = [claim("late", "plain")]
        deliverer.wake()
        await asyncio.sleep(0.02)
        attempts.gates["slow"].set()
        await stopping
        assert all(request.limit == 0 and not request.scan for request in ledger.exchanges[said:])
    assert "late/plain" not in attempts.begun


async def test_what_could_not_be_told_is_told_again_in_order() -> None:
    ledger, attempts = Ledger(), Attempts()
    async with delivering(ledger, attempts) as deliverer:
        await eventually(lambda: bool(ledger.exchanges))
        ledger.broken = True
        commit(deliverer, "r", "one", "two", "three")
        deliverer.hand_over("r")
        await eventually(lambda: len(attempts.begun) == 3)
        await asyncio.sleep(0.05)
        ledger.broken = False
        await eventually(lambda: len(ledger.settled) == 3)
    assert ledger.settled == [("r/one", "delivered"), ("r/two", "delivered"), ("r/three", "delivered")]


async def test_what_cannot_be_stored_does_not_keep_the_rest_from_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookline.execution.deliverer.SHORTEST_DELAY_SECONDS", 0.001)
    ledger, attempts = Ledger(), Attempts()
    refused = 0

    def refuse(request: Exchange) -> None:
        nonlocal refused
        if any(each.delivery_id == "r3/plain" for each in request.settlements):
            refused += 1
            ledger.exchanges.remove(request)
            raise StorageError("it does not fit")

    ledger.before_answer = refuse
    async with delivering(ledger, attempts, concurrency=16) as deliverer:
        for number in range(12):
            commit(deliverer, f"r{number}", "plain")
            deliverer.hand_over(f"r{number}")
        await eventually(lambda: len(ledger.settled) == 11)
        assert refused > 0
        ledger.before_answer = None
        await eventually(lambda: ledger.settled[-1] == ("r3/plain", "delivered"))


async def within(seconds: float, awaitable: Awaitable[object]) -> None:
    await asyncio.wait_for(awaitable, seconds)


async def test_drain_waits_for_what_is_handed_over_and_what_is_in_the_ledger() -> None:
    ledger, attempts = Ledger(), Attempts()
    attempts.gates["slow"] = asyncio.Event()
    async with delivering(ledger, attempts) as deliverer:
        commit(deliverer, "r", "slow")
        deliverer.hand_over("r")
        ledger.claims = [claim("other", "plain")]
        draining = asyncio.create_task(deliverer.drain())
        await asyncio.sleep(0.05)
        assert not draining.done()
        attempts.gates["slow"].set()
        await within(10, draining)
        assert dict(ledger.settled) == {"r/slow": "delivered", "other/plain": "delivered"}
        await within(10, deliverer.drain())


@pytest.mark.parametrize("drains", [1, 3])
async def test_drain_may_be_asked_for_by_many(drains: int) -> None:
    ledger, attempts = Ledger(), Attempts()
    async with delivering(ledger, attempts) as deliverer:
        await within(10, asyncio.gather(*(deliverer.drain() for _ in range(drains))))


async def test_stop_ends_although_the_ledger_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookline.execution.deliverer.CLOSE_SECONDS", 0.1)
    ledger, attempts = Ledger(), Attempts()
    async with delivering(ledger, attempts) as deliverer:
        ledger.broken = True
        commit(deliverer, "r", "one")
        deliverer.hand_over("r")
        await eventually(lambda: bool(attempts.begun))
        await within(10, deliverer.stop(0.05))


async def test_what_waited_long_behind_a_slow_hook_is_claimed_like_others() -> None:
    """Meanwhile somebody may have discarded it, or taken it over: only the ledger knows."""
    ledger, attempts, clock = Ledger(), Attempts(), ManualClock()
    attempts.gates["slow"] = asyncio.Event()
    async with delivering(ledger, attempts, clock=clock) as deliverer:
        commit(deliverer, "r", "slow", "next", at=clock.time())
        deliverer.hand_over("r")
        await eventually(lambda: bool(attempts.begun))
        clock.advance(RESERVE_SECONDS)
        attempts.gates["slow"].set()
        await eventually(lambda: bool(ledger.settled) and deliverer.active == 0)
        assert attempts.begun == ["r/slow"]
        (settled,) = [request for request in ledger.exchanges if request.settlements]
        assert settled.claim_runs == ["r"], "the next of its line is asked for at once"


async def test_a_line_that_got_no_place_in_time_is_given_back_and_drain_waits_for_it() -> None:
    ledger, attempts, clock = Ledger(), Attempts(), ManualClock()
    attempts.gates["slow"] = asyncio.Event()

    def give_it_again(request: Exchange) -> None:
        if any((each.delivery_id, each.outcome) == ("r2/plain", "released") for each in request.settlements):
            ledger.claims = [claim("r2", "plain")]

    ledger.before_answer = give_it_again
    async with delivering(ledger, attempts, concurrency=1, clock=clock) as deliverer:
        commit(deliverer, "r1", "slow", at=clock.time())
        commit(deliverer, "r2", "plain", at=clock.time())
        deliverer.hand_over("r1")
        deliverer.hand_over("r2")
        await eventually(lambda: bool(attempts.begun))
        clock.advance(RESERVE_SECONDS * 0.8)
        draining = asyncio.create_task(deliverer.drain())
        attempts.gates["slow"].set()
        await within(10, draining)
    assert attempts.begun == ["r1/slow", "r2/plain"]


async def test_drain_waits_for_lines_that_found_no_room_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are due in the ledger when their reservation ends."""
    monkeypatch.setattr("hookline.execution.lines.MOST_PREPARED", 0)
    ledger, attempts, clock = Ledger(), Attempts(), ManualClock()
    async with delivering(ledger, attempts, clock=clock) as deliverer:
        commit(deliverer, "r", "plain", at=clock.time())
        deliverer.hand_over("r")
        draining = asyncio.create_task(deliverer.drain())
        await asyncio.sleep(0.05)
        assert not draining.done()
        ledger.claims = [claim("r", "plain")]
        clock.advance(RESERVE_SECONDS)
        await within(10, draining)
    assert attempts.begun == ["r/plain"]


async def test_fresh_lines_do_not_keep_out_what_is_due_in_the_ledger() -> None:
    """While runs come in faster than their hooks are done, what is to be tried again has its turn all the same."""
    ledger, attempts, clock = Ledger(), Attempts(), ManualClock()
    attempts.gates["fresh"] = asyncio.Event()
    async with delivering(ledger, attempts, concurrency=4, clock=clock) as deliverer:
        await eventually(lambda: bool(ledger.exchanges))

        def keep_busy() -> None:
            for number in range(20):
                commit(deliverer, f"r{len(attempts.begun)}-{number}", "fresh", at=clock.time())
                deliverer.hand_over(f"r{len(attempts.begun)}-{number}")

        keep_busy()
        ledger.claims = [claim("old", "plain")]
        ends_at = time.monotonic() + 10
        while "old/plain" not in attempts.begun:
            assert time.monotonic() < ends_at, "it starved"
            attempts.gates["fresh"].set()
            keep_busy()
            await asyncio.sleep(0.01)


async def test_a_line_that_stopping_ends_before_it_begins_is_given_back() -> None:
    ledger, attempts = Ledger(), Attempts()
    async with delivering(ledger, attempts) as deliverer:
        ledger.claims = [claim("r", "plain")]
        deliverer.wake()
        while deliverer.active == 0:  # noqa: ASYNC110 - at the very step at which it got its place
            await asyncio.sleep(0)
        assert attempts.begun == []
        await deliverer.stop(0.0)
    assert ledger.settled == [("r/plain", "released")]


async def test_a_mistake_in_a_line_is_dead_for_people_to_see_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger, attempts = Ledger(), Attempts()
    look_up = attempts.look_up

    def stumble(delivery: Delivery, run: RunRecord) -> Found | Verdict:
        if delivery.hook == "odd":
            raise KeyError("odd")
        return look_up(delivery, run)

    monkeypatch.setattr(attempts, "look_up", stumble)
    async with delivering(ledger, attempts) as deliverer:
        commit(deliverer, "r1", "odd", "next")
        commit(deliverer, "r2", "plain")
        deliverer.hand_over("r1")
        deliverer.hand_over("r2")
        await eventually(lambda: len(ledger.settled) == 2)
        assert deliverer.active == 0
    (settled,) = [each for request in ledger.exchanges for each in request.settlements if each.status == "dead"]
    assert settled.delivery_id == "r1/odd"
    assert settled.last_error == "an error of hookline itself, please report it: KeyError: 'odd'"
    assert "an error of hookline itself" in caplog.text


async def test_a_mistake_at_the_ledger_is_told_and_does_not_end_all_deliveries(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger, attempts = Ledger(), Attempts()
    stumbles = [ZeroDivisionError("odd")]
    of = Gates.claimed

    def stumble(gates: Gates, *args: object, **kwargs: object) -> None:
        if stumbles and ledger.exchanges[-1].settlements:
            raise stumbles.pop()
        of(gates, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Gates, "claimed", stumble)
    async with delivering(ledger, attempts) as deliverer:
        for number in range(2):
            commit(deliverer, f"r{number}", "plain")
            deliverer.hand_over(f"r{number}")
            await within(10, deliverer.drain())
    assert [key for key, _ in ledger.settled] == ["r0/plain", "r1/plain"]
    assert not stumbles
    assert "deliveries cannot be settled now: odd" in caplog.text


async def test_drain_of_one_that_stopped_ends() -> None:
    ledger, attempts = Ledger(), Attempts()
    async with delivering(ledger, attempts) as deliverer:
        attempts.gates["slow"] = asyncio.Event()
        commit(deliverer, "r", "slow")
        deliverer.hand_over("r")
        draining = asyncio.create_task(deliverer.drain())
        await eventually(lambda: bool(attempts.begun))
        await deliverer.stop(0.05)
        await within(10, draining)
        await within(10, deliverer.drain())


def test_a_claim_that_was_cut_short_does_not_tell_that_nothing_waits() -> None:
    gates, key = Gates(ManualClock(), lambda: True), HookKey("a", "post", "narrow")
    gate = gates.of(key, planned("narrow", Policy(concurrency=1)))
    gate.wanted = True
    gates.claimed({key: 1}, [], is_all=False)
    assert gate.enter(claimed=False) is None, "those that wait in the ledger were there first"
    gates.claimed({key: 1}, [], is_all=True)
    assert gate.enter(claimed=False) is not None
