"""A ledger that the test plays, and attempts that it judges: what the deliverer alone is tested with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol

from core_support import agent
from hookline import Clock, Delivery, DeliveryStatus, PlannedHook, RunStatus, StorageError, hook
from hookline.clock import SYSTEM_CLOCK
from hookline.execution.attempt import Found, Verdict
from hookline.execution.deliverer import Deliverer
from hookline.execution.gates import Gates
from hookline.execution.pressure import Pressure
from hookline.plan import build_plan
from hookline.policy import Policy
from hookline.storage import ClaimedDelivery, Exchange, NewDelivery, RunRecord

DELIVERED = Verdict(DeliveryStatus.DELIVERED, "delivered", 1.0, 0.1)


RUNNABLE = agent()


def planned(name: str, policy: Policy) -> PlannedHook:
    """A background hook of that name."""

    @hook(name=name, run_in_background=True)
    async def nothing() -> None: ...

    (item,) = build_plan(agent(post_hooks=[nothing]), run_in_background=False).items
    return replace(item, policy=policy)


class Ledger:
    """Remembers every exchange; gives `claims` to those who scan, and takes them back."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.claims: list[ClaimedDelivery] = []
        self._given: list[ClaimedDelivery] = []
        self.before_answer: Callable[[Exchange], None] | None = None
        self.broken = False

    async def exchange(self, request: Exchange) -> list[ClaimedDelivery]:
        await asyncio.sleep(0)
        if self.broken:
            raise StorageError("away")
        self.exchanges.append(request)
        if self.before_answer is not None:
            self.before_answer(request)
        released = {each.delivery_id for each in request.settlements if each.outcome == "released"}
        self.claims = [each for each in self._given if each.delivery.delivery_id in released] + self.claims
        claims = self._claimed(request) if request.scan else []
        self.claims = [each for each in self.claims if each not in claims]
        self._given = [each for each in self._given if each.delivery.delivery_id not in released] + claims
        return [replace(each, delivery=replace(each.delivery)) for each in claims]

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


class Played(Protocol):
    """What is played: it takes part in exchanges, and can be asked how much is undone."""

    async def exchange(self, request: Exchange) -> list[ClaimedDelivery]: ...

    async def backlog(self, limit: int) -> int: ...


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
    ledger: Played,
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


async def within(seconds: float, awaitable: Awaitable[object]) -> None:
    await asyncio.wait_for(awaitable, seconds)
