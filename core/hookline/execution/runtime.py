"""What runs while an AgentOS is open: storage, engine, deliveries, heartbeat, sweep, watchdog."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from hookline.calling import Caller
from hookline.clock import SYSTEM_CLOCK, Clock
from hookline.deliveries import Delivery, HookKey
from hookline.execution.admission import Admission
from hookline.execution.attempt import Attempter, Found
from hookline.execution.deliverer import Deliverer
from hookline.execution.engine import Engine
from hookline.execution.gates import Gates, HookState
from hookline.execution.heartbeat import Heartbeat, is_gone, this_server
from hookline.execution.limits import Limits
from hookline.execution.live_run import LiveRun, RunRequest
from hookline.execution.observing import Observers
from hookline.execution.parts import EngineParts
from hookline.execution.points import Points
from hookline.execution.pressure import Pressure
from hookline.execution.replayer import Replayer
from hookline.execution.sweeper import Sweeper, end_interrupted
from hookline.execution.watchdog import Watchdog
from hookline.models import Model
from hookline.plan import Plan
from hookline.runnable import Runnable
from hookline.storage import Database, RunRecord, Storage
from hookline.threads import DaemonThreads

logger = logging.getLogger("hookline")
servers_logger = logging.getLogger("hookline.servers")

Key = tuple[str, str]

NOTICE_SECONDS = 0.5
"""How long a shutdown may take before it says what it waits for."""


class Runtime:
    """An open AgentOS; lives on one event loop, from `open` to `close`."""

    def __init__(
        self,
        storage: Storage,
        database: Database,
        *,
        runnables: Mapping[Key, Runnable],
        plans: Mapping[Key, Plan],
        points: Points,
        limits: Limits,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.storage = storage
        self.caller = Caller()
        self._runnables = runnables
        self._plans = plans
        self._points = points
        self._limits = limits
        self._clock = clock
        self._server = this_server(clock)
        self._hook_threads = _threads("hookline-hook", limits.hook_threads, limits)
        self._tool_threads = _threads("hookline-tool", limits.tool_threads, limits)
        self._delivery_threads = _threads("hookline-delivery", limits.delivery_threads, limits)
        self._observers = Observers(points, self.caller, self._delivery_threads, self._runnable_of)
        self._found = _hooks_by_name(runnables, plans)
        self._gates = Gates(clock, lambda: not self._delivery_threads.is_exhausted)
        for (_, runnable_id, phase, name), found in self._found.items():
            if found.hook.background:
                self._gates.of(HookKey(runnable_id, phase, name), found.hook)
        self._pressure = Pressure(storage, limits.max_waiting_deliveries)
        self.deliverer = Deliverer(
            storage,
            self._server.server_id,
            Attempter(self._find_hook, self.caller, self._delivery_threads, clock),
            concurrency=limits.delivery_concurrency,
            on_final=self._observers.tell if self._observers else None,
            clock=clock,
            gates=self._gates,
            pressure=self._pressure,
        )
        self.engine = Engine(
            EngineParts(
                storage=storage,
                server_id=self._server.server_id,
                ledger=database.url,
                caller=self.caller,
                hook_threads=self._hook_threads,
                tool_threads=self._tool_threads,
                points=points,
                lines=self.deliverer,
                store_rejected_input=limits.store_rejected_input,
                clock=clock,
            )
        )
        self.admission = Admission(self.engine.live, limits.max_concurrent_runs, self._pressure)
        self.replayer = Replayer(storage, clock, on_made=self.deliverer.wake)
        self._heartbeat = Heartbeat(storage, self._server, clock)
        self._sweeper = Sweeper(
            storage,
            self._server,
            end_run=self._end_run,
            on_taken=self.deliverer.wake,
            max_interruptions=limits.max_interruptions,
            retention=limits.retention,
            clock=clock,
        )
        self._watchdog = Watchdog(asyncio.get_running_loop())

    @classmethod
    async def open(
        cls,
        database: Database,
        *,
        runnables: Mapping[Key, Runnable],
        plans: Mapping[Key, Plan],
        points: Points,
        limits: Limits,
        clock: Clock = SYSTEM_CLOCK,
    ) -> Runtime:
        """Open the database and the models in threads, then start everything.

        Raises:
            StorageError: the database cannot be opened.
        """
        threads = DaemonThreads("hookline-start", 4)
        storage = await threads.run(database.open)
        try:
            for model in _models(runnables.values()):
                await threads.run(model.open)
            runtime = cls(
                storage, database, runnables=runnables, plans=plans, points=points, limits=limits, clock=clock
            )
        except BaseException:
            await storage.close()
            raise
        try:
            await runtime._start()
        except BaseException:
            await runtime.close(0.0)
            raise
        return runtime

    async def _start(self) -> None:
        await self._heartbeat.start()
        self._sweeper.start()
        await self._pressure.count()
        self._pressure.start()
        self.deliverer.start()
        self.replayer.start()
        self._watchdog.start()
        now = self._clock.time()
        servers = await self.storage.list_servers()
        me = self._server
        others = sum(1 for each in servers if each.server_id != me.server_id and not is_gone(each, me, now))
        if others > 0:
            servers_logger.warning(
                "%d other server(s) use %s: that is correct, but each polls every second; "
                "one serving process is what SQLite is for",
                others,
                self.storage.description,
            )

    async def close(self, timeout: float) -> None:
        """Let runs and deliveries end for `timeout` seconds, give back the rest, close the database."""
        ends_at = time.monotonic() + timeout
        await self._wait_for_runs(min(timeout, NOTICE_SECONDS))
        if (self.engine.live or self.deliverer.active) and timeout > NOTICE_SECONDS:
            logger.warning(
                "waiting up to %.0f s for %d run(s) and the background hooks of %d; what does not end is given back",
                timeout,
                len(self.engine.live),
                self.deliverer.active,
            )
        await self._wait_for_runs(max(0.0, ends_at - time.monotonic()))
        await self.deliverer.stop(max(0.0, ends_at - time.monotonic()))
        await self._observers.wait(NOTICE_SECONDS)
        self._watchdog.stop()
        await self._sweeper.stop()
        await self.replayer.stop()
        await self._pressure.stop()
        for run in list(self.engine.live.values()):
            run.cancel()
        await self._wait_for_runs(2.0)
        await self.engine.close()
        await self._heartbeat.stop()
        for model in _models(self._runnables.values()):
            with contextlib.suppress(Exception):  # its own business, and the last thing it does
                await model.aclose()
        await self.storage.close()
        if self.abandoned:
            logger.warning("%d hook(s) never ended and are left behind", self.abandoned)
        self.caller.forget()

    @property
    def abandoned(self) -> int:
        """Hooks and tools that did not end after their time limit, and still have not."""
        return self.caller.abandoned_tasks + sum(pool.abandoned for pool in self._pools)

    @property
    def _pools(self) -> tuple[DaemonThreads, ...]:
        return self._hook_threads, self._tool_threads, self._delivery_threads

    @property
    def hook_states(self) -> list[HookState]:
        """What holds for each background hook in this process, sorted by hook."""
        return self._gates.states

    def details(self) -> dict[str, Any]:
        """How this process fares, as plain data; nothing is asked of the ledger."""
        names = ("inline_hooks", "tools", "deliveries")
        return {
            "runs": len(self.engine.live),
            "deliveries": {
                "running": self.deliverer.active,
                "undone": self._pressure.undone,
                "max_waiting": self._limits.max_waiting_deliveries,
            },
            "abandoned": {
                **{name: pool.abandoned for name, pool in zip(names, self._pools, strict=True)},
                "tasks": self.caller.abandoned_tasks,
                "max_threads": self._limits.max_abandoned_threads,
            },
            "hooks": [state.key._asdict() | state.to_dict() for state in self.hook_states if state.is_held],
            "notes": self._notes(),
        }

    def _notes(self) -> list[str]:
        notes = [f"{pool.name}: {trouble}" for pool in self._pools if (trouble := pool.trouble) is not None]
        if self._pressure.is_full:
            undone = self._pressure.undone
            notes.append(f"{undone} deliveries are not done (max_waiting_deliveries): new runs are turned away")
        return notes

    def start_run(self, request: RunRequest) -> LiveRun:
        """Start a run."""
        return self.engine.start(request, self._plans[request.runnable.kind, request.runnable.id])

    async def drain(self) -> None:
        """Wait until no run is under way and nothing that is due is undelivered."""
        await self._wait_for_runs(None)
        await self.deliverer.drain()
        await self._observers.wait()

    async def _wait_for_runs(self, timeout: float | None) -> None:
        tasks = [run.task for run in self.engine.live.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)

    def _find_hook(self, run: RunRecord, delivery: Delivery) -> Found | None:
        return self._found.get((run.runnable_kind, run.runnable_id, delivery.phase, delivery.hook))

    async def _end_run(self, record: RunRecord) -> None:
        key = (record.runnable_kind, record.runnable_id)
        if key not in self._runnables:
            await end_interrupted(self.storage, record, self._clock.time())
            return
        request = RunRequest(
            self._runnables[key],
            record.input or "",
            session_id=record.session_id,
            user_id=record.user_id,
            parent_run_id=record.parent_run_id,
        )
        session = await self.storage.get_session(record.session_id)
        await self.engine.finish_interrupted(record, request, self._plans[key], session)
        await self.storage.release_line(record.run_id, self._clock.time())
        self.deliverer.wake()

    def _runnable_of(self, delivery: Delivery) -> Runnable | None:
        return next((each for each in self._runnables.values() if each.id == delivery.runnable), None)


def _threads(name: str, limit: int, limits: Limits) -> DaemonThreads:
    return DaemonThreads(name, limit, max_abandoned=limits.max_abandoned_threads)


def _hooks_by_name(
    runnables: Mapping[Key, Runnable], plans: Mapping[Key, Plan]
) -> dict[tuple[str, str, str, str], Found]:
    """All hooks, by what a delivery and its run store of them."""
    return {
        (kind, runnable_id, hook.phase, hook.name): Found(runnables[kind, runnable_id], hook)
        for (kind, runnable_id), plan in plans.items()
        for hook in plan.items
    }


def _models(runnables: Iterable[Runnable]) -> list[Model]:
    found: dict[int, Model] = {}
    for runnable in runnables:
        found.update({id(model): model for model in runnable.models})
    return list(found.values())
