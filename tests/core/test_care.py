"""What was interrupted is begun with care: a few at a time, suspects alone, and nobody is held up for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from core_support import eventually
from hookline import DeliveryStatus
from hookline.clock import SYSTEM_CLOCK
from hookline.deliveries import HookKey
from hookline.execution.attempt import Verdict
from hookline.execution.deliverer import Deliverer
from hookline.execution.gates import Gates
from hookline.policy import Policy
from hookline.storage import ClaimedDelivery, Exchange, FinishRun, NewDelivery, Storage, TakeOver
from hookline.testing.storage_contract.builders import OTHER, completed, delivery, ids_of, new_run
from hookline_sql import SqliteDb
from played_ledger import Attempts, Ledger, claim, commit, delivering, planned, within


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
        await eventually(lambda: ("r3/suspect-1", "released") in ledger.settled)
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
        await eventually(lambda: len(ledger.settled) == 6)
    assert set(attempts.begun[3:]) == {"r2/plain", "r5/plain"}


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


async def fill_the_queue(ledger: Ledger, attempts: Attempts, deliverer: Deliverer) -> None:
    """Three fresh lines take places while a scan is under way that claims four: three of those wait."""
    attempts.gates["slow"] = asyncio.Event()
    await eventually(lambda: bool(ledger.exchanges))
    ledger.claims = [claim(f"c{number}", "slow") for number in range(4)]

    def take_places(request: Exchange) -> None:
        if request.scan:
            ledger.before_answer = None
            for number in range(3):
                commit(deliverer, f"f{number}", "slow")
                deliverer.hand_over(f"f{number}")

    ledger.before_answer = take_places
    deliverer.wake()
    await eventually(lambda: deliverer.active == 4 and not ledger.claims)
    assert sorted(attempts.begun) == ["c0/slow", "f0/slow", "f1/slow", "f2/slow"]


async def begin_a_suspect_before_a_full_queue(ledger: Ledger, attempts: Attempts, deliverer: Deliverer) -> None:
    attempts.gates["suspect"] = asyncio.Event()
    await fill_the_queue(ledger, attempts, deliverer)
    ledger.claims = [claim("s", "suspect", interruptions=2)]
    deliverer.wake()
    attempts.gates["slow"].set()
    await eventually(lambda: "s/suspect" in attempts.begun)


async def test_a_full_queue_does_not_keep_a_suspects_end_from_being_noticed() -> None:
    ledger, attempts = Ledger(), Attempts()
    async with delivering(ledger, attempts, concurrency=4) as deliverer:
        await begin_a_suspect_before_a_full_queue(ledger, attempts, deliverer)
        commit(deliverer, "late", "plain")
        deliverer.hand_over("late")
        attempts.gates["suspect"].set()
        await eventually(lambda: "late/plain" in attempts.begun)
        await within(10, deliverer.drain())
    assert {outcome for key, outcome in ledger.settled if key != "s/suspect"} == {"delivered"}


async def test_a_full_queue_goes_on_behind_a_suspect_that_may_not_begin() -> None:
    ledger, attempts, gates = Ledger(), Attempts(), Gates(SYSTEM_CLOCK, lambda: True)
    attempts.policies["suspect"] = Policy(concurrency=1)
    async with delivering(ledger, attempts, concurrency=4, gates=gates) as deliverer:
        await fill_the_queue(ledger, attempts, deliverer)
        gate = gates.of(HookKey("a", "post", "suspect"), planned("suspect", Policy(concurrency=1)))
        assert gate.enter(claimed=True) is not None
        ledger.claims = [claim("s", "suspect", interruptions=2)]

        def one_more(request: Exchange) -> None:
            if request.scan:
                ledger.before_answer = None
                commit(deliverer, "late", "plain")
                deliverer.hand_over("late")

        ledger.before_answer = one_more
        deliverer.wake()
        attempts.gates["slow"].set()
        await eventually(lambda: ("s/suspect", "postponed") in ledger.settled)
        await eventually(lambda: "late/plain" in attempts.begun)


async def test_stopping_gives_back_what_waits_behind_a_suspect() -> None:
    ledger, attempts = Ledger(), Attempts()
    async with delivering(ledger, attempts, concurrency=4) as deliverer:
        await begin_a_suspect_before_a_full_queue(ledger, attempts, deliverer)
        stopping = asyncio.create_task(deliverer.stop(5.0))
        await asyncio.sleep(0)
        attempts.gates["suspect"].set()
        await within(10, stopping)
    told = dict(ledger.settled)
    assert all(told[f"c{number}/slow"] in ("delivered", "released") for number in range(4)), told
    assert told["s/suspect"] == "delivered"


@pytest.mark.parametrize("concurrency", [1, 4, 7])
async def test_where_few_run_at_once_what_was_interrupted_runs_too(concurrency: int) -> None:
    ledger, attempts = Ledger(), Attempts()
    ledger.claims = [claim(f"r{number}", "plain", interruptions=1) for number in range(3)]
    async with delivering(ledger, attempts, concurrency=concurrency) as deliverer:
        await within(10, deliverer.drain())
    assert len(ledger.settled) == 3


async def test_the_next_one_with_a_past_follows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookline.execution.deliverer.POLL_SECONDS", 1000.0)
    ledger, attempts = Ledger(), Attempts()
    async with delivering(ledger, attempts, concurrency=8) as deliverer:
        await eventually(lambda: bool(ledger.exchanges))
        ledger.claims = [claim(f"r{number}", "plain", interruptions=number % 2 + 1) for number in range(6)]
        deliverer.wake()
        await eventually(lambda: len(ledger.settled) == 6)


@pytest.fixture
async def storage(db: SqliteDb) -> AsyncIterator[Storage]:
    opened = db.open()
    yield opened
    await opened.close()


class Watched:
    """What deliveries need of a storage; `claimed` are the ids of all that was."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.claimed: list[str] = []

    async def exchange(self, request: Exchange) -> list[ClaimedDelivery]:
        claimed = await self._storage.exchange(request)
        self.claimed += ids_of(claimed)
        return claimed

    async def backlog(self, limit: int) -> int:
        return await self._storage.backlog(limit)


