"""Crash points: a process dies before, in and after each operation, and another one opens the ledger."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hookline.storage import Database, Storage
from hookline.testing.storage_contract.basis import Basis
from hookline.testing.storage_contract.builders import (
    NOW,
    Server,
    commit_run,
    ids_of,
    lock_of,
    settlement_of,
    statuses,
)
from hookline.testing.storage_contract.crashing import MOMENTS, Crash, Crasher
from hookline.testing.storage_contract.interrupted import OPERATIONS, prepare
from hookline.testing.storage_contract.ledger_state import state_of


class CrashPoints(Basis):
    """What was told to be done is there after a crash, what was not begun is not, and nothing is there by half.

    The description that `make_database` returns must be picklable: another process opens it and is killed. Where the
    database must be mended or waited for before it can be opened again, override `reopen`.
    """

    def reopen(self, database: Database) -> Storage:
        """Open a database again, of which the process that used it has died; called in a thread."""
        return database.open()

    @pytest.fixture(scope="class")
    @classmethod
    def crasher(cls) -> Iterator[Crasher]:
        """Makes the processes that die."""
        with Crasher() as crasher:
            yield crasher

    @pytest.mark.parametrize("operation", list(OPERATIONS))
    async def test_operation_is_done_or_not_done_when_its_process_dies(
        self, tmp_path: Path, crasher: Crasher, operation: str
    ) -> None:
        not_done = await self._state_in_peace(tmp_path / "not done", operation, times=0)
        done = await self._state_in_peace(tmp_path / "done", operation, times=1)
        assert not_done != done, "the test would see nothing"
        in_steps = OPERATIONS[operation].in_steps
        for moment in MOMENTS:
            database = self._make(tmp_path / moment)
            await asyncio.to_thread(crasher.crash, Crash(database, operation, moment))
            async with self._reopened(database) as storage:
                expected = [not_done] if moment == "before" else [done] if moment == "after" else [not_done, done]
                if in_steps and len(expected) > 1:
                    await OPERATIONS[operation].operate(storage)
                    expected = [done]
                assert await state_of(storage) in expected, f"killed {moment} {operation}"
                await self._goes_on(storage)

    def _make(self, folder: Path) -> Database:
        folder.mkdir()
        return self.make_database(folder)

    @asynccontextmanager
    async def _reopened(self, database: Database) -> AsyncIterator[Storage]:
        storage = await asyncio.to_thread(self.reopen, database)
        yield storage
        await storage.close()

    async def _state_in_peace(self, folder: Path, operation: str, *, times: int) -> dict[str, Any]:
        storage = await asyncio.to_thread(self._make(folder).open)
        await prepare(storage)
        for _ in range(times):
            await OPERATIONS[operation].operate(storage)
        state = await state_of(storage)
        await storage.close()
        return state

    async def _goes_on(self, storage: Storage) -> None:
        """The ledger takes runs, and gives out their deliveries."""
        assert await storage.lock_session(lock_of("later", session_id="session-later")) is not None
        await commit_run(storage, 2, "later", session_id="session-later")
        claimed = await Server(storage).claim("later")
        assert ids_of(claimed) == ["later:0"]
        await Server(storage, now=NOW + 5).settle(settlement_of("later:0", claimed[0].fence))
        assert await statuses(storage, "later") == ["delivered", "pending"]
