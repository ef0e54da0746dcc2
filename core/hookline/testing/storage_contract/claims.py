"""Claiming what is due."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from hookline.deliveries import Delivery, DeliveryStatus, HookKey
from hookline.storage import ClaimedDelivery, Exchange, FinishRun, Settlement, Storage
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
    new_deliveries,
    new_delivery,
    new_run,
    settlement_of,
    statuses,
)


class Claims(Basis):
    """Claiming what is due."""

    async def test_scan_claims_what_is_due_with_its_run(self, storage: Storage, server: Server) -> None:
        run = await commit_run(storage, 2)
        assert await server.scan(now=DUE - 0.1) == []
        (claimed,) = await server.scan(now=DUE)
        expected = Delivery("run-1:0", "run-1", "agent-1", "post", "hook_0", 0, DeliveryStatus.RUNNING, 1, 4, DUE)
        assert claimed == ClaimedDelivery(expected, fence=1, interruptions=0, run=run)
        assert await statuses(storage) == ["running", "waiting"]
        assert (await delivery(storage, "run-1:0")).delivery.attempt_count == 1

    async def test_claimed_delivery_is_settled_at_its_fence(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2)
        (claimed,) = await server.scan()
        await server.settle(settlement_of("run-1:0", claimed.fence))
        assert await statuses(storage) == ["delivered", "pending"]

    async def test_nothing_of_a_run_is_claimed_while_another_of_it_runs(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2)
        await server.start(("run-1:0", 0))
        await server.settle(failed("run-1:0", 1, due_at=DUE))
        await Server(storage, OTHER).start(("run-1:1", 0))
        assert await statuses(storage) == ["pending", "running"]
        assert await server.scan() == []
        assert await server.claim("run-1") == []

    async def test_nothing_of_a_run_is_claimed_while_its_line_is_reserved(
        self, storage: Storage, server: Server
    ) -> None:
        """Its server may have begun the head by now: a delivery of the same run that was delayed must not join it."""
        rows = [new_delivery(0, due_at=NOW + 0.5), *new_deliveries(2, first=1)]
        await storage.finish_run(FinishRun(completed(new_run()), False, rows, None, NOW))
        assert await server.scan(now=NOW + 1) == []
        apart = Exchange(ME, NOW + 1, scan=True, limit=10, apart=[HookKey("agent-1", "post", "other")])
        assert await storage.exchange(apart) == []
        assert ids_of(await server.scan(now=DUE)) == ["run-1:0"]

    async def test_first_of_several_due_in_one_run_is_claimed(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 3)
        await server.settle(replace(failed("run-1:0", 0, due_at=DUE + 1), started=False))
        assert await statuses(storage) == ["pending", "pending", "waiting"]
        assert ids_of(await server.scan(now=DUE + 5)) == ["run-1:0"], "one of a run, the lowest position"
        assert await server.scan(now=DUE + 5) == []

    async def test_earliest_due_runs_are_claimed_first(self, storage: Storage, server: Server) -> None:
        for n, later in enumerate((3.0, 1.0, 2.0)):
            await commit_run(storage, 1, f"run-{n}", now=NOW + later)
        claimed = await server.scan(limit=2, now=DUE + 10)
        assert ids_of(claimed) == ["run-1:0", "run-2:0"]
        assert ids_of(await server.scan(limit=2, now=DUE + 10)) == ["run-0:0"]

    async def test_reserved_head_is_claimed_by_naming_its_run(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 2, "run-1")
        await commit_run(storage, 2, "run-2")
        assert ids_of(await server.claim("run-2", "unknown")) == ["run-2:0"]
        assert await statuses(storage, "run-1") == ["pending", "waiting"]

    async def test_claiming_a_run_leaves_what_waits_out_of_line(self, storage: Storage, server: Server) -> None:
        rows = [new_delivery(0, due_at=NOW + 60)]
        await storage.finish_run(FinishRun(completed(new_run()), False, rows, None, NOW))
        assert await server.claim("run-1") == []
        assert await server.scan(now=NOW + 59) == []
        assert ids_of(await server.scan(now=NOW + 60)) == ["run-1:0"]

    async def test_limit_holds_for_runs_and_scan_together(self, storage: Storage, server: Server) -> None:
        for n in range(6):
            await commit_run(storage, 1, f"run-{n}")
        request = Exchange(ME, DUE, claim_runs=["run-5", "run-4"], scan=True, limit=3)
        assert ids_of(await storage.exchange(request)) == ["run-5:0", "run-4:0", "run-0:0"]
        request = Exchange(ME, DUE, claim_runs=["run-1", "run-2"], limit=1)
        assert ids_of(await storage.exchange(request)) == ["run-1:0"]

    async def test_line_is_claimed_on_in_the_exchange_that_settles_its_head(
        self, storage: Storage, server: Server
    ) -> None:
        await commit_run(storage, 3)
        (claimed,) = await server.scan()
        for position in range(2):
            request = Exchange(
                ME,
                DUE,
                settlements=[settlement_of(f"run-1:{position}", claimed.fence)],
                claim_runs=["run-1"],
                limit=1,
            )
            (claimed,) = await storage.exchange(request)
            assert claimed.delivery.delivery_id == f"run-1:{position + 1}"
        assert await statuses(storage) == ["delivered", "delivered", "running"]

    async def test_delayed_pre_hook_is_not_claimed_before_its_run_is_finished(
        self, storage: Storage, server: Server
    ) -> None:
        await storage.accept_run(new_run(), [new_delivery(0, due_at=NOW)])
        assert await server.scan(now=NOW + 60) == []
        await storage.finish_run(FinishRun(completed(new_run()), True, [], None, NOW))
        assert ids_of(await server.scan(now=NOW + 60)) == ["run-1:0"]

    async def test_parked_and_final_deliveries_are_not_claimed(self, storage: Storage, server: Server) -> None:
        await commit_run(storage, 3)
        for position, status in enumerate((DeliveryStatus.PARKED, DeliveryStatus.DEAD, DeliveryStatus.DISCARDED)):
            await server.settle(settlement_of(f"run-1:{position}", 0, started=False, status=status))
        assert await server.scan(now=NOW + 9999) == []

    async def test_many_workers_deliver_everything_once_and_in_order(self, storage: Storage) -> None:
        runs, hooks = 12, 4
        for n in range(runs):
            await commit_run(storage, hooks, f"run-{n}")
        taken: list[str] = []
        running: Counter[str] = Counter()

        async def work(name: str) -> None:
            settlements: list[Settlement] = []
            while len(taken) < runs * hooks or settlements:
                request = Exchange(name, DUE, settlements=settlements, scan=True, limit=2)
                claimed = await storage.exchange(request)
                for done in settlements:
                    running[done.run_id] -= 1
                settlements = [settlement_of(claim.delivery.delivery_id, claim.fence) for claim in claimed]
                for claim in claimed:
                    running[claim.run.run_id] += 1
                    assert running[claim.run.run_id] == 1
                    taken.append(claim.delivery.delivery_id)

        async with asyncio.timeout(60):
            await asyncio.gather(*(work(f"server-{n}") for n in range(4)))
        for n in range(runs):
            assert [id_ for id_ in taken if id_.startswith(f"run-{n}:")] == [f"run-{n}:{m}" for m in range(hooks)]
            assert await statuses(storage, f"run-{n}") == ["delivered"] * hooks

    async def test_claims_that_a_server_never_heard_of_are_given_back(self, storage: Storage, server: Server) -> None:
        for n in range(3):
            await commit_run(storage, 2, f"run-{n}")
        held = {claim.delivery.delivery_id: claim.fence for claim in await server.scan(limit=2)}
        await Server(storage, OTHER).start(("run-2:0", 0))
        held.pop("run-1:0")
        assert await storage.exchange(Exchange(ME, DUE + 1, held=held)) == []
        given_back = await delivery(storage, "run-1:0")
        assert (given_back.delivery.status, given_back.delivery.due_at) == (DeliveryStatus.PENDING, DUE + 1)
        assert (given_back.delivery.attempt_count, given_back.attempts, given_back.interruptions) == (0, [], 0)
        assert [await statuses(storage, f"run-{n}") for n in (0, 2)] == [["running", "waiting"]] * 2
        await server.settle(settlement_of("run-1:0", 1), settlement_of("run-0:0", 1))
        assert await statuses(storage, "run-1") == ["pending", "waiting"], "it is lost"
        assert await statuses(storage, "run-0") == ["delivered", "pending"]
        assert ids_of(await server.claim("run-1", now=DUE + 1)) == ["run-1:0"]

    async def test_claim_of_what_was_just_settled_is_given_back(self, storage: Storage, server: Server) -> None:
        """The exchange that settled it has claimed it again, and nobody heard: the server says it at its old fence."""
        await commit_run(storage, 1)
        await server.start(("run-1:0", 0))
        settlement = failed("run-1:0", 1, due_at=NOW)
        request = Exchange(ME, DUE, settlements=[settlement], scan=True, limit=1)
        assert ids_of(await storage.exchange(request)) == ["run-1:0"]
        (claimed,) = await storage.exchange(replace(request, held={"run-1:0": 1}))
        assert (claimed.delivery.delivery_id, claimed.delivery.attempt_count) == ("run-1:0", 2)
