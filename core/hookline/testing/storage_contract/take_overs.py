"""Servers, their silence, and what is set free then."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

from hookline.deliveries import DeliveryStatus
from hookline.runs import RunStatus
from hookline.storage import LEASE_SECONDS, SILENT_SECONDS, FinishRun, Storage, TakeOver
from hookline.testing.storage_contract.basis import Basis
from hookline.testing.storage_contract.builders import (
    DUE,
    ME,
    NOW,
    OTHER,
    Server,
    commit_run,
    completed,
    delivery,
    failed,
    ids_of,
    lock_of,
    new_run,
    outcomes,
    server_of,
    settlement_of,
    statuses,
)

GRACE = SILENT_SECONDS - LEASE_SECONDS


class TakeOvers(Basis):
    """Servers, their silence, and what is set free then."""

    async def test_beating_server_has_a_row(self, storage: Storage) -> None:
        await storage.beat(server_of(ME))
        await storage.beat(server_of(OTHER))
        await storage.beat(server_of(ME, NOW + 3))
        assert await storage.list_servers() == [server_of(ME, NOW + 3), server_of(OTHER)]
        await storage.retire(ME)
        assert await storage.list_servers() == [server_of(OTHER)]

    async def test_orphans_are_the_running_runs_of_silent_and_unknown_servers(self, storage: Storage) -> None:
        for server_id in (ME, OTHER, "silent"):
            await storage.beat(server_of(server_id))
        for n, server_id in enumerate((ME, OTHER, "silent", "unknown")):
            await storage.accept_run(new_run(f"run-{n}", server_id=server_id, created_at=NOW + n), [])
        await commit_run(storage, 0, "finished", server_id="silent")
        assert [run.run_id for run in await storage.list_orphans(["silent"])] == ["run-2", "run-3"]
        assert [run.run_id for run in await storage.list_orphans([])] == ["run-3"]

    async def test_orphan_is_finished_by_another_server(self, storage: Storage) -> None:
        await storage.beat(server_of(OTHER))
        await storage.lock_session(lock_of(server_id=OTHER))
        await storage.accept_run(new_run(server_id=OTHER), [])
        await storage.take_over(TakeOver(ME, [OTHER], NOW))
        (orphan,) = await storage.list_orphans([OTHER])
        assert orphan.status is RunStatus.RUNNING
        assert await storage.finish_run(FinishRun(completed(orphan), True, [], None, NOW))
        assert await storage.list_orphans([OTHER]) == []

    async def test_deliveries_of_a_silent_server_are_pending_again(self, storage: Storage) -> None:
        await commit_run(storage, 2)
        await Server(storage, OTHER).start(("run-1:0", 0))
        assert await storage.take_over(TakeOver(ME, [OTHER], NOW + 20)) == 1
        assert await statuses(storage) == ["pending", "waiting"]
        record = await delivery(storage, "run-1:0")
        assert (record.delivery.due_at, record.delivery.attempt_count, record.interruptions) == (NOW + 20, 0, 1)
        (attempt,) = record.attempts
        assert (attempt.number, attempt.outcome, attempt.started_at, attempt.duration) == (1, "interrupted", NOW, 20.0)

    async def test_interrupted_delivery_comes_before_its_successors(self, storage: Storage) -> None:
        await commit_run(storage, 2)
        await Server(storage, OTHER).start(("run-1:0", 0))
        await storage.take_over(TakeOver(ME, [OTHER], NOW + 20))
        (claimed,) = await Server(storage).scan(now=NOW + 20)
        assert (claimed.delivery.delivery_id, claimed.interruptions) == ("run-1:0", 1)
        assert claimed.fence > 1
        assert claimed.delivery.attempt_count == 1

    async def test_server_that_was_taken_over_cannot_settle(self, storage: Storage) -> None:
        await commit_run(storage, 2)
        other = Server(storage, OTHER)
        await other.start(("run-1:0", 0))
        await storage.take_over(TakeOver(ME, [OTHER], NOW + 20))
        await other.settle(settlement_of("run-1:0", 1))
        await other.settle(settlement_of("run-1:0", 0, started=False))
        await other.start(("run-1:0", 1))
        assert await statuses(storage) == ["pending", "waiting"]
        assert await outcomes(storage, "run-1:0") == [(1, "interrupted")]

    async def test_delivery_that_is_interrupted_too_often_is_dead(self, storage: Storage) -> None:
        await commit_run(storage, 2)
        for _ in range(3):
            assert ids_of(await Server(storage, OTHER).scan(now=NOW + 20)) == ["run-1:0"]
            await storage.take_over(TakeOver(ME, [OTHER], NOW + 20, max_interruptions=3))
        assert await statuses(storage) == ["dead", "pending"], "the line goes on"
        record = await delivery(storage, "run-1:0")
        assert (record.interruptions, record.finished_at, record.delivery.due_at) == (3, NOW + 20, None)
        assert "interrupted 3 times" in (record.delivery.last_error or "")
        assert await outcomes(storage, "run-1:0") == [(1, "interrupted"), (2, "interrupted"), (3, "interrupted")]

    async def test_silent_server_loses_its_sessions_and_its_row(self, storage: Storage) -> None:
        await storage.beat(server_of(OTHER))
        await storage.lock_session(lock_of("run-1", server_id=OTHER))
        await storage.lock_session(lock_of("run-2", session_id="session-2", server_id=ME))
        await storage.take_over(TakeOver(ME, [OTHER], NOW))
        assert await storage.list_servers() == []
        assert await storage.lock_session(lock_of("run-3")) is not None
        assert await storage.lock_session(lock_of("run-3", session_id="session-2")) is None

    async def test_lease_that_ran_out_long_ago_is_taken_whoever_held_it(self, storage: Storage) -> None:
        await commit_run(storage, 1)
        await Server(storage, OTHER).start(("run-1:0", 0))
        expired = NOW + LEASE_SECONDS + GRACE
        assert await storage.take_over(TakeOver(OTHER, [], expired + 1)) == 0, "not the caller's own"
        assert await storage.take_over(TakeOver(ME, [], expired)) == 0
        assert await storage.take_over(TakeOver(ME, [], expired + 0.1)) == 1
        assert await statuses(storage) == ["pending"]

    async def test_heartbeat_renews_leases(self, storage: Storage) -> None:
        await commit_run(storage, 1)
        await Server(storage, OTHER).start(("run-1:0", 0))
        await storage.beat(server_of(OTHER, NOW + 10))
        expired = NOW + LEASE_SECONDS + GRACE
        assert await storage.take_over(TakeOver(ME, [], expired + 1)) == 0
        assert await storage.take_over(TakeOver(ME, [], expired + 10.1)) == 1

    async def test_interrupted_retry_stays_out_of_line(self, storage: Storage) -> None:
        await commit_run(storage, 3)
        other = Server(storage, OTHER)
        await other.start(("run-1:0", 0))
        await other.settle(failed("run-1:0", 1, due_at=NOW))
        await other.start(("run-1:0", 1))
        await storage.take_over(TakeOver(ME, [OTHER], DUE))
        assert await statuses(storage) == ["pending", "pending", "waiting"]
        assert ids_of(await Server(storage).scan()) == ["run-1:0"]

    async def test_only_what_runs_is_taken_over(self, storage: Storage) -> None:
        await commit_run(storage, 2)
        other = Server(storage, OTHER)
        await other.start(("run-1:0", 0))
        await other.settle(settlement_of("run-1:0", 1, status=DeliveryStatus.PARKED))
        assert await storage.take_over(TakeOver(ME, [OTHER, "unknown"], NOW + 99)) == 0
        assert await statuses(storage) == ["parked", "pending"]
