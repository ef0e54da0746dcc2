"""Finding, counting, redriving and discarding many deliveries."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

from dataclasses import replace

import pytest

from hookline.deliveries import DeliveryStatus
from hookline.storage import DeliveryFilter, FinishRun, Storage, TakeOver
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
    ids_of,
    new_deliveries,
    new_delivery,
    new_run,
    settlement_of,
    statuses,
)

MANY = 450
"""More than a storage may do in one transaction."""


async def _end(server: Server, delivery_id: str, status: DeliveryStatus) -> None:
    await server.settle(settlement_of(delivery_id, 0, started=False, status=status, last_error="no"))


async def _listed(storage: Storage, where: DeliveryFilter) -> list[str]:
    page = await storage.list_deliveries(where, limit=1000, cursor=None)
    assert page.next_cursor is None
    return [record.delivery.delivery_id for record in page.items]


ALL = [f"run-{n}:{m}" for n in (3, 2, 1, 0) for m in (2, 1, 0)]
FILTERS = [
    (DeliveryFilter(), ALL),
    (DeliveryFilter(hook="hook_0"), ["run-3:0", "run-2:0", "run-1:0", "run-0:0"]),
    (DeliveryFilter(hook="hook_1", runnable="agent-1"), ["run-3:1", "run-2:1", "run-0:1"]),
    (DeliveryFilter(hook="hook_0", status="delivered"), ["run-1:0", "run-0:0"]),
    (DeliveryFilter(hook="hook_0", status="discarded"), ["run-2:0"]),
    (DeliveryFilter(hook="hook_1", status="dead"), ["run-0:1"]),
    (DeliveryFilter(hook="hook_1", status="parked"), ["run-1:1"]),
    (DeliveryFilter(hook="hook_1", status="running"), ["run-2:1"]),
    (DeliveryFilter(hook="hook_2", status="waiting"), ["run-3:2", "run-2:2"]),
    (DeliveryFilter(hook="unknown"), []),
    (DeliveryFilter(runnable="agent-2"), ["run-1:2", "run-1:1", "run-1:0"]),
    (DeliveryFilter(runnable="agent-2", status="pending"), ["run-1:2"]),
    (DeliveryFilter(runnable="agent-2", user_id="user-1"), []),
    (DeliveryFilter(user_id="user-2"), ["run-1:2", "run-1:1", "run-1:0"]),
    (DeliveryFilter(user_id="user-2", status="delivered"), ["run-1:0"]),
    (DeliveryFilter(user_id="user-1", status="dead"), ["run-0:1"]),
    (DeliveryFilter(user_id="user-1", hook="hook_1"), ["run-2:1", "run-0:1"]),
    (DeliveryFilter(created_after=NOW + 2), ALL[:6]),
    (DeliveryFilter(created_before=NOW + 2), ALL[6:]),
    (DeliveryFilter(created_after=NOW + 1, created_before=NOW + 3), ALL[3:9]),
    (DeliveryFilter(created_before=NOW + 2, status="delivered"), ["run-1:0", "run-0:0"]),
    (DeliveryFilter(created_after=NOW + 1, status="delivered"), ["run-1:0"]),
    (DeliveryFilter(created_before=NOW + 3, hook="hook_2"), ["run-2:2", "run-1:2", "run-0:2"]),
    (DeliveryFilter(run_id="run-1", hook="hook_1"), ["run-1:1"]),
    (DeliveryFilter(run_id="run-1", status="delivered", user_id="user-2", runnable="agent-2"), ["run-1:0"]),
    (DeliveryFilter(run_id="run-1", created_after=NOW + 2), []),
    (DeliveryFilter(replay_id="replay-1"), []),
    (DeliveryFilter(status="delivered"), ["run-1:0", "run-0:0"]),
    (DeliveryFilter(status="unheard-of"), []),
    (DeliveryFilter(status="unheard-of", hook="hook_0"), []),
]


class Filters(Basis):
    """Finding, counting, redriving and discarding many deliveries."""

    @pytest.fixture
    async def varied(self, storage: Storage) -> Storage:
        """Deliveries of two runnables and two users in all statuses, made in four seconds."""
        await commit_run(storage, 3, "run-0", now=NOW)
        await commit_run(storage, 3, "run-1", now=NOW + 1, runnable_id="agent-2", user_id="user-2")
        await commit_run(storage, 3, "run-2", now=NOW + 2)
        await commit_run(storage, 3, "run-3", now=NOW + 3, user_id=None)
        server = Server(storage, now=NOW + 10)
        await _end(server, "run-0:0", DeliveryStatus.DELIVERED)
        await _end(server, "run-0:1", DeliveryStatus.DEAD)
        await _end(server, "run-1:0", DeliveryStatus.DELIVERED)
        await _end(server, "run-1:1", DeliveryStatus.PARKED)
        await storage.discard("run-2:0", "", NOW)
        await server.start(("run-2:1", 0))
        return storage

    @pytest.mark.parametrize(("where", "expected"), FILTERS)
    async def test_filter_lets_through(self, varied: Storage, where: DeliveryFilter, expected: list[str]) -> None:
        assert await _listed(varied, where) == expected
        assert await varied.count_deliveries(where, 1000) == len(expected)

    @pytest.mark.parametrize(("where", "expected"), FILTERS)
    async def test_filtered_listing_goes_on_at_its_cursor(
        self, varied: Storage, where: DeliveryFilter, expected: list[str]
    ) -> None:
        seen: list[str] = []
        cursor = None
        while len(seen) <= len(expected):
            page = await varied.list_deliveries(where, limit=2, cursor=cursor)
            assert len(page.items) <= 2
            seen += [record.delivery.delivery_id for record in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == expected

    async def test_counting_ends_at_the_limit(self, varied: Storage) -> None:
        assert await varied.count_deliveries(DeliveryFilter(), 5) == 5
        assert await varied.count_deliveries(DeliveryFilter(hook="hook_0"), 3) == 3
        assert await varied.count_deliveries(DeliveryFilter(status="delivered"), 1) == 1

    async def test_old_deliveries_of_a_rare_hook_are_found(self, storage: Storage, server: Server) -> None:
        rows = [new_delivery(0, "rare", hook="rare")]
        await storage.finish_run(FinishRun(completed(new_run("rare")), False, rows, None, NOW))
        await _end(server, "rare:0", DeliveryStatus.DELIVERED)
        await storage.finish_run(FinishRun(completed(new_run()), False, new_deliveries(3000), None, NOW + 1))
        assert await _listed(storage, DeliveryFilter(hook="rare")) == ["rare:0"]
        assert await _listed(storage, DeliveryFilter(created_before=NOW + 1)) == ["rare:0"]

    # the backlog
    async def test_backlog_is_what_is_still_to_be_done(self, varied: Storage) -> None:
        assert await varied.backlog(1000) == 7, "pending, waiting, running; neither parked nor final"
        assert await varied.backlog(3) == 3
        assert await varied.backlog(0) == 0

    async def test_empty_ledger_has_no_backlog(self, storage: Storage) -> None:
        assert await storage.backlog(10) == 0
        assert await storage.count_deliveries(DeliveryFilter(), 10) == 0

    # redriving many
    async def test_dead_and_parked_are_redriven(self, varied: Storage, server: Server) -> None:
        assert await varied.redrive_many(DeliveryFilter(), DUE, 100) == 2
        assert await statuses(varied, "run-0") == ["delivered", "pending", "pending"]
        record = await delivery(varied, "run-0:1")
        assert (record.delivery.attempt_count, record.delivery.due_at, record.finished_at) == (0, DUE, None)
        assert "run-1:1" in ids_of(await server.scan(now=DUE + 60))
        assert await varied.redrive_many(DeliveryFilter(), DUE, 100) == 0

    @pytest.mark.parametrize(
        ("where", "redriven"),
        [
            (DeliveryFilter(status="dead"), ["run-0:1"]),
            (DeliveryFilter(status="parked"), ["run-1:1"]),
            (DeliveryFilter(status="delivered"), []),
            (DeliveryFilter(hook="hook_1"), ["run-0:1", "run-1:1"]),
            (DeliveryFilter(hook="hook_1", runnable="agent-2"), ["run-1:1"]),
            (DeliveryFilter(created_before=NOW + 1), ["run-0:1"]),
            (DeliveryFilter(user_id="user-2"), ["run-1:1"]),
            (DeliveryFilter(run_id="run-0"), ["run-0:1"]),
            (DeliveryFilter(hook="hook_2"), []),
        ],
    )
    async def test_what_a_filter_lets_through_is_redriven(
        self, varied: Storage, where: DeliveryFilter, redriven: list[str]
    ) -> None:
        assert await varied.redrive_many(where, DUE, 100) == len(redriven)
        for delivery_id in ("run-0:1", "run-1:1"):
            status = (await delivery(varied, delivery_id)).delivery.status
            assert (status == DeliveryStatus.PENDING) == (delivery_id in redriven)

    async def test_oldest_are_redriven_first(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 5)
        for position in (4, 2, 0, 1, 3):
            status = DeliveryStatus.PARKED if position % 2 else DeliveryStatus.DEAD
            await _end(server, f"run-1:{position}", status)
        assert await storage.redrive_many(DeliveryFilter(), NOW, 3) == 3
        assert await statuses(storage) == ["pending", "pending", "pending", "parked", "dead"]

    async def test_more_are_redriven_than_fit_into_one_transaction(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, MANY)
        dead = settlement_of("", 0, started=False, status=DeliveryStatus.DEAD)
        await server.settle(*(replace(dead, delivery_id=f"run-1:{n}", run_id="run-1") for n in range(MANY)))
        assert await storage.redrive_many(DeliveryFilter(status="dead"), NOW, MANY - 3) == MANY - 3
        assert await storage.count_deliveries(DeliveryFilter(status="dead"), MANY) == 3

    # discarding many
    async def test_what_is_neither_final_nor_running_is_discarded(self, varied: Storage) -> None:
        assert await varied.discard_many(DeliveryFilter(), "not needed", NOW + 20, 100) == 7
        assert await varied.count_deliveries(DeliveryFilter(status="discarded"), 100) == 8
        assert await statuses(varied, "run-0") == ["delivered", "dead", "discarded"]
        assert await statuses(varied, "run-2") == ["discarded", "running", "discarded"]
        record = await delivery(varied, "run-1:1")
        assert (record.discard_reason, record.finished_at, record.delivery.due_at) == ("not needed", NOW + 20, None)

    async def test_line_goes_on_behind_what_is_discarded(self, storage: Storage) -> None:
        await commit_run(storage, 4)
        assert await storage.discard_many(DeliveryFilter(run_id="run-1"), "", NOW + 9, 2) == 2
        assert await statuses(storage) == ["discarded", "discarded", "pending", "waiting"]
        assert (await delivery(storage, "run-1:2")).delivery.due_at == NOW + 9

    @pytest.mark.parametrize(
        ("where", "count"),
        [
            (DeliveryFilter(status="waiting"), 3),
            (DeliveryFilter(status="parked"), 1),
            (DeliveryFilter(status="running"), 0),
            (DeliveryFilter(status="dead"), 0),
            (DeliveryFilter(hook="hook_2"), 4),
            (DeliveryFilter(runnable="agent-2"), 2),
            (DeliveryFilter(user_id="user-1", status="waiting"), 1),
            (DeliveryFilter(created_after=NOW + 3), 3),
        ],
    )
    async def test_what_a_filter_lets_through_is_discarded(
        self, varied: Storage, where: DeliveryFilter, count: int
    ) -> None:
        before = await varied.count_deliveries(DeliveryFilter(status="discarded"), 100)
        assert await varied.discard_many(where, "", NOW + 20, 100) == count
        assert await varied.count_deliveries(DeliveryFilter(status="discarded"), 100) == before + count

    async def test_more_are_discarded_than_fit_into_one_transaction(self, storage: Storage) -> None:
        await commit_run(storage, MANY)
        assert await storage.discard_many(DeliveryFilter(), "", NOW, 10**6) == MANY
        assert await storage.backlog(10) == 0

    async def test_interrupted_deliveries_can_be_found_by_hook(self, storage: Storage) -> None:
        await commit_run(storage, 1)
        await Server(storage, OTHER).start(("run-1:0", 0))
        await storage.take_over(TakeOver(ME, [OTHER], NOW, max_interruptions=1))
        assert await _listed(storage, DeliveryFilter(hook="hook_0", status="dead")) == ["run-1:0"]
