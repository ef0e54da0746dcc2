"""`RunningAgentOS`: an AgentOS under test, running beside tests that are plain functions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from hookline.agent_os import AgentOS
from hookline.deliveries import Delivery, DeliveryStatus
from hookline.errors import ConfigurationError, RunningLoopError
from hookline.execution.live_run import LiveRun
from hookline.runnable import Runnable
from hookline.runs import RunOutput
from hookline.storage import DeliveryFilter
from hookline.testing.app_lifespan import app_lifespan
from hookline.testing.hook_calls import HookCall, calls_of_run
from hookline.testing.known_names import check_hook, check_status
from hookline.threads import LoopThread

T = TypeVar("T")

logger = logging.getLogger("hookline.testing")

CLOSE_SECONDS = 5.0
DRAIN_SECONDS = 30.0
PAGE = 200


class RunningAgentOS:
    """An AgentOS whose lifespan runs on an event loop of its own, in a thread; what the fixture `agent_os` gives.

    Its methods wait, so a test needs neither `async` nor `await`:

        def test_it_is_told_again(agent_os, clock):
            run = agent_os.run("support", "hello")
            agent_os.drain()  # the first attempt fails
            clock.advance(300)  # its backoff is over
            agent_os.drain()
            assert [call.outcome for call in agent_os.hooks(run.run_id)] == ["failed", "delivered"]

    Args:
        served: the AgentOS.
        app: the ASGI app that serves it, whose lifespan is to run (and that of the AgentOS within).

    Attributes:
        served: the AgentOS itself. What it has of coroutines goes through `call()`.
        app: the app; None where the lifespan is the AgentOS's alone.
        state: what the app's lifespan has left for requests.
    """

    def __init__(self, served: AgentOS, app: Any = None) -> None:
        self.served = served
        self.app = app
        self.state: dict[str, Any] = {}
        self._loop = LoopThread("hookline-test")
        self._serving: Future[None] | None = None
        self._leave = asyncio.Event()

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            ConfigurationError: something is wrong with its definition, its settings or its plugins.
            StorageError: its database cannot be opened.
        """
        entered: Future[None] = Future()
        self._serving = self._loop.submit(self._serve(entered))
        self._serving.add_done_callback(lambda serving: _pass_on(serving, entered))
        try:
            entered.result()
        except BaseException:
            self._loop.close(CLOSE_SECONDS)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._serving is not None:
                self._loop.loop.call_soon_threadsafe(self._leave.set)
                self._serving.result()
        finally:
            self._serving = None
            if not self._loop.close(CLOSE_SECONDS):
                logger.warning("something goes on after the end of AgentOS %r and cannot be cancelled", self.served.id)

    async def _serve(self, entered: Future[None]) -> None:
        lifespan: AbstractAsyncContextManager[Any]
        lifespan = self.served.lifespan() if self.app is None else app_lifespan(self.app)
        async with lifespan as state:
            if not self.served.is_open:
                raise ConfigurationError(
                    f"the app has started, and the lifespan of AgentOS {self.served.id!r} has not: give the app "
                    f"lifespan=agent_os.lifespan, or add to its own: async with agent_os.lifespan(app): yield"
                )
            self.state = state or {}
            entered.set_result(None)
            await self._leave.wait()

    # from a test

    def call(self, coroutine: Coroutine[Any, Any, T], *, timeout: float | None = None) -> T:
        """Run a coroutine on the event loop of the AgentOS; returns its value or raises what it raised.

            session = agent_os.call(agent_os.served.storage.get_session("s-1"))

        Raises:
            TimeoutError: it took longer than `timeout` seconds; it is cancelled.
            RunningLoopError: called on that event loop, which would wait for itself.
        """
        if self._is_here():
            coroutine.close()
            raise RunningLoopError(
                "this would block the event loop of the AgentOS: await agent_os.served's own methods"
            )
        future = self.start(coroutine)
        try:
            return future.result(timeout)
        finally:
            future.cancel()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the event loop of the AgentOS; what the loop's end finds of it is cancelled.

        Raises:
            ConfigurationError: the AgentOS is not running.
        """
        if self._serving is None or self._serving.done():
            coroutine.close()
            raise ConfigurationError(f"AgentOS {self.served.id!r} is not running any more")
        return self._loop.submit(coroutine)

    def _is_here(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop.loop
        except RuntimeError:
            return False

    def run(
        self,
        runnable: Runnable | str,
        message: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dependencies: Mapping[str, Any] | None = None,
        session_state: Mapping[str, Any] | None = None,
        stream: bool = False,
    ) -> RunOutput:
        """Run once, as over HTTP: background hooks start when this returns; `drain()` waits for them.

        Args:
            runnable: an agent, or its id.
            message: what the user says.
            session_id: the conversation; default: a new one.
            user_id: who asks.
            metadata: anything that JSON can hold.
            dependencies: for hooks and tools.
            session_state: keys to set in the session's state.
            stream: whether the model is asked to stream.

        Returns:
            The run, for every status that it may end with.

        Raises:
            ConfigurationError: there is no such agent.
            ServerBusyError: it is turned away.
            StorageError: it could not be stored.
        """
        start = partial(
            self.served.start_run,
            self._find(runnable),
            message,
            session_id=session_id,
            user_id=user_id,
            metadata=metadata,
            dependencies=dependencies,
            session_state=session_state,
            stream=stream,
        )
        return self.call(_complete(start))

    def _find(self, runnable: Runnable | str) -> Runnable:
        runnable_id = runnable if isinstance(runnable, str) else runnable.id
        for known in self.served.runnables.values():
            if known.id == runnable_id:
                return known
        ids = ", ".join(repr(each.id) for each in self.served.runnables.values())
        raise ConfigurationError(f"there is no agent {runnable_id!r}: there is {ids}")

    def drain(self, timeout: float = DRAIN_SECONDS) -> None:
        """Wait until all that is due is done: runs, deliveries, and the deletion of what is too old.

        Backoffs and the like are not waited for: move the clock, and drain again.

        Raises:
            TimeoutError: it took longer than `timeout` seconds; the message says what is left.
        """
        try:
            self.call(self._drain(), timeout=timeout)
        except TimeoutError:
            left = [each for each in self.deliveries() if each.status in _UNDONE]
            named = ", ".join(f"{each.hook} ({each.status}) of run {each.run_id}" for each in left)
            raise TimeoutError(f"not done after {timeout:g} s: {named or 'a run is under way'}") from None

    async def _drain(self) -> None:
        await self.served.drain()
        keep = self.served.settings.retention
        await self.served.storage.prune(keep.before(self.served.clock.time()))

    def hooks(self, run_id: str) -> list[HookCall]:
        """What hooks did for a run: inline calls and the attempts of deliveries, in the order of their starts."""
        return self.call(calls_of_run(self.served.storage, run_id))

    def deliveries(
        self, *, status: str | None = None, hook: str | None = None, run_id: str | None = None
    ) -> list[Delivery]:
        """The deliveries in the ledger, oldest first; those of one status, one hook, one run, as you wish.

        Raises:
            ConfigurationError: there is no such status, or no hook has that name.
        """
        if status is not None:
            check_status(status)
        return self.call(self._list(DeliveryFilter(status=status, hook=hook, run_id=run_id)))

    async def _list(self, where: DeliveryFilter) -> list[Delivery]:
        if where.hook is not None:
            has_some = await self.served.storage.count_deliveries(DeliveryFilter(hook=where.hook), 1)
            check_hook(self.served, where.hook, seen=[where.hook] if has_some else [])
        found: list[Delivery] = []
        cursor: str | None = None
        while True:
            page = await self.served.storage.list_deliveries(where, limit=PAGE, cursor=cursor)
            found += [record.delivery for record in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return found[::-1]

    def redrive(self, delivery: Delivery | str) -> Delivery:
        """Give a dead or parked delivery fresh attempts, due now; `drain()` waits for them.

        Raises:
            ValueError: there is no such delivery, or it is neither dead nor parked.
        """
        return self.call(self._redrive(delivery if isinstance(delivery, str) else delivery.delivery_id))

    async def _redrive(self, delivery_id: str) -> Delivery:
        record = await self.served.storage.redrive(delivery_id, self.served.clock.time())
        if record is None:
            raise ValueError(f"delivery {delivery_id!r} is neither dead nor parked, or there is none")
        self.served.wake_deliveries()
        return record.delivery


_UNDONE = (DeliveryStatus.WAITING, DeliveryStatus.PENDING, DeliveryStatus.RUNNING)


async def _complete(start: Callable[[], LiveRun]) -> RunOutput:
    run = start()
    try:
        return await run.finished()
    finally:
        run.hand_over()


def _pass_on(serving: Future[None], entered: Future[None]) -> None:
    """A lifespan that ended before it began has an exception that who waits for its beginning must see."""
    if not entered.done():
        entered.set_exception(serving.exception() or RuntimeError("the lifespan ended before it began"))
