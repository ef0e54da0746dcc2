"""Every crash point of a run: each operation of the storage fails, not done or done, once or until a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from core_support import DEADLINE, agent, events_of, finished, model_of, serving
from hookline import Agent, AgentOS, Delivery, LiveRun, RunStatus, StorageError, hook
from hookline.deliveries import FINAL_STATUSES, DeliveryStatus
from hookline.execution import deliverer, heartbeat, repair, sweeper
from hookline.storage import DeliveryFilter, Storage
from hookline_sql import SqliteDb
from watched_db import Moment, WatchedDb

MODES = ["json", "stream", "detached"]
OPERATIONS = [
    "lock_session",
    "accept_run",
    "finish_run",
    "exchange: start",
    "exchange: settle",
    "exchange: scan",
    "beat",
]
HOOKS = ["pre", "slow", "stumbling", "last"]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "REPAIR_SECONDS", (0.02, 0.05))
    monkeypatch.setattr(deliverer, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(deliverer, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 0.5)  # the server that ends is of this very process
    monkeypatch.setattr(sweeper, "SWEEP_SECONDS", 0.05)


@dataclass
class Fault:
    """What fails: an operation at a moment, once it is armed; `lasting`: from then on everything fails."""

    operations: list[str]
    moment: Moment
    lasting: bool = False
    armed: bool = False
    struck: int = 0

    def __call__(self, operation: str, moment: Moment) -> None:
        if not self.armed:
            return
        is_the_point = operation in self.operations and moment == self.moment
        if is_the_point and not self.lasting:
            self.operations.remove(operation)
        if is_the_point or (self.lasting and self.struck):
            self.struck += 1
            raise StorageError(f"{operation} failed on purpose, {moment} it was done")


@dataclass
class Scene:
    """An agent with hooks at every place, and what was called."""

    served: Agent = field(init=False)
    starts: list[tuple[str, str]] = field(default_factory=list)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Until it is set the slow hook does not end: its start is told of before."""

    def __post_init__(self) -> None:
        ends = ("completed", "failed", "cancelled")
        self.served = agent(
            pre_hooks=[hook(run_in_background=True, name="pre")(self._note("pre"))],
            post_hooks=[
                hook(run_in_background=True, name="slow", on=ends)(self._note("slow")),
                hook(run_in_background=True, name="stumbling", on=ends, retries=9, backoff=0.01)(self._stumble),
                hook(run_in_background=True, name="last", on=ends)(self._note("last")),
            ],
        )

    def _note(self, name: str) -> Callable[..., Any]:
        async def note(delivery: Delivery) -> None:
            self.starts.append((delivery.run_id, name))
            if name == "slow":
                await self.goes_on.wait()

        return note

    async def _stumble(self, delivery: Delivery) -> None:
        self.starts.append((delivery.run_id, "stumbling"))
        if delivery.attempt == 1:
            raise RuntimeError("failed on purpose")

    def first_starts(self, run_id: str) -> list[str]:
        return list(dict.fromkeys(name for run, name in self.starts if run == run_id))


async def told(run: LiveRun, mode: str) -> str:
    """What the client is told in the end: `completed`, `accepted` or `nothing`."""
    try:
        if mode == "json":
            return (await finished(run)).status.value
        if mode == "stream":
            return "completed" if (await events_of(run))[-1].event == "RunCompleted" else "nothing"
        return "accepted" if await asyncio.wait_for(run.accepted(), DEADLINE) else "nothing"
    except StorageError:
        return "nothing"
    finally:
        run.hand_over()


async def quiet(storage: Storage, run_id: str) -> bool:
    """Whether nothing is left to be done for a run."""
    record = await storage.get_run(run_id)
    deliveries = await storage.run_deliveries(run_id)
    return (record is None or record.status is not RunStatus.RUNNING) and all(
        each.delivery.status in FINAL_STATUSES for each in deliveries
    )


