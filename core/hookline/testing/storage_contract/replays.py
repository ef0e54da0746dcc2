"""Replays."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hookline.deliveries import DeliveryStatus
from hookline.errors import StorageError
from hookline.runs import RunStatus
from hookline.storage import DeliveryFilter, DeliveryRecord, Prune, ReplayRecord, ReplayStatus, Storage
from hookline.testing.storage_contract.basis import Basis
from hookline.testing.storage_contract.builders import (
    NOW,
    Server,
    commit_run,
    failed,
    ids_of,
    new_run,
    settlement_of,
    statuses,
)

LATER = NOW + 1000


def _replay(**changes: Any) -> ReplayRecord:
    replay = ReplayRecord(
        replay_id="replay-1",
        phase="post",
        hook="again",
        runnables=["agent-1"],
        statuses=["completed"],
        max_attempts=7,
        created_at=LATER,
        plugin="some-plugin",
    )
    return replace(replay, **changes)


async def _runs(storage: Storage, count: int, deliveries: int = 0, **changes: Any) -> None:
    """Store runs, of which each finished a second after the one before it."""
    for n in range(count):
        run_id = f"run-{n}"
        await commit_run(storage, deliveries, run_id, **{"finished_at": NOW + n, **changes})


async def _made(storage: Storage, replay_id: str = "replay-1") -> list[DeliveryRecord]:
    """A replay's deliveries, oldest first."""
    page = await storage.list_deliveries(DeliveryFilter(replay_id=replay_id), limit=10_000, cursor=None)
    return page.items[::-1]


async def _runs_made(storage: Storage, replay_id: str = "replay-1") -> list[str]:
    return [record.delivery.run_id for record in await _made(storage, replay_id)]


