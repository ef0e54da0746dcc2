"""The operations of a storage that write, each with the ledger that it is interrupted in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hookline.deliveries import DeliveryStatus
from hookline.storage import DeliveryFilter, Exchange, FinishRun, Prune, ReplayRecord, Start, Storage, TakeOver
from hookline.testing.storage_contract.builders import (
    DUE,
    ME,
    NOW,
    OTHER,
    Server,
    commit_run,
    completed,
    failed,
    lock_of,
    new_deliveries,
    new_run,
    server_of,
    settlement_of,
)

Operate = Callable[[Storage], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that a process dies in.

    `in_steps`: it may be done by half, and is completed by doing it again.
    """

    operate: Operate
    in_steps: bool = False


async def prepare(storage: Storage) -> None:
    """Fill a ledger with something for each operation: runs under way and finished, deliveries in every status."""
    await storage.beat(server_of(ME))
    await storage.beat(server_of(OTHER))
    await storage.lock_session(lock_of("run-1"))
    await storage.accept_run(new_run("run-1"), new_deliveries(2, "run-1"))
    await storage.lock_session(lock_of("run-2", session_id="session-2", state='{"n":1}'))
    for run_id in ("run-3", "run-4", "run-5", "run-6"):
        await storage.lock_session(lock_of(run_id, session_id="session-3"))
        await commit_run(storage, 3, run_id, session_id="session-3")
    server = Server(storage)
    await server.start(("run-3:0", 0))
    await Server(storage, OTHER).start(("run-4:0", 0))
    for position, status in enumerate((DeliveryStatus.DELIVERED, DeliveryStatus.DEAD, DeliveryStatus.PARKED)):
        await server.settle(settlement_of(f"run-5:{position}", 0, started=False, status=status))
    await storage.create_replay(_replay("replay-1"))
    await storage.create_replay(_replay("replay-2"))
    await storage.advance_replay("replay-2", NOW + 3, 1)


def _replay(replay_id: str) -> ReplayRecord:
    return ReplayRecord(replay_id, "post", "again", ["agent-1"], ["completed"], max_attempts=3, created_at=NOW + 2)


def _finish(run_id: str, session_id: str, *, accepted: bool) -> FinishRun:
    run = completed(new_run(run_id, session_id=session_id))
    return FinishRun(run, accepted, new_deliveries(3, run_id, first=2), '{"n":2}', NOW + 1)


def _exchange(**said: Any) -> Operate:
    return lambda storage: storage.exchange(Exchange(ME, DUE, **said))


_FAILED = failed("run-3:0", 1, due_at=NOW + 60)
_DELIVERED = settlement_of("run-3:0", 1)

OPERATIONS: dict[str, Operation] = {
    "lock_session": Operation(lambda storage: storage.lock_session(lock_of("run-9", session_id="session-9"))),
    "unlock_session": Operation(lambda storage: storage.unlock_session("session-2", "run-2")),
    "accept_run": Operation(
        lambda storage: storage.accept_run(new_run("run-2", session_id="session-2"), new_deliveries(2, "run-2"))
    ),
    "finish_run, accepted": Operation(lambda storage: storage.finish_run(_finish("run-1", "session-1", accepted=True))),
    "finish_run, in one commit": Operation(
        lambda storage: storage.finish_run(_finish("run-2", "session-2", accepted=False))
    ),
    "release_line": Operation(lambda storage: storage.release_line("run-6", NOW)),
    "exchange, start": Operation(_exchange(starts=[Start("run-4:1", 0)])),
    "exchange, settle": Operation(_exchange(settlements=[_DELIVERED])),
    "exchange, retry": Operation(_exchange(settlements=[_FAILED])),
    "exchange, settle and claim": Operation(_exchange(settlements=[_DELIVERED], claim_runs=["run-3"], limit=1)),
    "exchange, scan": Operation(_exchange(settlements=[_DELIVERED], scan=True, limit=10)),
    "beat": Operation(lambda storage: storage.beat(server_of(ME, NOW + 20))),
    "take_over": Operation(lambda storage: storage.take_over(TakeOver(ME, [OTHER], NOW + 20))),
    "retire": Operation(lambda storage: storage.retire(OTHER)),
    "redrive": Operation(lambda storage: storage.redrive("run-5:1", NOW + 9)),
    "discard": Operation(lambda storage: storage.discard("run-1:0", "not needed", NOW + 9)),
    "redrive_many": Operation(lambda storage: storage.redrive_many(DeliveryFilter(), NOW + 9, 100), in_steps=True),
    "discard_many": Operation(
        lambda storage: storage.discard_many(DeliveryFilter(), "not needed", NOW + 9, 100), in_steps=True
    ),
    "prune": Operation(lambda storage: storage.prune(Prune(NOW + 99, NOW + 99, NOW + 99)), in_steps=True),
    "create_replay": Operation(lambda storage: storage.create_replay(_replay("replay-3"))),
    "advance_replay": Operation(lambda storage: storage.advance_replay("replay-1", NOW + 3, 2)),
    "set_replay_status": Operation(lambda storage: storage.set_replay_status("replay-2", "cancelled", NOW + 4)),
}
