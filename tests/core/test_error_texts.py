"""What hooks raise may hold anything: it is stored all the same, and nothing else waits for it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from core_support import agent, complete, deliveries_of, drained, serving, stored_run
from hookline import HookTimeoutError, hook
from hookline.jsontext import loads
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


class TooSlow:
    """Hooks that take too long: hookline says so, and a hook of its own accord."""

    @hook(name="slow", run_in_background=True, timeout=0.05, retries=0)
    async def slow(self) -> None:
        await asyncio.Event().wait()

    @hook(name="inline", timeout=0.05)
    async def inline(self) -> None:
        await asyncio.Event().wait()

    @hook(name="says so", run_in_background=True, retries=0)
    def says_so(self) -> None:
        raise HookTimeoutError("the far end took too long")


async def test_a_time_limit_is_told_without_hooklines_own_frames(
    db: SqliteDb, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "hookline")
    hooks = TooSlow()
    served = agent(post_hooks=[hooks.slow, hooks.says_so, hooks.inline])
    async with serving(served, db=db) as agent_os:
        run = await complete(agent_os, served)
        await drained(agent_os)
        slow, says_so = await deliveries_of(agent_os, run.run_id)
        (inline,) = loads((await stored_run(agent_os, run.run_id)).hook_calls)
    for name, error in (("slow", loads(slow.attempts[0].error or "")), ("inline", inline["error"])):
        message = f"'{name}' did not end within 0.05 s"
        assert error == {
            "type": "HookTimeoutError",
            "message": message,
            "traceback": f"hookline.errors.HookTimeoutError: {message}\n",
        }
    assert "in says_so" in loads(says_so.attempts[0].error or "")["traceback"], "it is the hook's own"
    traced = {record.__dict__["hook"]: bool(record.exc_info) for record in caplog.records}
    assert traced == {"slow": False, "inline": False, "says so": True}


async def test_inline_error_that_no_client_could_read(db: SqliteDb) -> None:
    served = agent(post_hooks=[raises_inline])
    async with serving(served, db=db) as agent_os:
        run = await complete(agent_os, served)
        record = await stored_run(agent_os, run.run_id)
    assert STORED.replace("\\", "\\\\") in record.hook_calls
