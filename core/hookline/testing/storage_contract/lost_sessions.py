"""What becomes of the sessions of a silent server, which may wake up again."""

# ruff: noqa: S101, D102 - a contract is made of assertions, and a test's name says what it asks

from __future__ import annotations

import pytest

from hookline.errors import RunLostError
from hookline.storage import FinishRun, Storage, TakeOver
from hookline.testing.storage_contract.basis import Basis
from hookline.testing.storage_contract.builders import ME, NOW, OTHER, completed, lock_of, new_run, server_of


class LostSessions(Basis):
    """What becomes of the sessions of a silent server, which may wake up again."""

    async def test_run_that_lost_its_session_before_acceptance_is_not_accepted(self, storage: Storage) -> None:
        await storage.beat(server_of(OTHER))
        await storage.lock_session(lock_of("run-1", server_id=OTHER))
        await storage.take_over(TakeOver(ME, [OTHER], NOW))
        await storage.lock_session(lock_of("run-2"))
        with pytest.raises(RunLostError):
            await storage.accept_run(new_run("run-1", server_id=OTHER), [])
        assert await storage.get_run("run-1") is None

    async def test_session_of_an_accepted_run_is_kept_until_somebody_ends_the_run(self, storage: Storage) -> None:
        await storage.beat(server_of(OTHER))
        await storage.lock_session(lock_of("run-1", server_id=OTHER))
        run = new_run("run-1", server_id=OTHER)
        await storage.accept_run(run, [])
        await storage.take_over(TakeOver(ME, [OTHER], NOW))
        assert await storage.lock_session(lock_of("run-2")) is None
        assert await storage.finish_run(FinishRun(completed(run), True, [], '{"n":1}', NOW))  # it woke up
        locked = await storage.lock_session(lock_of("run-2"))
        assert locked is not None
        assert locked.state == '{"n":1}'

    async def test_session_that_a_server_without_a_row_holds_is_freed(self, storage: Storage) -> None:
        await storage.lock_session(lock_of("run-1", server_id="retired"))
        await storage.take_over(TakeOver(ME, [], NOW))
        assert await storage.lock_session(lock_of("run-2")) is not None
