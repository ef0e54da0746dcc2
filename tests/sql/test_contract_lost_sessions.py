"""The storage contract: what becomes of the sessions of a silent server, which may wake up again."""

from __future__ import annotations

import pytest

from hookline.errors import RunLostError
from hookline.storage import FinishRun, Storage, TakeOver
from sql.builders import ME, NOW, OTHER, completed, lock_of, new_run, server_of


async def test_run_that_lost_its_session_before_acceptance_is_not_accepted(storage: Storage) -> None:
    await storage.beat(server_of(OTHER))
    await storage.lock_session(lock_of("run-1", server_id=OTHER))
    await storage.take_over(TakeOver(ME, [OTHER], NOW))
    await storage.lock_session(lock_of("run-2"))
    with pytest.raises(RunLostError):
        await storage.accept_run(new_run("run-1", server_id=OTHER), [])
    assert await storage.get_run("run-1") is None


async def test_session_of_an_accepted_run_is_kept_until_somebody_ends_the_run(storage: Storage) -> None:
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


async def test_session_that_a_server_without_a_row_holds_is_freed(storage: Storage) -> None:
    await storage.lock_session(lock_of("run-1", server_id="retired"))
    await storage.take_over(TakeOver(ME, [], NOW))
    assert await storage.lock_session(lock_of("run-2")) is not None
