"""What became of each hook's deliveries."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

from dataclasses import replace

from hookline.deliveries import DeliveryStatus, HookKey
from hookline.storage import FinishRun, HookStats, Storage
from hookline.testing.storage_contract.basis import Basis
from hookline.testing.storage_contract.builders import (
    NOW,
    Server,
    commit_run,
    completed,
    failed,
    new_delivery,
    new_run,
    settlement_of,
)

HOOK = HookKey("agent-1", "post", "hook_0")


async def _stats(storage: Storage, since: float = NOW) -> dict[str, HookStats]:
    return {stats.key.hook: stats for stats in await storage.hook_stats(since)}


class Statistics(Basis):
    """What became of each hook's deliveries."""

    async def test_empty_ledger_has_no_statistics(self, storage: Storage) -> None:
        assert await storage.hook_stats(0.0) == []

    async def test_deliveries_that_have_not_ended_are_not_counted(self, storage: Storage) -> None:
        server = Server(storage, now=NOW + 10)
        await commit_run(storage, 2)
        await server.start(("run-1:0", 0))
        assert await storage.hook_stats(0.0) == []

    async def test_ends_are_counted_by_hook(self, storage: Storage) -> None:
        server = Server(storage, now=NOW + 10)
        ends = [DeliveryStatus.DELIVERED, DeliveryStatus.DELIVERED, DeliveryStatus.DEAD, DeliveryStatus.PARKED]
        for n, status in enumerate(ends):
            await commit_run(storage, 1, f"run-{n}")
            outcome = "failed" if status == DeliveryStatus.DEAD else "delivered"
            await server.settle(settlement_of(f"run-{n}:0", 0, started=False, status=status, outcome=outcome))
        await commit_run(storage, 2, "run-9")
        await storage.discard("run-9:0", "", NOW + 10)
        await storage.discard("run-9:1", "", NOW + 10)
        stats = await _stats(storage)
        assert sorted(stats) == ["hook_0", "hook_1"]
        first = stats["hook_0"]
        assert (first.key, first.count, first.delivered, first.dead, first.discarded) == (HOOK, 4, 2, 1, 1)
        assert stats["hook_1"] == HookStats(
            HookKey("agent-1", "post", "hook_1"), 1, 0, 0, 1, 0, None, None, None, None
        ), "discarded without an attempt"

    async def test_only_what_ended_since_then_counts(self, storage: Storage) -> None:
        server = Server(storage, now=NOW + 10)
        for n in range(4):
            await commit_run(storage, 1, f"run-{n}")
            server.now = NOW + n
            await server.settle(settlement_of(f"run-{n}:0", 0, started=False, started_at=NOW + n - 0.5, duration=0.25))
        assert (await _stats(storage, NOW + 2))["hook_0"].delivered == 2
        assert (await _stats(storage, NOW + 3))["hook_0"].delivered == 1
        assert await _stats(storage, NOW + 3.5) == {}

    async def test_redriven_delivery_has_not_ended(self, storage: Storage) -> None:
        server = Server(storage, now=NOW + 10)
        await commit_run(storage, 1)
        dead = settlement_of("run-1:0", 0, started=False, status=DeliveryStatus.DEAD, outcome="failed")
        await server.settle(replace(dead, started_at=NOW - 60, duration=0.5))
        await storage.redrive("run-1:0", NOW)
        assert await storage.hook_stats(NOW) == []

    async def test_failed_attempts_are_counted_by_their_end(self, storage: Storage) -> None:
        server = Server(storage, now=NOW + 10)
        await commit_run(storage, 1)
        for fence, (began, outcome) in enumerate([(NOW, "failed"), (NOW + 2, "timeout"), (NOW + 4, "delivered")]):
            settlement = failed("run-1:0", fence, due_at=NOW, outcome="timeout" if outcome == "timeout" else "failed")
            if outcome == "delivered":
                settlement = settlement_of("run-1:0", fence)
            await server.settle(replace(settlement, started=False, started_at=began, duration=1.0))
        stats = (await _stats(storage))["hook_0"]
        assert (stats.count, stats.delivered, stats.failed) == (1, 1, 2)
        assert (await _stats(storage, NOW + 3))["hook_0"].failed == 1
        assert (await _stats(storage, NOW + 3.1))["hook_0"].failed == 0

    async def test_hook_that_only_fails_is_seen_before_anything_ended(self, storage: Storage) -> None:
        server = Server(storage, now=NOW + 10)
        await commit_run(storage, 1)
        await server.settle(replace(failed("run-1:0", 0, due_at=NOW + 99), started=False, started_at=NOW, duration=3.0))
        assert await storage.hook_stats(NOW) == [HookStats(HOOK, 0, 0, 0, 0, 1, None, None, 3.0, 3.0)]

    async def test_percentiles_of_waits_and_durations(self, storage: Storage) -> None:
        server = Server(storage, now=NOW + 10)
        count = 20
        for n in range(count):
            await commit_run(storage, 1, f"run-{n}", finished_at=NOW)
        settlements = [
            settlement_of(f"run-{n}:0", 0, started=False, started_at=NOW + 1 + n, duration=float(count - n))
            for n in range(count)
        ]
        server.now = NOW + 100
        await server.settle(*settlements)
        stats = (await _stats(storage))["hook_0"]
        assert (stats.wait_p50, stats.wait_p95) == (10.0, 19.0)
        assert (stats.duration_p50, stats.duration_p95) == (10.0, 19.0)

    async def test_wait_is_to_the_first_start(self, storage: Storage) -> None:
        server = Server(storage, now=NOW + 10)
        await commit_run(storage, 1, finished_at=NOW)
        await server.settle(replace(failed("run-1:0", 0, due_at=NOW), started=False, started_at=NOW + 2))
        await server.settle(settlement_of("run-1:0", 1, started=False, started_at=NOW + 50))
        assert (await _stats(storage))["hook_0"].wait_p50 == 2.0

    async def test_pre_hook_waits_from_the_end_of_its_run(self, storage: Storage) -> None:
        server = Server(storage, now=NOW + 10)
        await storage.accept_run(new_run(), [new_delivery(0, phase="pre")])
        await storage.finish_run(FinishRun(completed(new_run(), finished_at=NOW + 30), True, [], None, NOW + 30))
        await server.settle(settlement_of("run-1:0", 0, started=False, started_at=NOW + 32))
        assert (await _stats(storage))["hook_0"].wait_p50 == 2.0

    async def test_clock_that_was_set_back_makes_no_negative_wait(self, storage: Storage) -> None:
        server = Server(storage, now=NOW + 10)
        await commit_run(storage, 1)
        await server.settle(settlement_of("run-1:0", 0, started=False, started_at=NOW - 3600))
        assert (await _stats(storage))["hook_0"].wait_p50 == 0.0

    async def test_hooks_are_sorted(self, storage: Storage) -> None:
        server = Server(storage, now=NOW + 10)
        await commit_run(storage, 3, "run-1", runnable_id="b")
        await commit_run(storage, 3, "run-2", runnable_id="a")
        await server.settle(*(settlement_of(f"run-{n}:{m}", 0, started=False) for n in (1, 2) for m in (2, 0, 1)))
        keys = [stats.key for stats in await storage.hook_stats(NOW)]
        assert keys == [HookKey(runnable, "post", f"hook_{n}") for runnable in "ab" for n in range(3)]
