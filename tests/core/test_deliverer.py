"""The deliverer alone, against a ledger that the test plays: what it says, and when."""

from __future__ import annotations

import asyncio
import time

import pytest

from core_support import eventually
from hookline import Delivery, StorageError
from hookline.deliveries import HookKey
from hookline.execution.attempt import Found, Verdict
from hookline.execution.gates import Gates
from hookline.policy import Policy
from hookline.storage import RESERVE_SECONDS, Exchange, RunRecord
from hookline.testing import ManualClock
from played_ledger import Attempts, Ledger, claim, commit, delivering, planned, within


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
    ledger.claims = [claim("c1", "odd"), claim("c2", "plain")]
    async with delivering(ledger, attempts) as deliverer:
        commit(deliverer, "r1", "odd", "next")
        deliverer.hand_over("r1")
        await eventually(lambda: len(ledger.settled) == 4)
        await within(10, deliverer.drain())
    told = [each for request in ledger.exchanges for each in request.settlements]
    assert {each.delivery_id for each in told if each.status == "dead"} == {"r1/odd", "c1/odd"}
    assert {each.delivery_id for each in told if each.status == "delivered"} == {"r1/next", "c2/plain"}
    assert told[0].last_error == "an error of hookline itself, please report it: KeyError: 'odd'"
    assert "an error of hookline itself" in caplog.text


async def test_a_mistake_at_the_ledger_is_told_and_does_not_end_all_deliveries(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger, attempts = Ledger(), Attempts()
    stumbles = [ZeroDivisionError("odd")]
    of = Gates.claimed
    ledger.claims = [claim("lost", "plain")]

    def stumble(gates: Gates, *args: object, **kwargs: object) -> None:
        if stumbles:
            raise stumbles.pop()
        of(gates, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Gates, "claimed", stumble)
    async with delivering(ledger, attempts) as deliverer:
        for number in range(2):
            commit(deliverer, f"r{number}", "plain")
            deliverer.hand_over(f"r{number}")
            await within(10, deliverer.drain())
    assert [key for key, _ in ledger.settled] == ["r0/plain", "r1/plain"]
    assert next(request.held for request in ledger.exchanges[1:]) == {"r0/plain": 1}, "nobody here has what was lost"
    assert all(request.held is None for request in ledger.exchanges[2:])
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
