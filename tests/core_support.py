"""Helpers of the core's tests: waiting for conditions, a served AgentOS, and a database that fails on demand."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from hookline import Agent, AgentOS, Database, LiveRun, RunEvent, RunOutput, Settings, StorageError
from hookline.storage import DeliveryRecord, RunRecord
from hookline.testing import Reply, ScriptedModel

DEADLINE = 20.0
"""Seconds after which something that should have happened has not."""


async def eventually(condition: Callable[[], bool], *, within: float = DEADLINE) -> None:
    """Wait until the condition holds."""
    ends_at = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends_at, f"this did not happen within {within:g} s: {condition}"
        await asyncio.sleep(0.005)


def agent(*replies: Reply, **options: Any) -> Agent:
    """The agent `a`, which gives these replies; `"fine"` again and again if there are none."""
    model = ScriptedModel(*replies) if replies else ScriptedModel("fine", repeat=True)
    return Agent(**{"id": "a", "model": model, **options})


def model_of(served: Agent) -> ScriptedModel:
    """The scripted model of an agent made here."""
    assert isinstance(served.model, ScriptedModel)
    return served.model


@asynccontextmanager
async def serving(
    *agents: Agent, db: Database, plugins: Sequence[object] = (), settings: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[AgentOS]:
    """An AgentOS whose lifespan runs, without any installed plugin."""
    chosen = Settings(plugins=[], **{"shutdown_timeout": 5.0, **(settings or {})})
    agent_os = AgentOS(agents=agents, db=db, plugins=plugins, settings=chosen, **options)
    async with agent_os.lifespan():
        yield agent_os


async def complete(agent_os: AgentOS, runnable: Agent, message: str = "hi", **options: Any) -> RunOutput:
    """Run once, hand over the response, and wait for all deliveries that are due."""
    run = agent_os.start_run(runnable, message, **options)
    output = await finished(run)
    run.hand_over()
    await drained(agent_os)
    return output


async def start(agent_os: AgentOS, served: Agent, **options: Any) -> LiveRun:
    """Run once and hand over the response; deliveries are not waited for."""
    run = agent_os.start_run(served, "hi", **options)
    await finished(run)
    run.hand_over()
    return run


async def finished(run: LiveRun) -> RunOutput:
    """The run's end, which must come."""
    return await asyncio.wait_for(run.finished(), DEADLINE)


async def drained(agent_os: AgentOS) -> None:
    """Wait until nothing that is due is left."""
    await asyncio.wait_for(agent_os.drain(), DEADLINE)


async def events_of(run: LiveRun) -> list[RunEvent]:
    """All events of a run, which must end."""
    return await asyncio.wait_for(_collect(run), DEADLINE)


async def _collect(run: LiveRun) -> list[RunEvent]:
    return [event async for event in run.events()]


async def stored_run(agent_os: AgentOS, run_id: str) -> RunRecord:
    """The row of a run."""
    record = await agent_os.storage.get_run(run_id)
    assert record is not None, f"run {run_id} is not stored"
    return record


async def deliveries_of(agent_os: AgentOS, run_id: str) -> list[DeliveryRecord]:
    """The deliveries of a run, in their order."""
    return await agent_os.storage.run_deliveries(run_id)


async def only_delivery(agent_os: AgentOS, run_id: str) -> DeliveryRecord:
    """The one delivery of a run."""
    (delivery,) = await deliveries_of(agent_os, run_id)
    return delivery


async def delivery_with(agent_os: AgentOS, run_id: str, status: str, *, within: float = DEADLINE) -> DeliveryRecord:
    """The one delivery of a run, once it is there and has that status."""
    ends_at = time.monotonic() + within
    while True:
        found = await deliveries_of(agent_os, run_id)
        if [each.delivery.status for each in found] == [status]:
            return found[0]
        assert time.monotonic() < ends_at, f"not {status}, but {found}"
        await asyncio.sleep(0.01)


class FaultyDb:
    """A database whose operations fail on demand.

    `fail(operation)` makes it fail until `heal()`, `fail(operation, times=1)` once; with `after=True` the operation
    is done and then fails all the same. `calls` counts what was asked for.
    """

    def __init__(self, inner: Database) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.returns: dict[str, Any] = {}
        self._faults: dict[str, tuple[float, bool]] = {}

    @property
    def url(self) -> str:
        return self.inner.url

    def open(self) -> Any:
        return _FaultyStorage(self.inner.open(), self)

    def fail(self, operation: str, *, times: float = float("inf"), after: bool = False) -> None:
        self._faults[operation] = (times, after)

    def heal(self) -> None:
        self._faults.clear()

    def fault(self, operation: str) -> bool | None:
        """Whether this call fails after (True) or before (False) it is done; None: it does not fail."""
        times, after = self._faults.get(operation, (0, False))
        if times <= 0:
            return None
        self._faults[operation] = (times - 1, after)
        return after


class _FaultyStorage:
    def __init__(self, inner: Any, db: FaultyDb) -> None:
        self._inner = inner
        self._db = db

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def operation(*args: Any, **kwargs: Any) -> Any:
            self._db.calls[name] += 1
            after = self._db.fault(name)
            if after is False:
                raise StorageError(f"{name} failed on purpose")
            result = await found(*args, **kwargs)
            if after:
                raise StorageError(f"{name} failed on purpose, after it was done")
            return self._db.returns.get(name, result)

        return operation
