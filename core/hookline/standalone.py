"""Runs outside an AgentOS: `Agent.run()` and `Agent.arun()`, on the same engine, with every hook inline."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, overload
from weakref import WeakKeyDictionary

from hookline.calling import Caller
from hookline.errors import RunningLoopError
from hookline.events import RunEvent
from hookline.execution.engine import Engine
from hookline.execution.heartbeat import Heartbeat, this_server
from hookline.execution.live_run import LiveRun, RunRequest
from hookline.execution.parts import EngineParts
from hookline.execution.points import Points
from hookline.execution.sweeper import Sweeper
from hookline.execution.unstored import Unstored
from hookline.plan import Plan, build_plan
from hookline.runnable import Runnable
from hookline.runs import RunOutput
from hookline.storage import Database, RunStorage
from hookline.threads import DaemonThreads, LoopThread

_runs = LoopThread("hookline-runs")
"""Where `run()` runs: one loop for the process, so that clients and sessions are shared by all calls."""

_CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Attachment:
    """This process's part in one database."""

    storage: RunStorage
    server_id: str
    heartbeat: Heartbeat | None = None


class _Attachments:
    """The databases that this process has opened for standalone runs, by url; closed when it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop = LoopThread("hookline-standalone")
        self._open: dict[str, Future[_Attachment]] = {}

    async def of(self, database: Database) -> _Attachment:
        with self._lock:
            if not self._open:
                atexit.register(self._close)
            future = self._open.get(database.url)
            if future is None or (future.done() and future.exception() is not None):
                future = self._open[database.url] = self._loop.submit(self._attach(database))
        return await asyncio.wrap_future(future)

    async def _attach(self, database: Database) -> _Attachment:
        storage = await _start_threads.run(database.open)
        server = this_server()
        heartbeat = Heartbeat(storage, server)
        await heartbeat.start()
        await Sweeper(storage, server).sweep()
        return _Attachment(storage, server.server_id, heartbeat)

    def _close(self) -> None:
        for future in self._open.values():
            if future.done() and future.exception() is None and (heartbeat := future.result().heartbeat) is not None:
                with contextlib.suppress(TimeoutError):  # others will find this server silent
                    self._loop.submit(heartbeat.stop()).result(_CLOSE_SECONDS)


_attachments = _Attachments()
_preparing = threading.Lock()
_start_threads = DaemonThreads("hookline-start", 4)
_caller = Caller()
_hook_threads = DaemonThreads("hookline-hook", 40)
_tool_threads = DaemonThreads("hookline-tool", 40)
_engines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, Engine]] = WeakKeyDictionary()


class Runner(Runnable):
    """A runnable that can run itself."""

    _plan: Plan | None = None

    @overload
    def run(
        self,
        input: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dependencies: Mapping[str, Any] | None = None,
        session_state: Mapping[str, Any] | None = None,
        stream: Literal[False] = False,
    ) -> RunOutput: ...
    @overload
    def run(
        self,
        input: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dependencies: Mapping[str, Any] | None = None,
        session_state: Mapping[str, Any] | None = None,
        stream: Literal[True],
    ) -> Iterator[RunEvent]: ...
    def run(
        self,
        input: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dependencies: Mapping[str, Any] | None = None,
        session_state: Mapping[str, Any] | None = None,
        stream: bool = False,
    ) -> RunOutput | Iterator[RunEvent]:
        """Run once, and wait: `arun()` for callers without an event loop; see there.

        Raises:
            RunningLoopError: there is an event loop running here; await `arun()` instead.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RunningLoopError("run() would block the event loop that is running here: await arun() instead")
        request = self._request(input, session_id, user_id, metadata, dependencies, session_state, stream=stream)
        if stream:
            return _follow(lambda: self._start(request))
        return _runs.submit(self._complete(request)).result()

    @overload
    def arun(
        self,
        input: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dependencies: Mapping[str, Any] | None = None,
        session_state: Mapping[str, Any] | None = None,
        stream: Literal[False] = False,
    ) -> Coroutine[Any, Any, RunOutput]: ...
    @overload
    def arun(
        self,
        input: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dependencies: Mapping[str, Any] | None = None,
        session_state: Mapping[str, Any] | None = None,
        stream: Literal[True],
    ) -> AsyncIterator[RunEvent]: ...
    def arun(
        self,
        input: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dependencies: Mapping[str, Any] | None = None,
        session_state: Mapping[str, Any] | None = None,
        stream: bool = False,
    ) -> Coroutine[Any, Any, RunOutput] | AsyncIterator[RunEvent]:
        """Run once.

        Args:
            input: the user's message.
            session_id: the conversation that the run belongs to; default: a new one.
            user_id: who asks.
            metadata: anything JSON can hold; stored with the run.
            dependencies: objects for hooks and tools; not stored.
            session_state: keys to set in the session's state before the run.
            stream: False: await the outcome; True: iterate over the events, the terminal one last.

        Returns:
            The run, for every status it may end with: ask `raise_for_status()`. Or its events.

        Raises:
            TypeError: an argument of the wrong type.
            ValueError: a blank input.
            StorageError: the run could not be stored.
            SessionBusyError: the session is not to be had.
        """
        request = self._request(input, session_id, user_id, metadata, dependencies, session_state, stream=stream)
        return self._events(request) if stream else self._complete(request)

    def _request(
        self,
        input: str,
        session_id: str | None,
        user_id: str | None,
        metadata: Mapping[str, Any] | None,
        dependencies: Mapping[str, Any] | None,
        session_state: Mapping[str, Any] | None,
        *,
        stream: bool,
    ) -> RunRequest:
        if not isinstance(input, str):
            raise TypeError(f"input must be a str, not {type(input).__name__}")
        if not input.strip():
            raise ValueError("input must not be blank")
        return RunRequest(
            self,
            input,
            session_id=session_id,
            user_id=user_id,
            metadata=_mapping("metadata", metadata),
            dependencies=_mapping("dependencies", dependencies),
            session_state=_mapping("session_state", session_state),
            stream=stream,
        )

    async def _start(self, request: RunRequest) -> LiveRun:
        plan = await _start_threads.run(self._prepare) if self._plan is None else self._plan
        return (await _engine_for(self.db)).start(request, plan)

    def _prepare(self) -> Plan:
        """Check the definition, plan the hooks and open the models, once."""
        with _preparing:
            if self._plan is not None:
                return self._plan
            self.check()
            plan = build_plan(self)
            for model in self.models:
                model.open()
            self._plan = plan
            return plan

    async def _complete(self, request: RunRequest) -> RunOutput:
        run = await self._start(request)
        return await run.finished()

    async def _events(self, request: RunRequest) -> AsyncIterator[RunEvent]:
        run = await self._start(request)
        async for event in run.events():
            yield event


def _mapping(name: str, value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    return None if value is None else dict(value)


def _follow(start: Callable[[], Coroutine[Any, Any, LiveRun]]) -> Iterator[RunEvent]:
    events = _runs.submit(start()).result().events()

    async def following() -> RunEvent | None:
        return await anext(events, None)

    while (event := _runs.submit(following()).result()) is not None:
        yield event


async def _engine_for(database: Database | None) -> Engine:
    attachment = _Attachment(Unstored(), "") if database is None else await _attachments.of(database)
    engines = _engines.setdefault(asyncio.get_running_loop(), {})
    key = None if database is None else database.url
    if key not in engines:
        engines[key] = Engine(
            EngineParts(
                storage=attachment.storage,
                server_id=attachment.server_id,
                ledger=key,
                caller=_caller,
                hook_threads=_hook_threads,
                tool_threads=_tool_threads,
                points=Points(),
            )
        )
    return engines[key]