async def test_a_suspect_that_waits_for_others_is_not_held_by_this_process(storage: Storage) -> None:
    """Were it, it would be dead with them, without having run alone."""
    attempts, now = Attempts(), time.time()
    attempts.gates["killer"] = asyncio.Event()

    async def commit_run(run_id: str, hook: str, at: float) -> list[NewDelivery]:
        rows = [NewDelivery(f"{run_id}:0", "post", hook, 0, 4)]
        assert await storage.finish_run(FinishRun(runs[run_id], False, rows, None, at))
        return rows

    runs = {run_id: completed(new_run(run_id), finished_at=now - 200) for run_id in ("innocent", "killer")}
    await commit_run("innocent", "victim", now - 100)
    for _ in range(2):
        claimed = await storage.exchange(Exchange(OTHER, now, claim_runs=["innocent"], limit=1))
        assert ids_of(claimed) == ["innocent:0"]
        await storage.take_over(TakeOver("sweeper", [OTHER], now))
    watched = Watched(storage)
    async with delivering(watched, attempts, concurrency=8) as deliverer:
        rows = await commit_run("killer", "killer", time.time())
        deliverer.line_committed(runs["killer"], rows, time.time())
        deliverer.hand_over("killer")
        await eventually(lambda: "killer:0" in attempts.begun)
        deliverer.wake()
        await eventually(lambda: "innocent:0" in watched.claimed)
        ends_at = time.monotonic() + 10
        while (await delivery(storage, "innocent:0")).delivery.status is not DeliveryStatus.PENDING:
            assert time.monotonic() < ends_at
        await storage.take_over(TakeOver("sweeper", ["me"], time.time(), 3))
        record = await delivery(storage, "innocent:0")
        assert (record.delivery.status, record.interruptions) == ("pending", 2)
        attempts.gates["killer"].set()
        await eventually(lambda: "innocent:0" in attempts.begun)
