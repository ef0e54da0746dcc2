"""The two commits of a run."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hookline import StorageError
from hookline.runs import RunStatus
from hookline.storage import FinishRun, Storage
from hookline.testing.storage_contract.basis import Basis
from hookline.testing.storage_contract.builders import (
    DUE,
    ME,
    NOW,
    OTHER,
    commit_run,
    completed,
    delivery,
    lock_of,
    new_deliveries,
    new_delivery,
    new_run,
    statuses,
)


class Runs(Basis):
    """The two commits of a run."""

    async def test_accepted_run_is_running(self, storage: Storage) -> None:
        run = new_run(metadata='{"a":1}', traceparent="00-1-2-01", snapshot='{"s":1}')
        await storage.accept_run(run, [])
        assert await storage.get_run("run-1") == run

    async def test_finished_run_has_its_outcome(self, storage: Storage) -> None:
        run = new_run()
        await storage.accept_run(run, [])
        done = completed(run, reason="because", hook_calls="[1]", snapshot='{"s":2}', input="changed")
        assert await storage.finish_run(FinishRun(done, True, [], None, NOW))
        assert await storage.get_run("run-1") == done

    async def test_run_that_was_never_accepted_is_stored_in_one_commit(self, storage: Storage) -> None:
        run = completed(new_run(), status=RunStatus.REJECTED, input=None)
        assert await storage.finish_run(FinishRun(run, False, new_deliveries(1), None, NOW))
        assert await storage.get_run("run-1") == run
        assert await statuses(storage) == ["pending"]

    async def test_texts_come_back_as_they_were(self, storage: Storage) -> None:
        text = 'a\0b "quoted" \\ ünïcode 🎲 \u2028 ' + "x" * 300_000
        run = new_run(input=text, run_id="r'; DROP TABLE")
        await storage.accept_run(run, [])
        assert await storage.get_run(run.run_id) == run

    async def test_unknown_run_is_none(self, storage: Storage) -> None:
        assert await storage.get_run("nobody") is None
        assert await storage.run_deliveries("nobody") == []

    async def test_second_run_of_the_same_id_is_an_error(self, storage: Storage) -> None:
        await storage.accept_run(new_run(), [])
        with pytest.raises(StorageError):
            await storage.accept_run(new_run(), new_deliveries(1))
        with pytest.raises(StorageError):
            await storage.finish_run(FinishRun(completed(new_run()), False, [], None, NOW))
        assert await statuses(storage) == []

    async def test_pre_hooks_wait_until_the_run_is_finished(self, storage: Storage) -> None:
        await storage.accept_run(new_run(), new_deliveries(2))
        assert await statuses(storage) == ["waiting", "waiting"]
        await storage.finish_run(FinishRun(completed(new_run()), True, new_deliveries(2, first=2), None, NOW))
        assert await statuses(storage) == ["pending", "waiting", "waiting", "waiting"]
        assert (await delivery(storage, "run-1:0")).delivery.due_at == DUE

    async def test_head_of_the_line_is_reserved_for_its_server(self, storage: Storage) -> None:
        await storage.accept_run(new_run(), [])
        await storage.finish_run(FinishRun(completed(new_run()), True, new_deliveries(2), None, NOW))
        records = await storage.run_deliveries("run-1")
        assert [record.delivery.due_at for record in records] == [DUE, None]
        assert [record.delivery.status.value for record in records] == ["pending", "waiting"]

    async def test_new_delivery_has_all_that_was_given(self, storage: Storage) -> None:
        given = new_delivery(0, phase="pre", plugin="slack", max_attempts=7)
        await storage.finish_run(FinishRun(completed(new_run()), False, [given], None, NOW))
        record = await delivery(storage, "run-1:0")
        assert (record.plugin, record.user_id, record.created_at) == ("slack", "user-1", NOW)
        assert (record.finished_at, record.interruptions, record.attempts) == (None, 0, [])
        assert (record.delivery.phase, record.delivery.hook, record.delivery.runnable) == ("pre", "hook_0", "agent-1")
        assert (record.delivery.max_attempts, record.delivery.attempt_count) == (7, 0)

    async def test_delayed_delivery_is_out_of_line(self, storage: Storage) -> None:
        rows = [new_delivery(0, due_at=NOW + 60), *new_deliveries(2, first=1)]
        await storage.finish_run(FinishRun(completed(new_run()), False, rows, None, NOW))
        assert await statuses(storage) == ["pending", "pending", "waiting"]
        assert (await delivery(storage, "run-1:0")).delivery.due_at == NOW + 60
        assert (await delivery(storage, "run-1:1")).delivery.due_at == DUE

    async def test_delayed_pre_hook_does_not_stand_in_the_way_of_the_line(self, storage: Storage) -> None:
        await storage.accept_run(new_run(), [new_delivery(0, due_at=NOW + 60)])
        await storage.finish_run(FinishRun(completed(new_run()), True, new_deliveries(2, first=1), None, NOW))
        assert await statuses(storage) == ["pending", "pending", "waiting"]

    @pytest.mark.parametrize("taken", ["finished", "by another server", "unknown"])
    async def test_lost_run_is_not_finished(self, storage: Storage, taken: str) -> None:
        run = new_run()
        await storage.lock_session(lock_of())
        if taken == "finished":
            await storage.accept_run(run, [])
            failed = completed(run, status=RunStatus.FAILED, reason="interrupted")
            await storage.finish_run(FinishRun(failed, True, [], None, NOW))
            await storage.lock_session(lock_of())
        elif taken == "by another server":
            await storage.accept_run(replace(run, server_id=OTHER), [])
        before = await storage.get_run("run-1")

        assert not await storage.finish_run(FinishRun(completed(run), True, new_deliveries(2), '{"n":2}', NOW))
        assert await storage.get_run("run-1") == before
        assert await storage.run_deliveries("run-1") == []
        session = await storage.get_session("session-1")
        assert session is not None
        assert session.session_state == {}
        assert await storage.lock_session(lock_of("run-2")) is None, "the session is still locked"

    async def test_one_of_two_servers_finishes_a_run(self, storage: Storage) -> None:
        await storage.accept_run(new_run(), [])
        outcomes = await asyncio.gather(
            *(
                storage.finish_run(FinishRun(completed(new_run(), reason=str(n)), True, [], None, NOW))
                for n in range(10)
            )
        )
        assert sorted(outcomes) == [False] * 9 + [True]

    async def test_failing_commit_stores_nothing(self, storage: Storage) -> None:
        await storage.accept_run(new_run(), [])
        await storage.lock_session(lock_of())
        twice = [*new_deliveries(2), new_delivery(0)]
        with pytest.raises(StorageError):
            await storage.finish_run(FinishRun(completed(new_run()), True, twice, '{"n":2}', NOW))
        assert await storage.get_run("run-1") == new_run()
        assert await storage.run_deliveries("run-1") == []
        assert await storage.lock_session(lock_of("run-2")) is None

    async def test_released_line_is_due_at_once(self, storage: Storage) -> None:
        await commit_run(storage, 2)
        await storage.release_line("run-1", NOW + 0.5)
        assert (await delivery(storage, "run-1:0")).delivery.due_at == NOW + 0.5
        assert await statuses(storage) == ["pending", "waiting"]

    async def test_releasing_a_line_leaves_delayed_deliveries(self, storage: Storage) -> None:
        rows = [new_delivery(0, due_at=NOW + 60), new_delivery(1)]
        await storage.finish_run(FinishRun(completed(new_run()), False, rows, None, NOW))
        await storage.release_line("run-1", NOW)
        assert (await delivery(storage, "run-1:0")).delivery.due_at == NOW + 60

    async def test_runs_of_a_session_are_listed_newest_first(self, storage: Storage) -> None:
        for n in range(3):
            await commit_run(storage, 0, f"run-{n}")
        await commit_run(storage, 0, "elsewhere", session_id="session-2")
        first = await storage.list_runs("session-1", limit=2, cursor=None)
        assert [run.run_id for run in first.items] == ["run-2", "run-1"]
        rest = await storage.list_runs("session-1", limit=2, cursor=first.next_cursor)
        assert [run.run_id for run in rest.items] == ["run-0"]
        assert rest.next_cursor is None
        assert rest.items[0].server_id == ME
