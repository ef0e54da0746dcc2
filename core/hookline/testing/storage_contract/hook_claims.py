"""Hooks that are left apart, postponed deliveries, changed policies."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hookline.deliveries import DeliveryStatus, HookKey
from hookline.storage import ClaimedDelivery, Exchange, FinishRun, Settlement, Storage
from hookline.testing.storage_contract.basis import Basis
from hookline.testing.storage_contract.builders import (
    DUE,
    ME,
    NOW,
    Server,
    commit_run,
    completed,
    delivery,
    failed,
    ids_of,
    new_delivery,
    new_run,
    outcomes,
    settlement_of,
    statuses,
)

A, B = HookKey("agent-1", "post", "a"), HookKey("agent-1", "post", "b")


async def _commit(storage: Storage, run_id: str, *hooks: str, now: float = NOW, **changes: Any) -> None:
    """Store a finished run, its deliveries all out of line and due at `now`."""
    rows = [new_delivery(n, run_id, hook=hook, due_at=now) for n, hook in enumerate(hooks)]
    run = completed(new_run(run_id, **changes))
    assert await storage.finish_run(FinishRun(run, False, rows, None, now))


async def _scan(storage: Storage, **request: Any) -> list[ClaimedDelivery]:
    return await storage.exchange(Exchange(ME, DUE, scan=True, **{"limit": 10, **request}))


def _postponed(delivery_id: str, fence: int, due_at: float, **changes: Any) -> Settlement:
    return settlement_of(
        delivery_id,
        fence,
        status=DeliveryStatus.PENDING,
        outcome="postponed",
        started_at=None,
        due_at=due_at,
        **changes,
    )


class HookClaims(Basis):
    """Hooks that are left apart, postponed deliveries, changed policies."""

    # hooks left apart
    async def test_scan_leaves_hooks_apart(self, storage: Storage) -> None:
        for n in range(3):
            await _commit(storage, f"run-{n}", "a", "b")
        assert ids_of(await _scan(storage, apart=[A, B])) == []
        assert ids_of(await _scan(storage, apart=[A])) == ["run-0:1", "run-1:1", "run-2:1"]

    async def test_head_of_a_line_is_claimed_so_that_it_can_be_postponed(
        self, storage: Storage, server: Server
    ) -> None:
        head = HookKey("agent-1", "post", "hook_0")
        await commit_run(storage, 2)
        (claimed,) = await _scan(storage, apart=[head])
        assert claimed.delivery.delivery_id == "run-1:0"
        await server.settle(_postponed("run-1:0", claimed.fence, NOW))
        assert ids_of(await _scan(storage, apart=[head])) == ["run-1:1"]
        assert ids_of(await _scan(storage, apart=[head], claim_hooks={head: 1})) == [], "while another of its run runs"

    async def test_hook_of_another_runnable_or_phase_is_another(self, storage: Storage) -> None:
        await _commit(storage, "run-1", "a")
        await _commit(storage, "run-2", "a", runnable_id="agent-2")
        rows = [new_delivery(0, "run-3", hook="a", phase="pre", due_at=NOW)]
        await storage.finish_run(FinishRun(completed(new_run("run-3")), False, rows, None, NOW))
        assert sorted(ids_of(await _scan(storage, apart=[A]))) == ["run-2:0", "run-3:0"]

    async def test_hooks_apart_are_claimed_as_far_as_they_may(self, storage: Storage) -> None:
        for n in range(4):
            await _commit(storage, f"run-{n}", "a", now=NOW - n)
        await _commit(storage, "run-4", "b", now=NOW - 2.5)
        claimed = await _scan(storage, apart=[A], claim_hooks={A: 2})
        assert ids_of(claimed) == ["run-3:0", "run-4:0", "run-2:0"], "the earliest first"
        assert ids_of(await _scan(storage, apart=[A], claim_hooks={A: 0})) == []
        assert ids_of(await _scan(storage, apart=[A], claim_hooks={A: 9})) == ["run-1:0", "run-0:0"]

    async def test_hook_that_may_start_needs_not_be_named_apart(self, storage: Storage) -> None:
        for n in range(3):
            await _commit(storage, f"run-{n}", "a")
        assert len(await _scan(storage, claim_hooks={A: 2})) == 2

    async def test_without_a_scan_no_hook_is_claimed(self, storage: Storage) -> None:
        await _commit(storage, "run-1", "a")
        assert await storage.exchange(Exchange(ME, DUE, claim_hooks={A: 5}, limit=5)) == []

    async def test_limit_holds_for_all_hooks_together(self, storage: Storage) -> None:
        for n in range(6):
            await _commit(storage, f"run-{n}", "a" if n % 2 else "b", now=NOW + n / 10)
        claimed = await _scan(storage, apart=[A], claim_hooks={A: 5}, limit=3)
        assert ids_of(claimed) == ["run-0:0", "run-1:0", "run-2:0"]

    async def test_claims_of_runs_count_towards_the_limit(self, storage: Storage) -> None:
        await commit_run(storage, 1)
        for n in range(3):
            await _commit(storage, f"late-{n}", "a")
        claimed = await _scan(storage, claim_runs=["run-1"], apart=[B], limit=2)
        assert ids_of(claimed) == ["run-1:0", "late-0:0"]

    async def test_one_of_a_run_is_claimed_the_lowest_position_first(self, storage: Storage) -> None:
        await _commit(storage, "run-1", "a", "b", "c")
        assert ids_of(await _scan(storage, apart=[HookKey("x", "post", "y")])) == ["run-1:0"]
        assert ids_of(await _scan(storage, apart=[HookKey("x", "post", "y")])) == [], "one of it is running"
        assert ids_of(await _scan(storage, claim_hooks={B: 1})) == []

    async def test_hook_apart_does_not_hold_up_others_of_its_run(self, storage: Storage) -> None:
        await _commit(storage, "run-1", "a", "b")
        assert ids_of(await _scan(storage, apart=[A])) == ["run-1:1"]

    async def test_what_is_not_due_or_whose_run_is_not_finished_is_not_claimed(self, storage: Storage) -> None:
        await _commit(storage, "run-1", "a", now=DUE + 1)
        await storage.accept_run(new_run("run-2"), [new_delivery(0, "run-2", hook="a", due_at=NOW)])
        assert await _scan(storage, apart=[B], claim_hooks={A: 5}) == []

    async def test_claimed_by_hook_is_as_any_other(self, storage: Storage, server: Server) -> None:
        await _commit(storage, "run-1", "a")
        (claimed,) = await _scan(storage, apart=[A], claim_hooks={A: 1})
        assert (claimed.fence, claimed.delivery.attempt_count) == (1, 1)
        assert claimed.run == await storage.get_run("run-1")
        await server.settle(settlement_of("run-1:0", 1))
        assert await statuses(storage) == ["delivered"]

    # postponed
    async def test_postponed_delivery_leaves_the_line_and_no_attempt(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2)
        (claimed,) = await server.scan()
        await server.settle(_postponed("run-1:0", claimed.fence, NOW + 60))
        assert await statuses(storage) == ["pending", "pending"]
        record = await delivery(storage, "run-1:0")
        assert (record.delivery.attempt_count, record.delivery.due_at, record.attempts) == (0, NOW + 60, [])
        assert ids_of(await server.scan()) == ["run-1:1"]
        await server.settle(settlement_of("run-1:1", 1))
        assert await server.scan(now=NOW + 59) == []
        (claimed,) = await server.scan(now=NOW + 60)
        assert (claimed.delivery.delivery_id, claimed.delivery.attempt_count) == ("run-1:0", 1)

    async def test_postponed_without_a_start(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2)
        await server.settle(_postponed("run-1:0", 0, NOW + 60, started=False))
        assert await statuses(storage) == ["pending", "pending"]
        assert (await delivery(storage, "run-1:0")).delivery.attempt_count == 0
        await server.settle(settlement_of("run-1:0", 0, started=False))
        assert await statuses(storage) == ["pending", "pending"], "its fence has grown"

    async def test_postponed_keeps_what_it_had_tried(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 1)
        await server.start(("run-1:0", 0))
        await server.settle(failed("run-1:0", 1, due_at=NOW + 5))
        (claimed,) = await server.scan(now=NOW + 5)
        await server.settle(_postponed("run-1:0", claimed.fence, NOW + 60))
        record = await delivery(storage, "run-1:0")
        assert (record.delivery.attempt_count, record.delivery.last_error) == (1, "no")
        assert await outcomes(storage, "run-1:0") == [(1, "failed")]

    async def test_postponing_at_an_old_fence_is_ignored(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 1)
        await server.scan()
        await server.settle(_postponed("run-1:0", 0, NOW + 60))
        assert await statuses(storage) == ["running"]

    # policies
    @pytest.mark.parametrize("started", [True, False])
    async def test_settlement_changes_the_attempts_allowed(
        self, storage: Storage, server: Server, started: bool
    ) -> None:
        await commit_run(storage, 1)
        if started:
            await server.start(("run-1:0", 0))
        settlement = failed("run-1:0", int(started), due_at=NOW + 5)
        await server.settle(replace(settlement, started=started, max_attempts=9))
        assert (await delivery(storage, "run-1:0")).delivery.max_attempts == 9
        (claimed,) = await server.scan(now=NOW + 5)
        assert claimed.delivery.max_attempts == 9
        await server.settle(failed("run-1:0", claimed.fence, due_at=NOW + 9))
        assert (await delivery(storage, "run-1:0")).delivery.max_attempts == 9
