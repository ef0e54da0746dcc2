"""Sessions and their locks."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

import asyncio

import pytest

from hookline.runs import RunStatus
from hookline.sessions import Session
from hookline.storage import FinishRun, Page, SessionLock, Storage
from hookline.testing.storage_contract.basis import Basis
from hookline.testing.storage_contract.builders import NOW, OTHER, commit_run, completed, lock_of, new_run


async def _fill(storage: Storage) -> None:
    for n in range(5):
        user_id = f"user-{n % 2}"
        await storage.lock_session(SessionLock(f"session-{n}", user_id, f"run-{n}", "server-1", NOW + n))


class Sessions(Basis):
    """Sessions and their locks."""

    async def test_new_session_starts_with_the_given_state(self, storage: Storage) -> None:
        locked = await storage.lock_session(lock_of(state='{"n":1}'))
        assert locked is not None
        assert (locked.state, locked.history) == ('{"n":1}', [])
        assert await storage.get_session("session-1") == Session("session-1", "user-1", {"n": 1}, NOW, NOW)

    async def test_session_is_locked_by_one_run_at_a_time(self, storage: Storage) -> None:
        assert await storage.lock_session(lock_of("run-1")) is not None
        assert await storage.lock_session(lock_of("run-2", server_id=OTHER)) is None
        await storage.unlock_session("session-1", "run-2")
        assert await storage.lock_session(lock_of("run-2")) is None, "only its holder gives it back"
        await storage.unlock_session("session-1", "run-1")
        assert await storage.lock_session(lock_of("run-2")) is not None

    async def test_run_that_asks_again_keeps_its_session(self, storage: Storage) -> None:
        await storage.lock_session(lock_of("run-1"))
        assert await storage.lock_session(lock_of("run-1")) is not None

    async def test_one_of_many_concurrent_runs_gets_the_session(self, storage: Storage) -> None:
        locked = await asyncio.gather(*(storage.lock_session(lock_of(f"run-{n}")) for n in range(20)))
        assert sum(lock is not None for lock in locked) == 1

    async def test_stored_user_and_state_win_over_those_of_a_later_run(self, storage: Storage) -> None:
        await storage.lock_session(lock_of("run-1", state='{"n":1}'))
        await storage.unlock_session("session-1", "run-1")
        locked = await storage.lock_session(lock_of("run-2", user_id="user-2", state='{"n":2}', now=NOW + 5))
        assert locked is not None
        assert (locked.session.user_id, locked.state, locked.session.created_at) == ("user-1", '{"n":1}', NOW)

    async def test_finishing_a_run_stores_the_state_and_unlocks(self, storage: Storage) -> None:
        await storage.lock_session(lock_of("run-1"))
        finish = FinishRun(completed(new_run()), False, [], '{"n":2}', NOW + 3)
        assert await storage.finish_run(finish)
        locked = await storage.lock_session(lock_of("run-2"))
        assert locked is not None
        assert (locked.state, locked.session.updated_at) == ('{"n":2}', NOW + 3)

    async def test_run_without_a_new_state_leaves_the_state(self, storage: Storage) -> None:
        await storage.lock_session(lock_of("run-1", state='{"n":1}'))
        await storage.finish_run(FinishRun(completed(new_run()), False, [], None, NOW + 3))
        session = await storage.get_session("session-1")
        assert session is not None
        assert (session.session_state, session.updated_at) == ({"n": 1}, NOW + 3)

    async def test_run_that_lost_its_session_changes_nothing_of_it(self, storage: Storage) -> None:
        await storage.lock_session(lock_of("run-1"))
        await storage.unlock_session("session-1", "run-1")
        await storage.lock_session(lock_of("run-2", state="{}"))
        await storage.finish_run(FinishRun(completed(new_run("run-1")), False, [], '{"lost":true}', NOW + 3))
        session = await storage.get_session("session-1")
        assert session is not None
        assert session.session_state == {}
        assert await storage.lock_session(lock_of("run-3")) is None, "run-2 still holds it"

    async def test_no_update_of_the_state_is_lost(self, storage: Storage) -> None:
        async def increment(run_id: str) -> None:
            locked = None
            while locked is None:
                locked = await storage.lock_session(lock_of(run_id, state="0"))
            new_state = str(int(locked.state) + 1)
            await storage.finish_run(FinishRun(completed(new_run(run_id)), False, [], new_state, NOW))

        await asyncio.gather(*(increment(f"run-{n}") for n in range(10)))
        locked = await storage.lock_session(lock_of("last"))
        assert locked is not None
        assert locked.state == "10"

    async def test_history_is_the_latest_completed_root_runs_of_the_runnable(self, storage: Storage) -> None:
        for n in range(5):
            await commit_run(storage, 0, f"run-{n}")
        await commit_run(storage, 0, "of-another-agent", runnable_id="agent-2")
        await commit_run(storage, 0, "nested", parent_run_id="run-0")
        await commit_run(storage, 0, "elsewhere", session_id="session-2")
        rejected = completed(new_run("rejected"), status=RunStatus.REJECTED)
        await storage.finish_run(FinishRun(rejected, False, [], None, NOW))
        await storage.accept_run(new_run("running"), [])

        locked = await storage.lock_session(lock_of("next", history_runs=3))
        assert locked is not None
        assert locked.history == [f'{{"run_id":"run-{n}"}}' for n in (2, 3, 4)]

    async def test_unknown_session_is_none(self, storage: Storage) -> None:
        assert await storage.get_session("nobody") is None
        await storage.unlock_session("nobody", "run-1")

    async def test_sessions_are_listed_newest_first_in_pages(self, storage: Storage) -> None:
        await _fill(storage)
        seen: list[str] = []
        page: Page[Session] = await storage.list_sessions(user_id=None, limit=2, cursor=None)
        sizes = [len(page.items)]
        while page.next_cursor is not None:
            seen += [session.session_id for session in page.items]
            page = await storage.list_sessions(user_id=None, limit=2, cursor=page.next_cursor)
            sizes.append(len(page.items))
        seen += [session.session_id for session in page.items]
        assert seen == [f"session-{n}" for n in (4, 3, 2, 1, 0)]
        assert sizes == [2, 2, 1]

    async def test_sessions_of_one_user(self, storage: Storage) -> None:
        await _fill(storage)
        page = await storage.list_sessions(user_id="user-1", limit=2, cursor=None)
        assert [session.session_id for session in page.items] == ["session-3", "session-1"]
        assert page.next_cursor is None

    @pytest.mark.parametrize("cursor", ["", "x", "ü", "banana"])
    async def test_broken_cursor_is_refused(self, storage: Storage, cursor: str) -> None:
        with pytest.raises(ValueError, match="cursor"):
            await storage.list_sessions(user_id=None, limit=2, cursor=cursor)
        with pytest.raises(ValueError, match="cursor"):
            await storage.list_runs("session-1", limit=2, cursor=cursor)
