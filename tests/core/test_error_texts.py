"""What hooks raise may hold anything: it is stored all the same, and nothing else waits for it."""

from __future__ import annotations

from pathlib import Path

from hookline import Agent, AgentOS, hook
from hookline.testing import ScriptedModel
from hookline_sql import SqliteDb

ODD = "the file caf\udce9.txt \x00 \ud83d"


@hook(run_in_background=True, retries=0)
def first() -> None:
    raise FileNotFoundError(ODD)


@hook(run_in_background=True)
def second() -> None: ...


def raises_inline() -> None:
    raise RuntimeError(ODD)


async def test_delivery_whose_error_no_database_can_hold(tmp_path: Path) -> None:
    agent = Agent(
        "a", model=ScriptedModel("hello"), db=SqliteDb(db_file=str(tmp_path / "a.db")), post_hooks=[first, second]
    )
    agent_os = AgentOS(agents=[agent]).load()
    async with agent_os.lifespan():
        run = await agent.arun("hello")
        await agent_os.drain()
        failed, delivered = await agent_os.storage.run_deliveries(run.run_id)
    assert (failed.delivery.status, delivered.delivery.status) == ("dead", "delivered")
    assert failed.delivery.last_error == r"FileNotFoundError: the file caf\udce9.txt \x00 \ud83d"
    assert failed.attempts[0].error is not None
    failed.attempts[0].error.encode()


async def test_inline_error_that_no_client_could_read(tmp_path: Path) -> None:
    agent = Agent(
        "a", model=ScriptedModel("hello"), db=SqliteDb(db_file=str(tmp_path / "a.db")), post_hooks=[raises_inline]
    )
    agent_os = AgentOS(agents=[agent]).load()
    async with agent_os.lifespan():
        run = await agent.arun("hello")
        record = await agent_os.storage.get_run(run.run_id)
    assert record is not None
    assert r"caf\\udce9.txt \\x00" in record.hook_calls
