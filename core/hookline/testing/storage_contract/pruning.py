"""Deleting what is old."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

from typing import Any

import pytest

from hookline.deliveries import DeliveryStatus
from hookline.storage import DeliveryFilter, FinishRun, Prune, Pruned, ReplayRecord, Storage
from hookline.testing.storage_contract.basis import Basis
from hookline.testing.storage_contract.builders import (
    DUE,
    NOW,
    Server,
    commit_run,
    completed,
    ids_of,
    lock_of,
    new_deliveries,
    new_run,
    outcomes,
    settlement_of,
    statuses,
)

OLD = NOW + 100
"""Before this instant what the tests store is old."""


async def _end(server: Server, delivery_id: str, status: DeliveryStatus = DeliveryStatus.DELIVERED) -> None:
    await server.settle(settlement_of(delivery_id, 0, started=False, status=status, last_error="no"))


async def _run_of_session(storage: Storage, run_id: str, session_id: str, deliveries: int = 0, **outcome: Any) -> None:
    """Store a run as it is usual: its session locked, the run accepted, then finished."""
    run = new_run(run_id, session_id=session_id)
    assert await storage.lock_session(lock_of(run_id, session_id=session_id)) is not None
    await storage.accept_run(run, [])
    rows = new_deliveries(deliveries, run_id)
    assert await storage.finish_run(FinishRun(completed(run, **outcome), True, rows, '{"n":1}', NOW))


async def _replay(storage: Storage, replay_id: str, *, ended_at: float | None = NOW, cancelled: bool = False) -> None:
    """Store a replay of all runs, with its deliveries made."""
    await storage.create_replay(
        ReplayRecord(
            replay_id=replay_id,
            phase="post",
            hook="again",
            runnables=["agent-1"],
            statuses=["completed"],
            max_attempts=1,
            created_at=NOW,
            root_only=False,
        )
    )
    if cancelled:
        assert await storage.set_replay_status(replay_id, "cancelled", ended_at or NOW) is not None
    elif ended_at is not None:
        ended = await storage.advance_replay(replay_id, ended_at, 100)
        assert ended is not None
        assert (ended.status, ended.finished_at) == ("completed", ended_at)


async def _replays(storage: Storage) -> list[str]:
    page = await storage.list_replays(status=None, limit=1000, cursor=None)
    return [replay.replay_id for replay in page.items[::-1]]


async def _prune(storage: Storage, request: Prune) -> Pruned:
    """Prune; what the dry run says must be what is done."""
    said = await storage.prune(request, dry_run=True)
    assert said == await storage.prune(request, dry_run=True), "a dry run changes nothing"
    done = await storage.prune(request)
    assert done == said
    assert await storage.prune(request) == Pruned()
    return done


class Pruning(Basis):
    """Deleting what is old."""

    async def test_nothing_asked_nothing_deleted(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 1)
        await _end(server, "run-1:0")
        assert await _prune(storage, Prune()) == Pruned()
        assert await statuses(storage) == ["delivered"]

    # deliveries
    async def test_what_was_delivered_or_discarded_before_is_deleted(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 6)
        await _end(server, "run-1:0")
        await _end(server, "run-1:1", DeliveryStatus.DEAD)
        await _end(server, "run-1:2", DeliveryStatus.PARKED)
        await storage.discard("run-1:3", "", NOW)
        server.now = OLD
        await _end(server, "run-1:4")
        assert await _prune(storage, Prune(delivered_before=OLD)) == Pruned(deliveries=2)
        assert await statuses(storage) == ["dead", "parked", "delivered", "pending"]
        assert await storage.get_delivery("run-1:0") is None
        assert await outcomes(storage, "run-1:4") == [(1, "delivered")]

    async def test_dead_ones_have_an_instant_of_their_own(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 3)
        await _end(server, "run-1:0", DeliveryStatus.DEAD)
        await _end(server, "run-1:1")
        server.now = OLD
        await _end(server, "run-1:2", DeliveryStatus.DEAD)
        assert await _prune(storage, Prune(dead_before=OLD)) == Pruned(deliveries=1)
        assert await statuses(storage) == ["delivered", "dead"]

    async def test_more_is_deleted_than_fits_into_one_transaction(self, storage: Storage, server: Server) -> None:
        rows = [delivery for n in range(602) for delivery in new_deliveries(2, f"run-1:{n}")]
        for position, row in enumerate(rows):
            row.position = position
        assert await storage.finish_run(FinishRun(completed(new_run()), False, rows, None, NOW))
        done = [settlement_of(row.delivery_id, 0, started=False, run_id="run-1") for row in rows[:-1]]
        await server.settle(*done)
        assert await _prune(storage, Prune(delivered_before=OLD)) == Pruned(deliveries=1203)
        assert await statuses(storage) == ["pending"]
        assert ids_of(await server.scan(now=DUE)) == [rows[-1].delivery_id]

    # runs
    async def test_old_runs_are_deleted_with_their_deliveries_and_sessions(
        self, storage: Storage, server: Server
    ) -> None:
        await _run_of_session(storage, "old", "session-1", 2)
        await _run_of_session(storage, "young", "session-2", 1, finished_at=OLD)
        for delivery_id in ("old:0", "old:1", "young:0"):
            await _end(server, delivery_id)
        assert await _prune(storage, Prune(runs_before=OLD)) == Pruned(deliveries=2, runs=1, sessions=1)
        assert await storage.get_run("old") is None
        assert await storage.get_session("session-1") is None
        assert await storage.get_delivery("old:0") is None
        assert await storage.get_run("young") is not None
        assert await storage.get_session("session-2") is not None
        assert await statuses(storage, "young") == ["delivered"]

    async def test_session_stays_while_it_has_a_run(self, storage: Storage) -> None:
        await _run_of_session(storage, "run-1", "session-1")
        await _run_of_session(storage, "run-2", "session-1")
        await _run_of_session(storage, "run-3", "session-1", finished_at=OLD)
        assert await _prune(storage, Prune(runs_before=OLD)) == Pruned(runs=2)
        session = await storage.get_session("session-1")
        assert session is not None
        assert session.session_state == {"n": 1}

    async def test_session_that_a_run_holds_stays(self, storage: Storage) -> None:
        await _run_of_session(storage, "run-1", "session-1")
        assert await storage.lock_session(lock_of("run-2")) is not None
        assert await _prune(storage, Prune(runs_before=OLD)) == Pruned(runs=1)
        assert await storage.get_session("session-1") is not None

    async def test_running_runs_stay(self, storage: Storage) -> None:
        await storage.accept_run(new_run(), [])
        assert await _prune(storage, Prune(runs_before=OLD)) == Pruned()

    @pytest.mark.parametrize("status", [None, DeliveryStatus.PARKED])
    async def test_run_with_something_to_be_done_stays(
        self, storage: Storage, server: Server, status: DeliveryStatus | None
    ) -> None:
        await _run_of_session(storage, "run-1", "session-1", 2)
        await _end(server, "run-1:0")
        if status is not None:
            await _end(server, "run-1:1", status)
        assert await _prune(storage, Prune(runs_before=OLD)) == Pruned()
        assert len(await statuses(storage)) == 2

    async def test_run_with_a_running_delivery_stays(self, storage: Storage, server: Server) -> None:
        await _run_of_session(storage, "run-1", "session-1", 1)
        await server.scan()
        assert await _prune(storage, Prune(OLD, OLD, OLD)) == Pruned()

    async def test_run_with_a_dead_delivery_stays_as_long_as_that(self, storage: Storage, server: Server) -> None:
        await _run_of_session(storage, "run-1", "session-1", 2)
        server.now = NOW + 50
        await _end(server, "run-1:0", DeliveryStatus.DEAD)
        await _end(server, "run-1:1")
        assert await _prune(storage, Prune(runs_before=OLD)) == Pruned()
        assert await _prune(storage, Prune(runs_before=OLD, dead_before=NOW + 50)) == Pruned()
        everything = Pruned(deliveries=2, runs=1, sessions=1)
        assert await _prune(storage, Prune(runs_before=OLD, dead_before=NOW + 51)) == everything

    async def test_nothing_is_counted_twice(self, storage: Storage, server: Server) -> None:
        await _run_of_session(storage, "run-1", "session-1", 3)
        await _end(server, "run-1:0")
        await _end(server, "run-1:1", DeliveryStatus.DEAD)
        server.now = NOW + 50
        await _end(server, "run-1:2")
        request = Prune(delivered_before=NOW + 1, dead_before=NOW + 1, runs_before=OLD)
        assert await _prune(storage, request) == Pruned(deliveries=3, runs=1, sessions=1)

    async def test_many_runs_of_several_runnables_are_deleted(self, storage: Storage, server: Server) -> None:
        """More than fit into one transaction, with some among them that stay."""
        for n in range(230):
            await commit_run(storage, 1, f"run-{n}", runnable_id=f"agent-{n % 2}", session_id=f"session-{n % 7}")
        kept = {0, 1, 100, 229}
        await server.settle(*(settlement_of(f"run-{n}:0", 0, started=False) for n in range(230) if n not in kept))
        assert await _prune(storage, Prune(runs_before=OLD)) == Pruned(deliveries=226, runs=226)
        listed = await storage.list_deliveries(DeliveryFilter(), limit=1000, cursor=None)
        assert {record.delivery.run_id for record in listed.items} == {f"run-{n}" for n in kept}

    # replays
    async def test_old_replays_without_deliveries_are_deleted(self, storage: Storage) -> None:
        await _replay(storage, "completed")
        await _replay(storage, "cancelled", cancelled=True)
        await _replay(storage, "young", ended_at=OLD)
        await _replay(storage, "going-on", ended_at=None)
        await _replay(storage, "paused", ended_at=None)
        await storage.set_replay_status("paused", "paused", NOW)
        assert await _prune(storage, Prune(delivered_before=OLD, dead_before=OLD)) == Pruned()
        assert await storage.prune(Prune(runs_before=OLD), dry_run=True) == Pruned()
        assert await _replays(storage) == ["completed", "cancelled", "young", "going-on", "paused"]
        assert await _prune(storage, Prune(runs_before=OLD)) == Pruned()
        assert await _replays(storage) == ["young", "going-on", "paused"]
        assert await storage.get_replay("completed") is None

    async def test_replay_stays_as_long_as_its_deliveries(self, storage: Storage, server: Server) -> None:
        await _run_of_session(storage, "old", "session-1")
        await _run_of_session(storage, "young", "session-2", finished_at=OLD)
        await _replay(storage, "replay-1", ended_at=NOW + 1)
        page = await storage.list_deliveries(DeliveryFilter(replay_id="replay-1"), limit=10, cursor=None)
        for record in page.items:
            await _end(server, record.delivery.delivery_id)
        assert await _prune(storage, Prune(runs_before=OLD)) == Pruned(deliveries=1, runs=1, sessions=1)
        assert await _replays(storage) == ["replay-1"], "the delivery for the other run is there"
        assert await _prune(storage, Prune(runs_before=OLD, delivered_before=OLD)) == Pruned(deliveries=1)
        assert await _replays(storage) == []

    async def test_more_replays_are_deleted_than_fit_into_one_transaction(self, storage: Storage) -> None:
        for n in range(401):
            await _replay(storage, f"replay-{n}", cancelled=True)
        assert await _prune(storage, Prune(runs_before=OLD)) == Pruned()
        assert await _replays(storage) == []
