"""What people do with deliveries."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

from typing import Any

import pytest

from hookline.deliveries import DeliveryStatus
from hookline.storage import DeliveryFilter, DeliveryRecord, Page, Storage, TakeOver
from hookline.testing.storage_contract.basis import Basis
from hookline.testing.storage_contract.builders import (
    NOW,
    OTHER,
    Server,
    commit_run,
    delivery,
    new_delivery,
    new_run,
    outcomes,
    settlement_of,
    statuses,
)


async def _end(server: Server, delivery_id: str, status: DeliveryStatus, fence: int = 0) -> None:
    await server.settle(settlement_of(delivery_id, fence, started=False, status=status, last_error="no"))


# listing
def _shown(page: Page[DeliveryRecord]) -> list[str]:
    return [record.delivery.delivery_id for record in page.items]


async def _listed(storage: Storage, **where: Any) -> list[str]:
    return _shown(await storage.list_deliveries(DeliveryFilter(**where), limit=50, cursor=None))


class People(Basis):
    """What people do with deliveries."""

    # redrive
    @pytest.mark.parametrize("status", [DeliveryStatus.DEAD, DeliveryStatus.PARKED])
    async def test_redriven_delivery_has_fresh_attempts(
        self, storage: Storage, server: Server, status: DeliveryStatus
    ) -> None:
        await commit_run(storage, 2)
        await _end(server, "run-1:0", status)
        record = await storage.redrive("run-1:0", NOW + 50)
        assert record is not None
        assert (record.delivery.status, record.delivery.due_at) == (DeliveryStatus.PENDING, NOW + 50)
        assert (record.delivery.attempt_count, record.finished_at, len(record.attempts)) == (0, None, 1)
        assert record == await storage.get_delivery("run-1:0")
        (claimed,) = await server.scan(now=NOW + 50)
        assert (claimed.delivery.delivery_id, claimed.delivery.attempt_count) == ("run-1:0", 1)

    async def test_redriving_forgets_interruptions(self, storage: Storage) -> None:
        await commit_run(storage, 1)
        await Server(storage, OTHER).start(("run-1:0", 0))
        await storage.take_over(TakeOver("server-1", [OTHER], NOW, max_interruptions=1))
        record = await storage.redrive("run-1:0", NOW)
        assert record is not None
        assert record.interruptions == 0

    async def test_word_from_before_a_redrive_is_ignored(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 1)
        await _end(server, "run-1:0", DeliveryStatus.DEAD)
        await storage.redrive("run-1:0", NOW)
        await server.settle(settlement_of("run-1:0", 1, started=False))
        assert await statuses(storage) == ["pending"]

    @pytest.mark.parametrize("status", [DeliveryStatus.DELIVERED, DeliveryStatus.DISCARDED, None])
    async def test_only_dead_and_parked_deliveries_are_redriven(
        self, storage: Storage, server: Server, status: DeliveryStatus | None
    ) -> None:
        await commit_run(storage, 1)
        if status is not None:
            await _end(server, "run-1:0", status)
        before = await delivery(storage, "run-1:0")
        assert await storage.redrive("run-1:0", NOW) is None
        assert await storage.redrive("unknown", NOW) is None
        assert await delivery(storage, "run-1:0") == before

    # discard
    async def test_next_in_line_takes_the_place_of_a_discarded_head(self, storage: Storage) -> None:
        await commit_run(storage, 3)
        record = await storage.discard("run-1:0", "not needed", NOW + 9)
        assert record is not None
        assert (record.delivery.status, record.discard_reason) == (DeliveryStatus.DISCARDED, "not needed")
        assert (record.finished_at, record.delivery.due_at) == (NOW + 9, None)
        assert await statuses(storage) == ["discarded", "pending", "waiting"]
        assert (await delivery(storage, "run-1:1")).delivery.due_at == NOW + 9

    async def test_discarding_a_waiting_delivery_leaves_the_head(self, storage: Storage) -> None:
        await commit_run(storage, 3)
        await storage.discard("run-1:1", "", NOW)
        assert await statuses(storage) == ["pending", "discarded", "waiting"]

    async def test_discarding_a_parked_delivery_leaves_the_head(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 3)
        await _end(server, "run-1:0", DeliveryStatus.PARKED)
        await storage.discard("run-1:0", "", NOW)
        assert await statuses(storage) == ["discarded", "pending", "waiting"]

    async def test_discarding_pre_hooks_of_a_running_run_starts_none(self, storage: Storage) -> None:
        await storage.accept_run(
            new_run(), [new_delivery(0), new_delivery(1, due_at=NOW), new_delivery(2), new_delivery(3)]
        )
        await storage.discard("run-1:0", "", NOW)
        await storage.discard("run-1:1", "", NOW)
        assert await statuses(storage) == ["discarded", "discarded", "waiting", "waiting"]

    async def test_word_on_a_discarded_delivery_is_ignored(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2)
        await storage.discard("run-1:0", "", NOW)
        await server.start(("run-1:0", 0))
        await server.settle(settlement_of("run-1:0", 0, started=False))
        assert await statuses(storage) == ["discarded", "pending"]
        assert await outcomes(storage, "run-1:0") == []

    @pytest.mark.parametrize("status", [DeliveryStatus.DELIVERED, DeliveryStatus.DEAD, DeliveryStatus.DISCARDED])
    async def test_final_deliveries_are_not_discarded(
        self, storage: Storage, server: Server, status: DeliveryStatus
    ) -> None:
        await commit_run(storage, 1)
        await _end(server, "run-1:0", status)
        assert await storage.discard("run-1:0", "", NOW) is None
        assert await storage.discard("unknown", "", NOW) is None
        assert await statuses(storage) == [status.value]

    async def test_running_deliveries_are_not_discarded(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 1)
        await server.scan()
        assert await storage.discard("run-1:0", "", NOW) is None
        assert await statuses(storage) == ["running"]

    async def test_deliveries_are_filtered(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 3, "run-1")
        await commit_run(storage, 2, "run-2", user_id="user-2")
        await _end(server, "run-1:0", DeliveryStatus.DELIVERED)
        assert await _listed(storage) == ["run-2:1", "run-2:0", "run-1:2", "run-1:1", "run-1:0"]
        assert await _listed(storage, status="pending") == ["run-2:0", "run-1:1"]
        assert await _listed(storage, status="delivered") == ["run-1:0"]
        assert await _listed(storage, status="waiting", run_id="run-1") == ["run-1:2"]
        assert await _listed(storage, run_id="run-2") == ["run-2:1", "run-2:0"]
        assert await _listed(storage, user_id="user-2", hook="hook_1") == ["run-2:1"]
        assert await _listed(storage, hook="hook_1") == ["run-2:1", "run-1:1"]
        assert await _listed(storage, status="unheard-of") == []

    @pytest.mark.parametrize("where", [DeliveryFilter(), DeliveryFilter(status="waiting")])
    async def test_listing_goes_on_at_its_cursor(self, storage: Storage, where: DeliveryFilter) -> None:
        await commit_run(storage, 5)
        page = await storage.list_deliveries(where, limit=2, cursor=None)
        seen = _shown(page)
        while page.next_cursor is not None:
            await commit_run(storage, 2, f"later than {seen[-1]}")
            page = await storage.list_deliveries(where, limit=2, cursor=page.next_cursor)
            seen += _shown(page)
        rest = ["run-1:0"] if where.status is None else []
        assert seen == ["run-1:4", "run-1:3", "run-1:2", "run-1:1", *rest]

    async def test_listing_has_no_attempts(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 1)
        await _end(server, "run-1:0", DeliveryStatus.DEAD)
        page = await storage.list_deliveries(DeliveryFilter(), limit=1, cursor=None)
        assert page.items[0].attempts == []
        assert len((await delivery(storage, "run-1:0")).attempts) == 1

    async def test_broken_cursor_of_a_listing_is_refused(self, storage: Storage) -> None:
        with pytest.raises(ValueError, match="cursor"):
            await storage.list_deliveries(DeliveryFilter(), limit=1, cursor="banana")
