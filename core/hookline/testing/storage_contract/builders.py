"""Runs, deliveries and requests for tests of a ledger, all through the protocol."""

# ruff: noqa: S101 - tests are made of them

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hookline.deliveries import DeliveryStatus
from hookline.runs import RunStatus
from hookline.storage import (
    RESERVE_SECONDS,
    AttemptOutcome,
    ClaimedDelivery,
    DeliveryRecord,
    Exchange,
    FinishRun,
    NewDelivery,
    RunRecord,
    ServerRecord,
    SessionLock,
    Settlement,
    Start,
    Storage,
)

__all__ = [
    "DUE",
    "ME",
    "NOW",
    "OTHER",
    "Server",
    "commit_run",
    "completed",
    "delivery",
    "failed",
    "ids_of",
    "lock_of",
    "new_deliveries",
    "new_delivery",
    "new_run",
    "outcomes",
    "server_of",
    "settlement_of",
    "statuses",
]

NOW = 1_000_000.0
DUE = NOW + RESERVE_SECONDS
"""When the head of a line that was committed at NOW is anybody's."""

ME = "server-1"
OTHER = "server-2"


def new_run(run_id: str = "run-1", **changes: Any) -> RunRecord:
    """A running run of the session `session-1` on this server."""
    run = RunRecord(
        run_id=run_id,
        session_id="session-1",
        user_id="user-1",
        runnable_kind="agent",
        runnable_id="agent-1",
        server_id=ME,
        created_at=NOW,
        input="a question",
    )
    return replace(run, **changes)


def completed(run: RunRecord, **changes: Any) -> RunRecord:
    """The same run with an outcome."""
    outcome: dict[str, Any] = {
        "status": RunStatus.COMPLETED,
        "document": f'{{"run_id":"{run.run_id}"}}',
        "finished_at": NOW + 1,
    }
    return replace(run, **{**outcome, **changes})


def new_delivery(position: int, run_id: str = "run-1", **changes: Any) -> NewDelivery:
    """A delivery with the id `RUN:POSITION`."""
    delivery = NewDelivery(f"{run_id}:{position}", "post", f"hook_{position}", position, max_attempts=4)
    return replace(delivery, **changes)


def new_deliveries(count: int, run_id: str = "run-1", *, first: int = 0) -> list[NewDelivery]:
    """Deliveries at positions from `first` on."""
    return [new_delivery(position, run_id) for position in range(first, first + count)]


async def commit_run(
    storage: Storage, count: int, run_id: str = "run-1", *, now: float = NOW, **changes: Any
) -> RunRecord:
    """Store a run that is finished, with `count` deliveries, in one commit."""
    run = completed(new_run(run_id), **changes)
    assert await storage.finish_run(FinishRun(run, False, new_deliveries(count, run_id), None, now))
    return run


def lock_of(run_id: str = "run-1", **changes: Any) -> SessionLock:
    """A request for the session `session-1`."""
    lock = SessionLock("session-1", "user-1", run_id, ME, NOW, runnable_id="agent-1")
    return replace(lock, **changes)


def settlement_of(delivery_id: str, fence: int, **changes: Any) -> Settlement:
    """A delivery that was begun, as the ledger knows, and delivered."""
    settlement = Settlement(
        delivery_id=delivery_id,
        run_id=delivery_id.partition(":")[0],
        fence=fence,
        started=True,
        status=DeliveryStatus.DELIVERED,
        outcome="delivered",
        started_at=NOW + 2,
        duration=0.5,
    )
    return replace(settlement, **changes)


def failed(delivery_id: str, fence: int, *, due_at: float, outcome: AttemptOutcome = "failed") -> Settlement:
    """A delivery that failed and is to be tried again at `due_at`."""
    return settlement_of(
        delivery_id,
        fence,
        status=DeliveryStatus.PENDING,
        outcome=outcome,
        due_at=due_at,
        error='{"type":"ValueError"}',
        last_error="no",
    )


def server_of(server_id: str = ME, heartbeat_at: float = NOW) -> ServerRecord:
    """A server that beats."""
    return ServerRecord(server_id, "host", "boot", "pid:[1]", 4711, 99, NOW, heartbeat_at)


@dataclass
class Server:
    """What one server says in its exchanges."""

    storage: Storage
    server_id: str = ME
    now: float = NOW

    async def start(self, *starts: tuple[str, int]) -> None:
        """Begin deliveries found at these fences."""
        begun = [Start(delivery_id, fence) for delivery_id, fence in starts]
        await self.storage.exchange(Exchange(self.server_id, self.now, starts=begun))

    async def settle(self, *settlements: Settlement, starts: Sequence[Start] = ()) -> None:
        """Tell what became of attempts."""
        await self.storage.exchange(Exchange(self.server_id, self.now, starts=starts, settlements=settlements))

    async def scan(self, limit: int = 10, *, now: float = DUE) -> list[ClaimedDelivery]:
        """Claim what is due."""
        return await self.storage.exchange(Exchange(self.server_id, now, scan=True, limit=limit))

    async def claim(self, *run_ids: str, limit: int = 10, now: float | None = None) -> list[ClaimedDelivery]:
        """Claim the heads of these runs."""
        return await self.storage.exchange(
            Exchange(self.server_id, self.now if now is None else now, claim_runs=run_ids, limit=limit)
        )


def ids_of(claimed: Sequence[ClaimedDelivery]) -> list[str]:
    """The ids of claimed deliveries."""
    return [claim.delivery.delivery_id for claim in claimed]


async def statuses(storage: Storage, run_id: str = "run-1") -> list[str]:
    """The statuses of a run's deliveries, in the order of the line."""
    return [record.delivery.status.value for record in await storage.run_deliveries(run_id)]


async def delivery(storage: Storage, delivery_id: str) -> DeliveryRecord:
    """A delivery that must be there."""
    record = await storage.get_delivery(delivery_id)
    assert record is not None
    return record


async def outcomes(storage: Storage, delivery_id: str) -> list[tuple[int, str]]:
    """The numbers and outcomes of a delivery's attempts."""
    return [(attempt.number, attempt.outcome) for attempt in (await delivery(storage, delivery_id)).attempts]