async def check(agent_os: AgentOS, scene: Scene, run: LiveRun, said: str) -> None:
    """The promises: of a run, once nothing is left to be done for it."""
    storage = agent_os.storage
    ends_at = time.monotonic() + DEADLINE
    while not await quiet(storage, run.run_id):
        assert time.monotonic() < ends_at, await storage.run_deliveries(run.run_id)
        await asyncio.sleep(0.01)
    record = await storage.get_run(run.run_id)
    deliveries = await storage.run_deliveries(run.run_id)
    assert record is not None or (said == "nothing" and not deliveries)
    if said == "completed":
        assert record is not None
        assert record.status is RunStatus.COMPLETED
    if record is not None:
        assert [each.delivery.hook for each in deliveries] == HOOKS
        assert {each.delivery.status for each in deliveries} == {DeliveryStatus.DELIVERED}
        assert scene.first_starts(run.run_id) == HOOKS
    assert len(model_of(scene.served).requests) <= 1
    for each in (await storage.list_deliveries(DeliveryFilter(), limit=100, cursor=None)).items:
        assert await storage.get_run(each.delivery.run_id) is not None
    again = await finished(agent_os.start_run(scene.served, "again", session_id="s"))
    assert again.status is RunStatus.COMPLETED


def points(operations: list[str] = OPERATIONS) -> pytest.MarkDecorator:
    """All moments of all operations."""
    marks = [(operation, moment) for operation in operations for moment in ("before", "after")]
    if "exchange: scan" in operations:
        marks.append(("exchange: claim", "after"))
    return pytest.mark.parametrize(("operation", "moment"), marks)


async def strike(db: SqliteDb, scene: Scene, mode: str, fault: Fault, *, recovers: bool) -> None:
    """Run with a fault; then look at what became of it, here or after a restart."""
    faulty = WatchedDb(db, fault)
    if "exchange: start" not in fault.operations:
        scene.goes_on.set()
    async with serving(scene.served, db=faulty, settings={"shutdown_timeout": 0.5}) as agent_os:
        fault.armed = True
        run = agent_os.start_run(scene.served, "hi", session_id="s", stream=mode == "stream")
        said = await told(run, mode)
        ends_at = time.monotonic() + DEADLINE
        while not fault.struck:
            assert time.monotonic() < ends_at, "the operation was never called"
            await asyncio.sleep(0.01)
        scene.goes_on.set()
        if recovers:
            await check(agent_os, scene, run, said)
    if not recovers:
        async with serving(scene.served, db=db) as agent_os:
            await check(agent_os, scene, run, said)


@pytest.mark.parametrize("mode", MODES)
@points()
async def test_an_operation_fails_once(db: SqliteDb, mode: str, operation: str, moment: Moment) -> None:
    await strike(db, Scene(), mode, Fault([operation], moment), recovers=True)


@pytest.mark.parametrize("mode", MODES)
@points()
async def test_from_an_operation_on_all_fail_until_a_restart(
    db: SqliteDb, mode: str, operation: str, moment: Moment
) -> None:
    await strike(db, Scene(), mode, Fault([operation], moment, lasting=True), recovers=False)


@pytest.mark.parametrize("first", ["lock_session", "accept_run", "finish_run"])
@points(["unlock_session"])
async def test_unlocking_fails_too(db: SqliteDb, first: str, operation: str, moment: Moment) -> None:
    await strike(db, Scene(), "json", Fault([first, operation], moment), recovers=True)


@points(["list_orphans", "get_session", "finish_run", "release_line", "take_over"])
async def test_taking_over_fails_once(db: SqliteDb, operation: str, moment: Moment) -> None:
    """A server left a run `running`; the next one stumbles where it ends it."""
    scene = Scene()
    scene.goes_on.set()
    away = Fault(["finish_run"], "before", lasting=True, armed=True)
    async with serving(scene.served, db=WatchedDb(db, away), settings={"shutdown_timeout": 0.5}) as agent_os:
        run = agent_os.start_run(scene.served, "hi", session_id="s")
        assert await told(run, "json") == "nothing"
    fault = Fault([operation], moment, armed=True)
    async with serving(scene.served, db=WatchedDb(db, fault)) as agent_os:
        await check(agent_os, scene, run, "nothing")
        assert fault.struck == 1
