"""What runs while an AgentOS is open: storage, engine, deliveries, heartbeat, sweep, watchdog."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hookline.calling import Caller
from hookline.deliveries import Delivery
from hookline.execution.attempt import Attempter
from hookline.execution.deliverer import Deliverer
from hookline.execution.engine import Engine, EngineParts
from hookline.execution.heartbeat import Heartbeat, is_gone, this_server
from hookline.execution.live_run import LiveRun, RunRequest
from hookline.execution.points import Points
from hookline.execution.record import message_of
from hookline.execution.sweeper import Sweeper, end_interrupted
from hookline.execution.watchdog import Watchdog
from hookline.models import Model
from hookline.plan import Plan, PlannedHook
from hookline.runnable import Runnable
from hookline.storage import Database, RunRecord, Storage
from hookline.threads import DaemonThreads

logger = logging.getLogger("hookline")

Key = tuple[str, str]

NOTICE_SECONDS = 0.5
"""How long a shutdown may take before it says what it waits for."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much at once, and for how long; times in seconds."""

    hook_threads: int = 40
    tool_threads: int = 40
    delivery_threads: int = 64
    delivery_concurrency: int = 64
    max_interruptions: int = 3
    retention: float = 30 * 86_400.0
    store_rejected_input: bool = False


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
    ) -> None:
        self.storage = storage
        self.caller = Caller()
        self._runnables = runnables
        self._plans = plans
        self._points = points
        self._server = this_server()
        self._hook_threads = DaemonThreads("hookline-hook", limits.hook_threads)
        self._tool_threads = DaemonThreads("hookline-tool", limits.tool_threads)
        self._delivery_threads = DaemonThreads("hookline-delivery", limits.delivery_threads)
        self._observers: set[asyncio.Task[None]] = set()
        self.deliverer = Deliverer(
            storage,
            self._server.server_id,
            Attempter(self._find_hook, self.caller, self._delivery_threads),
            concurrency=limits.delivery_concurrency,
            on_final=self._delivery_finished if points.of("delivery_finished") else None,
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
            )
        )
        self._heartbeat = Heartbeat(storage, self._server)
        self._sweeper = Sweeper(
            storage,
            self._server,
            end_run=self._end_run,
            on_taken=self.deliverer.wake,
            max_interruptions=limits.max_interruptions,
            retention=limits.retention,
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
            runtime = cls(storage, database, runnables=runnables, plans=plans, points=points, limits=limits)
            await runtime._start()
        except BaseException:
            await storage.close()
            raise
        return runtime

    async def _start(self) -> None:
        await self._heartbeat.start()
        self._sweeper.start()
        self.deliverer.start()
        self._watchdog.start()
        now = time.time()
        servers = await self.storage.list_servers()
        me = self._server
        others = sum(1 for each in servers if each.server_id != me.server_id and not is_gone(each, me, now))
        if others > 0:
            logger.warning(
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
        self._watchdog.stop()
        await self._sweeper.stop()
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
        pools = (self._hook_threads, self._tool_threads, self._delivery_threads)
        return self.caller.abandoned_tasks + sum(pool.abandoned for pool in pools)

    def start_run(self, request: RunRequest) -> LiveRun:
        """Start a run."""
        return self.engine.start(request, self._plans[request.runnable.kind, request.runnable.id])

    async def drain(self) -> None:
        """Wait until no run is under way and nothing that is due is undelivered."""
        await self._wait_for_runs(None)
        await self.deliverer.drain()
        if self._observers:
            await asyncio.wait(self._observers)

    async def _wait_for_runs(self, timeout: float | None) -> None:
        tasks = [run.task for run in self.engine.live.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)

    def _find_hook(self, run: RunRecord, delivery: Delivery) -> tuple[Runnable, PlannedHook] | None:
        key = (run.runnable_kind, run.runnable_id)
        plan = self._plans.get(key)
        hook = plan.find(delivery.phase, delivery.hook) if plan is not None else None
        return (self._runnables[key], hook) if hook is not None else None

    async def _end_run(self, record: RunRecord) -> None:
        key = (record.runnable_kind, record.runnable_id)
        if key not in self._runnables:
            await end_interrupted(self.storage, record, time.time())
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
        await self.storage.release_line(record.run_id, time.time())
        self.deliverer.wake()

    def _delivery_finished(self, delivery: Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._tell_finished(delivery), name="delivery_finished")
        self._observers.add(task)
        task.add_done_callback(self._observers.discard)

    async def _tell_finished(self, delivery: Delivery) -> None:
        offered = {"delivery": delivery, "runnable": self._runnable_of(delivery)}
        for point in self._points.of("delivery_finished"):
            try:
                await self.caller.call(point.callee, offered, timeout=point.timeout, threads=self._delivery_threads)
            except Exception as error:
                logger.error(
                    "delivery_finished of plugin %r failed: %s",
                    point.plugin,
                    message_of(error),
                    exc_info=error,
                    extra={"run_id": delivery.run_id, "hook": delivery.hook, "delivery_id": delivery.delivery_id},
                )

    def _runnable_of(self, delivery: Delivery) -> Runnable | None:
        return next((each for each in self._runnables.values() if each.id == delivery.runnable), None)


def _models(runnables: Iterable[Runnable]) -> list[Model]:
    found: dict[int, Model] = {}
    for runnable in runnables:
        found.update({id(model): model for model in runnable.models})
    return list(found.values())
