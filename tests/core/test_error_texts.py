"""What hooks raise may hold anything: it is stored all the same, and nothing else waits for it."""

from __future__ import annotations

import logging

import pytest

from core_support import agent, complete, deliveries_of, drained, serving, stored_run
from hookline import hook
from hookline_sql import SqliteDb

ODD = "the file caf\udce9.txt \x00 \ud83d"
STORED = r"the file caf\udce9.txt \x00 \ud83d"


@pytest.fixture(autouse=True)
def unheard(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the text as it was raised, which the processes of pytest-xdist cannot send to each other."""
    caplog.set_level(logging.CRITICAL, "hookline")


@hook(run_in_background=True, retries=0)
def first() -> None:
    raise FileNotFoundError(ODD)


@hook(run_in_background=True)
def second() -> None: ...


def raises_inline() -> None:
    raise RuntimeError(ODD)


async def test_delivery_whose_error_no_database_can_hold(db: SqliteDb) -> None:
    served = agent(post_hooks=[first, second])
    async with serving(served, db=db) as agent_os:
        run = await complete(agent_os, served)
        await drained(agent_os)
        failed, delivered = await deliveries_of(agent_os, run.run_id)
    assert (failed.delivery.status, delivered.delivery.status) == ("dead", "delivered")
    assert failed.delivery.last_error == f"FileNotFoundError: {STORED}"
    assert STORED.replace("\\", "\\\\") in (failed.attempts[0].error or "")


async def test_inline_error_that_no_client_could_read(db: SqliteDb) -> None:
    served = agent(post_hooks=[raises_inline])
    async with serving(served, db=db) as agent_os:
        run = await complete(agent_os, served)
        record = await stored_run(agent_os, run.run_id)
    assert STORED.replace("\\", "\\\\") in record.hook_calls