class Replays(Basis):
    """Replays."""

    # making one
    async def test_replay_is_stored_with_its_runs_counted(self, storage: Storage) -> None:
        await _runs(storage, 3)
        given = _replay(since=NOW, until=LATER, max_per_second=2.5)
        stored = await storage.create_replay(given)
        assert stored == replace(given, matched=3)
        assert await storage.get_replay("replay-1") == stored
        assert await storage.get_replay("unknown") is None
        assert await _made(storage) == []

    async def test_id_is_taken_once(self, storage: Storage) -> None:
        await storage.create_replay(_replay())
        with pytest.raises(StorageError):
            await storage.create_replay(_replay())

    @pytest.mark.parametrize(
        ("changes", "runs"),
        [
            ({}, ["run-0", "run-1", "run-2", "run-3", "run-4"]),
            ({"since": NOW + 1, "until": NOW + 3}, ["run-1", "run-2"]),
            ({"since": NOW + 4}, ["run-4"]),
            ({"until": NOW + 1}, ["run-0"]),
            ({"runnables": ["agent-2"]}, ["two"]),
            ({"runnables": ["agent-2", "agent-1", "agent-2"], "since": NOW + 3}, ["run-3", "two", "run-4"]),
            ({"runnables": ["unknown"]}, []),
            ({"runnables": []}, []),
            ({"statuses": ["failed", "rejected"]}, ["bad"]),
            ({"statuses": []}, []),
            ({"root_only": False, "until": NOW + 1}, ["run-0", "nested"]),
        ],
    )
    async def test_replay_is_about_the_runs_that_are_meant(
        self, storage: Storage, changes: dict[str, Any], runs: list[str]
    ) -> None:
        await _runs(storage, 5)
        await commit_run(storage, 0, "nested", finished_at=NOW + 0.5, parent_run_id="run-0")
        await commit_run(storage, 0, "bad", finished_at=NOW + 2, status=RunStatus.FAILED)
        await commit_run(storage, 0, "two", finished_at=NOW + 3.5, runnable_id="agent-2")
        await storage.accept_run(new_run("running"), [])
        replay = _replay(**changes)
        assert await storage.count_replay(replay) == len(runs)
        assert await storage.get_replay("replay-1") is None, "counting stores nothing"
        assert (await storage.create_replay(replay)).matched == len(runs)
        advanced = await storage.advance_replay("replay-1", LATER, 100)
        assert advanced is not None
        assert (advanced.status, advanced.made, advanced.finished_at) == ("completed", len(runs), LATER)
        assert await _runs_made(storage) == runs

    async def test_runs_that_finish_later_are_not_meant(self, storage: Storage) -> None:
        await _runs(storage, 2)
        await storage.create_replay(_replay())
        await commit_run(storage, 0, "late", finished_at=LATER + 1)
        advanced = await storage.advance_replay("replay-1", LATER + 2, 100)
        assert advanced is not None
        assert (advanced.status, advanced.made) == ("completed", 2)

    # making its deliveries
    async def test_delivery_of_a_replay(self, storage: Storage) -> None:
        await _runs(storage, 1, 2)
        await storage.create_replay(_replay())
        await storage.advance_replay("replay-1", LATER, 5)
        (record,) = await _made(storage)
        delivery = record.delivery
        assert (delivery.run_id, delivery.runnable, delivery.phase, delivery.hook) == (
            "run-0",
            "agent-1",
            "post",
            "again",
        )
        assert (delivery.status, delivery.position, delivery.replay_id) == (DeliveryStatus.PENDING, 2, "replay-1")
        assert (delivery.due_at, delivery.attempt_count, delivery.max_attempts) == (LATER, 0, 7)
        assert (record.plugin, record.user_id, record.created_at) == ("some-plugin", "user-1", LATER)
        assert await statuses(storage, "run-0") == ["pending", "waiting", "pending"], "out of line"
        assert await storage.get_delivery(delivery.delivery_id) == record

    async def test_delivery_of_a_replay_is_claimed_and_settled_as_any_other(self, storage: Storage) -> None:
        server = Server(storage, now=LATER)
        await _runs(storage, 1)
        await storage.create_replay(_replay())
        await storage.advance_replay("replay-1", LATER, 5)
        (claimed,) = await server.scan(now=LATER)
        assert (claimed.delivery.replay_id, claimed.delivery.position) == ("replay-1", 0)
        assert claimed.run == await storage.get_run("run-0")
        delivery_id = claimed.delivery.delivery_id
        await server.settle(settlement_of(delivery_id, claimed.fence, run_id="run-0"))
        assert await statuses(storage, "run-0") == ["delivered"]

    async def test_nothing_of_a_replay_is_claimed_while_another_of_its_run_runs(self, storage: Storage) -> None:
        server = Server(storage, now=LATER)
        await _runs(storage, 1, 1)
        await server.start(("run-0:0", 0))
        await storage.create_replay(_replay())
        await storage.advance_replay("replay-1", LATER, 5)
        assert await server.scan(now=LATER) == []
        await server.settle(settlement_of("run-0:0", 1))
        assert len(await server.scan(now=LATER)) == 1

    async def test_replay_goes_on_where_it_was(self, storage: Storage) -> None:
        await _runs(storage, 5)
        await storage.create_replay(_replay())
        for made, status in ((2, "running"), (4, "running"), (5, "completed")):
            advanced = await storage.advance_replay("replay-1", LATER, 2)
            assert advanced is not None
            assert (advanced.made, advanced.status) == (made, status)
            assert await _runs_made(storage) == [f"run-{n}" for n in range(made)]
        assert advanced == await storage.advance_replay("replay-1", LATER, 2)
        assert len(await _made(storage)) == 5

    async def test_replay_that_just_fits_is_completed(self, storage: Storage) -> None:
        await _runs(storage, 2)
        await storage.create_replay(_replay())
        advanced = await storage.advance_replay("replay-1", LATER, 2)
        assert advanced is not None
        assert (advanced.made, advanced.status) == (2, "completed")

    async def test_more_are_made_than_fit_into_one_transaction(self, storage: Storage) -> None:
        for n in range(430):
            await commit_run(storage, 0, f"run-{n:03}", finished_at=NOW)
        await storage.create_replay(_replay())
        advanced = await storage.advance_replay("replay-1", LATER, 420)
        assert advanced is not None
        assert (advanced.made, advanced.status) == (420, "running")
        assert await _runs_made(storage) == [f"run-{n:03}" for n in range(420)], (
            "those that finished at once: as stored"
        )

    async def test_two_replays_of_one_hook_are_apart(self, storage: Storage) -> None:
        await _runs(storage, 2)
        for replay_id in ("replay-1", "replay-2"):
            await storage.create_replay(_replay(replay_id=replay_id))
            await storage.advance_replay(replay_id, LATER, 5)
            assert await _runs_made(storage, replay_id) == ["run-0", "run-1"]
        assert [record.delivery.position for record in await storage.run_deliveries("run-0")] == [0, 1]

    async def test_what_was_pruned_is_not_made_again(self, storage: Storage) -> None:
        server = Server(storage, now=LATER)
        await _runs(storage, 3)
        await storage.create_replay(_replay())
        await storage.advance_replay("replay-1", LATER, 2)
        for claim in await server.scan(now=LATER):
            await server.settle(settlement_of(claim.delivery.delivery_id, claim.fence, run_id=claim.run.run_id))
        await storage.prune(Prune(delivered_before=LATER + 1))
        await storage.advance_replay("replay-1", LATER, 2)
        assert await _runs_made(storage) == ["run-2"]

    async def test_unknown_replay_makes_nothing(self, storage: Storage) -> None:
        assert await storage.advance_replay("unknown", LATER, 5) is None

    # its rate
    async def test_no_more_are_made_than_its_rate_allows(self, storage: Storage) -> None:
        await _runs(storage, 9)
        await storage.create_replay(_replay(max_per_second=4.0))
        made: list[int] = []
        status = None
        for tenth in range(40):
            now = LATER + tenth / 10
            advanced = await storage.advance_replay("replay-1", now, 100)
            assert advanced is not None
            made.append(advanced.made)
            status = advanced.status
        assert made[0] <= 4
        assert all(made[n + 10] - made[n] <= 4 for n in range(len(made) - 10))
        assert (made[-1], status) == (9, "completed")

    async def test_slow_replay_makes_one_at_a_time(self, storage: Storage) -> None:
        await _runs(storage, 3)
        await storage.create_replay(_replay(max_per_second=0.5))
        advanced = await storage.advance_replay("replay-1", LATER, 100)
        assert advanced is not None
        assert (advanced.made, advanced.next_at) == (1, LATER + 2)
        assert await storage.advance_replay("replay-1", LATER + 1.9, 100) == advanced
        assert len(await _made(storage)) == 1
        await storage.advance_replay("replay-1", LATER + 2, 100)
        assert len(await _made(storage)) == 2

    # pausing, resuming, cancelling
    async def test_paused_replay_makes_nothing_until_it_is_resumed(self, storage: Storage) -> None:
        await _runs(storage, 3)
        await storage.create_replay(_replay())
        await storage.advance_replay("replay-1", LATER, 1)
        paused = await storage.set_replay_status("replay-1", "paused", LATER)
        assert paused is not None
        assert (paused.status, paused.made, paused.finished_at) == ("paused", 1, None)
        assert await storage.advance_replay("replay-1", LATER, 5) == paused
        assert await storage.get_replay("replay-1") == paused
        assert await storage.set_replay_status("replay-1", "running", LATER) == replace(paused, status="running")
        await storage.advance_replay("replay-1", LATER, 5)
        assert await _runs_made(storage) == ["run-0", "run-1", "run-2"]

    async def test_cancelling_discards_what_was_not_begun(self, storage: Storage) -> None:
        server = Server(storage, now=LATER)
        await _runs(storage, 5, 1)
        await storage.create_replay(_replay())
        await storage.advance_replay("replay-1", LATER, 4)
        ids = [record.delivery.delivery_id for record in await _made(storage)]
        await server.start((ids[0], 0), (ids[1], 0))
        await server.settle(failed(ids[1], 1, due_at=LATER + 50))
        cancelled = await storage.set_replay_status("replay-1", "cancelled", LATER + 9)
        assert cancelled is not None
        assert (cancelled.status, cancelled.made, cancelled.finished_at) == ("cancelled", 4, LATER + 9)
        made = await _made(storage)
        assert [record.delivery.status.value for record in made] == ["running", "pending", "discarded", "discarded"]
        assert (made[2].finished_at, made[2].delivery.due_at) == (LATER + 9, None)
        assert made[2].discard_reason
        assert await storage.advance_replay("replay-1", LATER + 10, 5) == cancelled
        assert await statuses(storage, "run-3") == ["pending", "discarded"], "the run's own is left alone"

    async def test_word_on_what_was_cancelled_is_ignored(self, storage: Storage) -> None:
        server = Server(storage, now=LATER)
        await _runs(storage, 2)
        await storage.create_replay(_replay())
        await storage.advance_replay("replay-1", LATER, 1)
        (record,) = await _made(storage)
        await storage.set_replay_status("replay-1", "cancelled", LATER)
        await server.start((record.delivery.delivery_id, 0))
        assert await statuses(storage, "run-0") == ["discarded"]

    async def test_replay_that_has_ended_stays_as_it_is(self, storage: Storage) -> None:
        await _runs(storage, 1)
        await storage.create_replay(_replay())
        completed = await storage.advance_replay("replay-1", LATER, 4)
        assert completed is not None
        assert completed.status == "completed"
        (record,) = await _made(storage)
        await Server(storage, now=LATER).settle(settlement_of(record.delivery.delivery_id, 0, started=False))
        changes: list[ReplayStatus] = ["paused", "running", "cancelled"]
        for status in changes:
            assert await storage.set_replay_status("replay-1", status, LATER) is None
        assert await storage.set_replay_status("unknown", "paused", LATER) is None
        assert await storage.get_replay("replay-1") == completed
        assert [record.delivery.status.value for record in await _made(storage)] == ["delivered"]

    async def test_completed_replay_can_be_cancelled_while_some_of_it_is_not_begun(self, storage: Storage) -> None:
        await _runs(storage, 2)
        await storage.create_replay(_replay())
        completed = await storage.advance_replay("replay-1", LATER, 4)
        assert completed is not None
        assert completed.status == "completed"
        first, _ = await _made(storage)
        await Server(storage, now=LATER).start((first.delivery.delivery_id, 0))
        changes: list[ReplayStatus] = ["paused", "running"]
        for status in changes:
            assert await storage.set_replay_status("replay-1", status, LATER) is None
        cancelled = await storage.set_replay_status("replay-1", "cancelled", LATER + 1)
        assert cancelled == replace(completed, status="cancelled", finished_at=LATER + 1)
        assert [record.delivery.status.value for record in await _made(storage)] == ["running", "discarded"]

    # listing
    async def test_replays_are_listed_newest_first(self, storage: Storage) -> None:
        for n in range(5):
            await storage.create_replay(_replay(replay_id=f"replay-{n}"))
        await storage.set_replay_status("replay-1", "paused", LATER)
        await storage.set_replay_status("replay-3", "paused", LATER)
        page = await storage.list_replays(status=None, limit=3, cursor=None)
        assert [replay.replay_id for replay in page.items] == ["replay-4", "replay-3", "replay-2"]
        page = await storage.list_replays(status=None, limit=3, cursor=page.next_cursor)
        assert [replay.replay_id for replay in page.items] == ["replay-1", "replay-0"]
        assert page.next_cursor is None
        page = await storage.list_replays(status="paused", limit=3, cursor=None)
        assert [replay.replay_id for replay in page.items] == ["replay-3", "replay-1"]
        assert page.items[0] == await storage.get_replay("replay-3")
        with pytest.raises(ValueError, match="cursor"):
            await storage.list_replays(status=None, limit=3, cursor="banana")

    # what is made of them is found
    async def test_deliveries_of_a_replay_are_filtered(self, storage: Storage) -> None:
        server = Server(storage, now=LATER)
        await _runs(storage, 3, 1)
        await storage.create_replay(_replay())
        await storage.advance_replay("replay-1", LATER, 5)
        ids = [record.delivery.delivery_id for record in await _made(storage)]
        await server.settle(settlement_of(ids[1], 0, started=False, run_id="run-1", status=DeliveryStatus.DEAD))
        of_replay = DeliveryFilter(replay_id="replay-1")
        assert await storage.count_deliveries(of_replay, 10) == 3
        assert await storage.count_deliveries(replace(of_replay, status="pending"), 10) == 2
        assert await storage.count_deliveries(replace(of_replay, run_id="run-0"), 10) == 1
        assert await storage.count_deliveries(replace(of_replay, user_id="user-1", hook="again"), 10) == 3
        assert await storage.redrive_many(of_replay, LATER, 10) == 1
        assert sorted(ids_of(await server.scan(now=LATER))) == sorted(["run-0:0", "run-1:0", "run-2:0"])
        assert await storage.discard_many(of_replay, "", LATER, 2) == 2
        page = await storage.list_deliveries(replace(of_replay, status="discarded"), limit=1, cursor=None)
        assert page.next_cursor is not None
