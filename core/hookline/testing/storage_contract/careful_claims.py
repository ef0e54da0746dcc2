"""Claiming what lost its lease, with care: a few at a time, and suspects alone."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

from typing import Any

from hookline.deliveries import HookKey
from hookline.storage import Exchange, FinishRun, Storage, TakeOver
from hookline.testing.storage_contract.basis import Basis
from hookline.testing.storage_contract.builders import (
    DUE,
    ME,
    NOW,
    OTHER,
    Server,
    commit_run,
    completed,
    failed,
    ids_of,
    new_delivery,
    new_run,
)

HOOK = HookKey("agent-1", "post", "hook_0")


async def _interrupted(storage: Storage, run_id: str, times: int = 1) -> None:
    """Store a run whose first delivery lost its lease so often."""
    await commit_run(storage, 2, run_id)
    for _ in range(times):
        assert ids_of(await Server(storage, OTHER).claim(run_id)) == [f"{run_id}:0"]
        await storage.take_over(TakeOver(ME, [OTHER], NOW))


async def _claim(storage: Storage, **request: Any) -> list[str]:
    request = {"scan": True, "limit": 10, "limit_interrupted": 2, "suspect_after": 2, **request}
    return ids_of(await storage.exchange(Exchange(ME, DUE, **request)))


class CarefulClaims(Basis):
    """Claiming what lost its lease, with care."""

    async def test_so_many_of_the_interrupted_are_claimed_before_all_others(self, storage: Storage) -> None:
        await commit_run(storage, 1, "plain")
        for n in range(4):
            await _interrupted(storage, f"run-{n}")
        assert await _claim(storage) == ["run-0:0", "run-1:0", "plain:0"]
        assert await _claim(storage, limit_interrupted=0) == []
        assert await _claim(storage, limit_interrupted=1) == ["run-2:0"]
        assert await _claim(storage, limit_interrupted=None) == ["run-3:0"]

    async def test_limit_holds_for_interrupted_and_others_together(self, storage: Storage) -> None:
        for n in range(2):
            await commit_run(storage, 1, f"plain-{n}")
            await _interrupted(storage, f"run-{n}")
        assert await _claim(storage, limit=1) == ["run-0:0"]
        assert await _claim(storage, limit=2) == ["run-1:0", "plain-0:0"]

    async def test_suspects_are_claimed_alone_and_first(self, storage: Storage) -> None:
        await commit_run(storage, 1, "plain")
        await _interrupted(storage, "once")
        for n in range(2):
            await _interrupted(storage, f"twice-{n}", 2)
        assert sorted([await _claim(storage), await _claim(storage)]) == [["twice-0:0"], ["twice-1:0"]]
        assert await _claim(storage) == ["once:0", "plain:0"]

    async def test_naming_a_run_claims_nothing_that_was_interrupted(self, storage: Storage, server: Server) -> None:
        await _interrupted(storage, "run-1")
        await commit_run(storage, 1, "run-2")
        assert await _claim(storage, scan=False, claim_runs=["run-1", "run-2"]) == ["run-2:0"]
        assert ids_of(await server.claim("run-1")) == ["run-1:0"], "unless no care is asked for"
        await _interrupted(storage, "twice", 2)
        assert await _claim(storage, scan=False, claim_runs=["twice"], limit_interrupted=None) == []

    async def test_without_a_scan_or_room_no_suspect_is_claimed(self, storage: Storage) -> None:
        await _interrupted(storage, "twice", 2)
        assert await _claim(storage, scan=False) == []
        assert await _claim(storage, limit=0) == []

    async def test_room_of_a_hook_is_shared(self, storage: Storage, server: Server) -> None:
        """A hook's interrupted deliveries take of the room that it has in this server."""
        for n in range(3):
            rows = [new_delivery(0, f"run-{n}", due_at=NOW)]
            await storage.finish_run(FinishRun(completed(new_run(f"run-{n}")), False, rows, None, NOW))
        assert ids_of(await Server(storage, OTHER).scan(limit=1)) == ["run-0:0"]
        await storage.take_over(TakeOver(ME, [OTHER], NOW))
        assert await _claim(storage, apart=[HOOK], claim_hooks={HOOK: 2}) == ["run-0:0", "run-1:0"]

    async def test_suspect_of_a_hook_that_is_left_apart_waits_and_holds_up_nobody(
        self, storage: Storage, server: Server
    ) -> None:
        await commit_run(storage, 1, "run-1")
        await server.start(("run-1:0", 0))
        await server.settle(failed("run-1:0", 1, due_at=NOW))
        for _ in range(2):
            assert ids_of(await Server(storage, OTHER).scan()) == ["run-1:0"]
            await storage.take_over(TakeOver(ME, [OTHER], NOW))
        rows = [new_delivery(0, "run-2", hook="other", due_at=NOW)]
        await storage.finish_run(FinishRun(completed(new_run("run-2")), False, rows, None, NOW))
        assert await _claim(storage, apart=[HOOK]) == ["run-2:0"]
        assert await _claim(storage, apart=[HOOK], claim_hooks={HOOK: 1}) == ["run-1:0"]
