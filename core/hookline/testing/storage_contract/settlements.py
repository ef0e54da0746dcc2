"""Starts, settlements, fences, and the line that moves on."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

from dataclasses import replace

import pytest

from hookline.deliveries import DeliveryStatus
from hookline.storage import Attempt, Exchange, Start, Storage
from hookline.testing.storage_contract.basis import Basis
from hookline.testing.storage_contract.builders import (
    ME,
    NOW,
    OTHER,
    Server,
    commit_run,
    delivery,
    failed,
    outcomes,
    settlement_of,
    statuses,
)


class Settlements(Basis):
    """Starts, settlements, fences, and the line that moves on."""

    async def test_start_takes_a_delivery(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2)
        await server.start(("run-1:0", 0))
        assert await statuses(storage) == ["running", "waiting"]
        assert (await delivery(storage, "run-1:0")).delivery.attempt_count == 1

    async def test_start_at_an_old_fence_is_ignored(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 1)
        await Server(storage, OTHER).start(("run-1:0", 0))
        await server.start(("run-1:0", 0), ("unknown", 0))
        assert (await delivery(storage, "run-1:0")).delivery.attempt_count == 1
        await server.settle(settlement_of("run-1:0", 1))
        assert await statuses(storage) == ["running"], "it is the other server's"

    async def test_settled_delivery_is_final_and_the_next_is_due(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 3)
        await server.start(("run-1:0", 0))
        server.now = NOW + 3
        await server.settle(settlement_of("run-1:0", 1))
        assert await statuses(storage) == ["delivered", "pending", "waiting"]
        first, second = [await delivery(storage, f"run-1:{n}") for n in (0, 1)]
        assert (first.finished_at, first.delivery.due_at, first.delivery.last_error) == (NOW + 3, None, None)
        assert first.attempts == [Attempt(1, NOW + 2, 0.5, "delivered", None)]
        assert (second.delivery.due_at, second.delivery.attempt_count) == (NOW + 3, 0)

    async def test_settling_what_was_never_started_counts_the_attempt(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 5)
        await server.settle(*(settlement_of(f"run-1:{n}", 0, started=False) for n in range(5)))
        assert await statuses(storage) == ["delivered"] * 5
        for record in await storage.run_deliveries("run-1"):
            assert record.delivery.attempt_count == 1
            assert [attempt.outcome for attempt in record.attempts] == ["delivered"]

    async def test_settling_twice_changes_nothing(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2)
        await server.settle(settlement_of("run-1:0", 0, started=False))
        await server.settle(settlement_of("run-1:0", 0, started=False, status=DeliveryStatus.DEAD, outcome="dead"))
        await server.settle(settlement_of("run-1:0", 1, status=DeliveryStatus.DEAD, outcome="dead"))
        assert await statuses(storage) == ["delivered", "pending"]
        assert await outcomes(storage, "run-1:0") == [(1, "delivered")]

    @pytest.mark.parametrize("started", [True, False])
    async def test_settlement_of_an_old_fence_is_ignored(
        self, storage: Storage, server: Server, *, started: bool
    ) -> None:
        await commit_run(storage, 2)
        await server.start(("run-1:0", 0))
        await server.settle(failed("run-1:0", 1, due_at=NOW))
        await Server(storage, OTHER).start(("run-1:0", 1))
        await server.settle(settlement_of("run-1:0", 1, started=started), settlement_of("run-1:1", 0, started=False))
        assert await statuses(storage) == ["running", "delivered"], "the others of the exchange are stored"
        assert await outcomes(storage, "run-1:0") == [(1, "failed")]

    async def test_only_its_server_settles_a_started_delivery(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 1)
        await server.start(("run-1:0", 0))
        await Server(storage, OTHER).settle(settlement_of("run-1:0", 1))
        assert await statuses(storage) == ["running"]
        assert await outcomes(storage, "run-1:0") == []

    async def test_failed_delivery_waits_out_of_line(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2)
        await server.start(("run-1:0", 0))
        await server.settle(failed("run-1:0", 1, due_at=NOW + 60))
        assert await statuses(storage) == ["pending", "pending"]
        record = await delivery(storage, "run-1:0")
        assert (record.delivery.due_at, record.delivery.last_error, record.finished_at) == (NOW + 60, "no", None)
        assert record.attempts == [Attempt(1, NOW + 2, 0.5, "failed", '{"type":"ValueError"}')]

    async def test_attempts_are_numbered_in_the_order_of_their_starts(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 1)
        await server.settle(replace(failed("run-1:0", 0, due_at=NOW), started=False))
        await server.start(("run-1:0", 1))
        await server.settle(failed("run-1:0", 2, due_at=NOW, outcome="timeout"))
        await server.settle(settlement_of("run-1:0", 2, started=False))
        assert await outcomes(storage, "run-1:0") == [(1, "failed"), (2, "timeout"), (3, "delivered")]
        record = await delivery(storage, "run-1:0")
        assert record.delivery.attempt_count == 3
        assert record.delivery.last_error == "no", "the last failed attempt's"

    async def test_released_delivery_keeps_its_place_and_its_attempt(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2)
        await server.start(("run-1:0", 0))
        server.now = NOW + 3
        await server.settle(settlement_of("run-1:0", 1, outcome="released", status=DeliveryStatus.PENDING))
        assert await statuses(storage) == ["pending", "waiting"]
        record = await delivery(storage, "run-1:0")
        assert (record.delivery.attempt_count, record.delivery.due_at) == (0, NOW + 3)
        assert record.attempts == []
        claimed = await Server(storage, OTHER).scan(now=NOW + 3)
        assert [(claim.delivery.delivery_id, claim.delivery.attempt_count) for claim in claimed] == [("run-1:0", 1)]

    async def test_release_without_a_start_writes_no_attempt(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2)
        given_back = settlement_of("run-1:0", 0, outcome="released", started=False, started_at=None)
        await server.settle(given_back)
        assert await statuses(storage) == ["pending", "waiting"]
        record = await delivery(storage, "run-1:0")
        assert (record.delivery.attempt_count, record.attempts, record.delivery.due_at) == (0, [], NOW)

    async def test_delivery_parked_without_an_attempt(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2)
        await server.settle(
            settlement_of(
                "run-1:0",
                0,
                started=False,
                started_at=None,
                status=DeliveryStatus.PARKED,
                outcome="parked",
                last_error="no such hook",
            )
        )
        assert await statuses(storage) == ["parked", "pending"]
        record = await delivery(storage, "run-1:0")
        assert (record.delivery.attempt_count, record.attempts, record.finished_at) == (0, [], None)
        assert record.delivery.last_error == "no such hook"

    async def test_dead_delivery_lets_the_line_go_on(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2)
        await server.start(("run-1:0", 0))
        dead = settlement_of("run-1:0", 1, status=DeliveryStatus.DEAD, outcome="dead", last_error="no")
        await server.settle(dead)
        assert await statuses(storage) == ["dead", "pending"]
        assert (await delivery(storage, "run-1:0")).finished_at == NOW

    async def test_discarding_by_settlement_keeps_the_reason(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 1)
        await server.settle(
            settlement_of(
                "run-1:0", 0, started=False, started_at=None, status=DeliveryStatus.DISCARDED, last_error="refused"
            )
        )
        record = await delivery(storage, "run-1:0")
        assert (record.delivery.status, record.discard_reason) == (DeliveryStatus.DISCARDED, "refused")

    async def test_next_one_that_runs_already_is_the_head(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 3)
        await server.start(("run-1:0", 0))
        await server.settle(settlement_of("run-1:0", 1), starts=[Start("run-1:1", 0)])
        assert await statuses(storage) == ["delivered", "running", "waiting"]

    async def test_lines_of_several_runs_move_in_one_exchange(self, storage: Storage, server: Server) -> None:
        for run_id in ("run-1", "run-2", "run-3"):
            await commit_run(storage, 2, run_id)
        await server.start(("run-3:0", 0))
        await server.settle(
            settlement_of("run-1:0", 0, started=False),
            settlement_of("run-2:0", 0, started=False),
            settlement_of("run-2:1", 0, started=False),
        )
        assert await statuses(storage, "run-1") == ["delivered", "pending"]
        assert await statuses(storage, "run-2") == ["delivered", "delivered"]
        assert await statuses(storage, "run-3") == ["running", "waiting"], "it was not named"

    async def test_retry_that_is_settled_does_not_push_the_line(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 3)
        await server.start(("run-1:0", 0))
        await server.settle(failed("run-1:0", 1, due_at=NOW))
        await server.start(("run-1:0", 1))
        await server.settle(settlement_of("run-1:0", 2))
        assert await statuses(storage) == ["delivered", "pending", "waiting"]

    async def test_empty_exchange_does_nothing(self, storage: Storage) -> None:
        await commit_run(storage, 1)
        assert await storage.exchange(Exchange(ME, NOW)) == []
        assert await storage.exchange(Exchange(ME, NOW + 60, scan=True, limit=0)) == []
        assert await statuses(storage) == ["pending"]
