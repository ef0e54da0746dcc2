"""A storage that fails: loud, nothing stored by half, nobody locked out, and what was accepted gets its end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from core_support import FaultyDb, agent, complete, delivery_with, drained, finished, serving, stored_run
from hookline import AgentOS, InputCheckError, RunLostError, RunOutput, RunStatus, StorageError, guardrail, hook
from hookline.execution import repair


@pytest.fixture(autouse=True)
def _store_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "REPAIR_SECONDS", (0.02, 0.05))


async def expect_no_run(agent_os: AgentOS, faulty: FaultyDb, **options: Any) -> str:
    """Start a run that cannot be stored; returns its id."""
    served = agent_os.runnables["agent", "a"]
    run = agent_os.start_run(served, "hi", session_id="s", **options)
    with pytest.raises(StorageError):
        await finished(run)
    with pytest.raises(StorageError):
        _ = [event async for event in run.events()]
    assert run.run_id not in agent_os.live_runs
    return run.run_id


async def session_is_usable(agent_os: AgentOS) -> None:
    served = agent_os.runnables["agent", "a"]
    run = agent_os.start_run(served, "again", session_id="s")
    output = await asyncio.wait_for(run.finished(), 5)
    assert output.status in {RunStatus.COMPLETED, RunStatus.REJECTED}


@pytest.mark.parametrize("operation", ["lock_session", "accept_run"])
@pytest.mark.parametrize("after", [False, True], ids=["not done", "done, but not said"])
async def test_a_failure_before_acceptance_stores_nothing(operation: str, faulty: FaultyDb, *, after: bool) -> None:
    served = agent()
    async with serving(served, db=faulty) as agent_os:
        faulty.fail(operation, after=after)
        run_id = await expect_no_run(agent_os, faulty)
        faulty.heal()
        record = await agent_os.storage.get_run(run_id)
        if not after:
            assert record is None
        await session_is_usable(agent_os)


@pytest.mark.parametrize("operation", ["lock_session", "accept_run"])
@pytest.mark.parametrize("after", [False, True], ids=["not done", "done, but not said"])
async def test_a_session_is_not_locked_for_ever_when_unlocking_fails_too(
    operation: str, faulty: FaultyDb, *, after: bool
) -> None:
    """The database is away for a moment: both the commit and the unlocking fail."""
    served = agent()
    async with serving(served, db=faulty) as agent_os:
        faulty.fail(operation, after=after)
        faulty.fail("unlock_session")
        await expect_no_run(agent_os, faulty)
        faulty.heal()
        await session_is_usable(agent_os)


async def test_an_accepted_run_that_was_told_to_have_failed_ends_as_failed(faulty: FaultyDb) -> None:
    """Acceptance was stored although the storage said otherwise: the row must not be `running` for ever."""
    served = agent()
    async with serving(served, db=faulty) as agent_os:
        faulty.fail("accept_run", after=True, times=1)
        run_id = await expect_no_run(agent_os, faulty)
        ends_at = asyncio.get_running_loop().time() + 10
        while (await stored_run(agent_os, run_id)).status == "running":
            assert asyncio.get_running_loop().time() < ends_at, "it is still running"
            await asyncio.sleep(0.02)


async def test_an_outcome_that_was_not_stored_is_stored_as_failed(faulty: FaultyDb) -> None:
    seen = []

    @hook(run_in_background=True, on=["completed", "failed"])
    def notice(run_output: RunOutput) -> None:
        seen.append((run_output.status, run_output.reason))

    def count(session_state: dict[str, Any]) -> None:
        session_state["n"] = session_state.get("n", 0) + 1

    served = agent(pre_hooks=[count], post_hooks=[notice])
    async with serving(served, db=faulty) as agent_os:
        faulty.fail("finish_run", times=3)
        run_id = await expect_no_run(agent_os, faulty)
        delivery = await delivery_with(agent_os, run_id, "delivered")
        record = await stored_run(agent_os, run_id)
        session = await agent_os.storage.get_session("s")
        assert (record.status, record.reason) == ("failed", "not_stored")
        document = json.loads(record.document or "")
        assert (document["status"], document["reason"]) == ("failed", "not_stored")
        assert delivery.delivery.attempt_count == 1
        assert session is not None
        assert session.session_state == {}, "the client was told that nothing was stored"
        await session_is_usable(agent_os)
    assert seen[0] == ("failed", "not_stored")


async def test_a_commit_2_that_was_done_but_not_said_keeps_its_outcome(faulty: FaultyDb) -> None:
    seen = []

    @hook(run_in_background=True)
    def notice(run_output: RunOutput) -> None:
        seen.append(run_output.status)

    served = agent(post_hooks=[notice])
    async with serving(served, db=faulty) as agent_os:
        faulty.fail("finish_run", times=1, after=True)
        run_id = await expect_no_run(agent_os, faulty)
        await delivery_with(agent_os, run_id, "delivered")
        assert (await stored_run(agent_os, run_id)).status == "completed"
        await session_is_usable(agent_os)
    assert seen[0] == "completed"


async def test_nothing_stays_behind_when_it_never_comes_back(faulty: FaultyDb) -> None:
    served = agent()
    async with serving(served, db=faulty) as agent_os:
        faulty.fail("finish_run")
        run_id = await expect_no_run(agent_os, faulty)
        faulty.fail("unlock_session")
    async with serving(served, db=faulty.inner) as agent_os:
        ends_at = asyncio.get_running_loop().time() + 10
        while (record := await stored_run(agent_os, run_id)).status == "running":
            assert asyncio.get_running_loop().time() < ends_at
            await asyncio.sleep(0.02)
        assert (record.status, record.reason) == ("failed", "interrupted")
        await session_is_usable(agent_os)


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done, but not said"])
async def test_a_rejected_run_that_cannot_be_stored_frees_its_session(faulty: FaultyDb, *, after: bool) -> None:
    @guardrail
    def refuse() -> None:
        raise InputCheckError("no")

    served = agent(pre_hooks=[refuse])
    async with serving(served, db=faulty) as agent_os:
        faulty.fail("finish_run", times=1, after=after)
        await expect_no_run(agent_os, faulty)
        await session_is_usable(agent_os)


async def test_a_run_that_was_taken_over_is_lost_and_said_so(faulty: FaultyDb) -> None:
    served = agent()
    async with serving(served, db=faulty) as agent_os:
        faulty.returns["finish_run"] = False
        run = agent_os.start_run(served, "hi", session_id="s")
        with pytest.raises(RunLostError, match=run.run_id):
            await finished(run)
        with pytest.raises(RunLostError):
            _ = [event async for event in run.events()]
        calls = faulty.calls["finish_run"]
        await asyncio.sleep(0.1)
        assert faulty.calls["finish_run"] == calls, "it is not this server's any more: it does not try again"


async def test_standalone_runs_raise_storage_errors(faulty: FaultyDb) -> None:
    served = agent(db=faulty)
    assert (await served.arun("hi")).status is RunStatus.COMPLETED
    faulty.fail("finish_run", times=1)
    with pytest.raises(StorageError, match="on purpose"):
        await served.arun("hi")
    faulty.fail("accept_run", times=1)
    with pytest.raises(StorageError, match="on purpose"):
        _ = [event async for event in served.arun("hi", stream=True)]


async def test_a_database_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    from hookline_sql import SqliteDb

    (tmp_path / "file").write_text("no folder")
    served = agent()
    with pytest.raises(StorageError, match="file"):
        async with serving(served, db=SqliteDb(db_file=tmp_path / "file" / "x.db")):
            pass
    with pytest.raises(StorageError):
        await agent(db=SqliteDb(db_file=tmp_path / "file" / "x.db")).arun("hi")


@pytest.mark.parametrize("operation", ["backlog", "list_servers"])
async def test_a_start_that_fails_leaves_nothing_behind(operation: str, faulty: FaultyDb) -> None:
    before = asyncio.all_tasks()
    faulty.fail(operation)
    with pytest.raises(StorageError, match=operation):
        async with serving(agent(), db=faulty):
            pass
    assert asyncio.all_tasks() == before
    assert faulty.calls["retire"] == 1, "its heart does not go on beating"
    faulty.heal()
    async with serving(agent(), db=faulty) as agent_os:
        assert len(await agent_os.storage.list_servers()) == 1


@pytest.mark.parametrize("when", ["settling", "claiming"])
async def test_deliveries_survive_a_ledger_that_is_away_for_a_while(when: str, faulty: FaultyDb) -> None:
    seen: list[int] = []

    @hook(run_in_background=True)
    def background() -> None:
        if when == "settling" and not seen:
            faulty.fail("exchange", times=3)
        seen.append(1)

    served = agent(post_hooks=[background])
    async with serving(served, db=faulty) as agent_os:
        if when == "claiming":
            faulty.fail("exchange", times=3)
        output = await complete(agent_os, served)
        delivery = await delivery_with(agent_os, output.run_id, "delivered")
        assert delivery.delivery.attempt_count == 1
    assert seen == [1]


async def test_readiness_tells_of_a_failing_storage(faulty: FaultyDb) -> None:
    served = agent()
    async with serving(served, db=faulty) as agent_os:
        assert await agent_os.readiness() == []
        faulty.fail("check")
        (reason,) = await agent_os.readiness()
        assert "check failed on purpose" in reason
        faulty.heal()
        assert await agent_os.readiness() == []
        await drained(agent_os)
    assert await agent_os.readiness() == ["the lifespan is not running"]
