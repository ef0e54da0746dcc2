"""Threads of hookline's own: daemon ones, so that a blocked hook never keeps the process from ending."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")

logger = logging.getLogger("hookline")

MAX_ABANDONED = 64


@dataclass(slots=True)
class Result(Generic[T]):
    """What a call came to: its value, or what it raised.

    A plain pair, because an asyncio future refuses `StopIteration` and an event loop ends at `SystemExit`.
    """

    value: T | None = None
    error: BaseException | None = None


@dataclass(slots=True, eq=False)
class _Job:
    call: Callable[[], Any]
    context: contextvars.Context
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Result[Any]]
    begun: bool = False
    abandoned: bool = False


class DaemonThreads:
    """At most `limit` daemon threads that call sync functions for the event loops of this process.

    A call that is given up while it runs keeps its thread: it is counted in `abandoned`, and another thread takes its
    place. Once there are `max_abandoned` of them, no further call begins until one ends.
    """

    def __init__(self, name: str, limit: int, *, max_abandoned: int = MAX_ABANDONED) -> None:
        self.name = name
        self.limit = limit
        self.max_abandoned = max_abandoned
        self.abandoned = 0
        self._threads = 0
        self._idle = 0  # those that execute nothing, those that just start too
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()

    @property
    def is_exhausted(self) -> bool:
        """Whether no call begins now, because too many were abandoned."""
        return self.abandoned >= self.max_abandoned

    @property
    def trouble(self) -> str | None:
        """Why no call begins now; None if calls do."""
        if not self.is_exhausted:
            return None
        return (
            f"{self.abandoned} sync calls never ended and hold their threads, which is the limit "
            f"(max_abandoned_threads): further ones wait; find what blocks them, and restart"
        )

    async def run(self, call: Callable[[], T]) -> T:
        """Call it in a thread; returns its value or raises what it raised."""
        result = await self.submit(call)
        if result.error is not None:
            raise result.error
        return cast("T", result.value)

    def submit(self, call: Callable[[], T]) -> asyncio.Future[Result[T]]:
        """Call it in a thread, in a copy of the present context; the future never holds an exception."""
        loop = asyncio.get_running_loop()
        job = _Job(call, contextvars.copy_context(), loop, loop.create_future())
        with self._changed:
            self._jobs.append(job)
            self._staff()
        job.done.add_done_callback(lambda done: self._abandon(job) if done.cancelled() else None)
        return job.done

    def wait_of(self, call: asyncio.Future[Result[Any]]) -> str | None:
        """Why a call that was submitted has not begun; None if it has."""
        with self._changed:
            if all(job.done is not call for job in self._jobs):
                return None
            return self.trouble or f"all {self.limit} threads were busy"

    def _staff(self) -> None:
        """See to it that the jobs that wait are begun, as far as they may be."""
        if self.is_exhausted:
            return
        self._changed.notify(len(self._jobs))
        while self._idle < len(self._jobs) and self._threads < self.limit + self.abandoned:
            self._threads += 1
            self._idle += 1
            threading.Thread(target=self._work, name=f"{self.name}-{self._threads}", daemon=True).start()

    def _abandon(self, job: _Job) -> None:
        with self._changed:
            if job.begun:
                job.abandoned = True
                self.abandoned += 1
                if self.abandoned == self.max_abandoned:
                    logger.error("%s: %s", self.name, self.trouble)
                self._staff()
            else:
                with contextlib.suppress(ValueError):  # begun and ended meanwhile
                    self._jobs.remove(job)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs or self.is_exhausted:
                    self._changed.wait()
                self._idle -= 1
                job = self._jobs.popleft()
                job.begun = True
            result = _call(job)
            with self._changed:
                job.begun = False
                surplus = False
                if job.abandoned:
                    self.abandoned -= 1
                    surplus = self._threads > self.limit + self.abandoned
                if surplus:
                    self._threads -= 1
                else:
                    self._idle += 1
                self._staff()
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
                job.loop.call_soon_threadsafe(_deliver, job.done, result)
            del job, result
            if surplus:
                return


def _call(job: _Job) -> Result[Any]:
    try:
        return Result(job.context.run(job.call))
    except BaseException as error:  # noqa: BLE001 - the border to hooks and tools: whatever they raise is a result
        return Result(error=error)


def _deliver(done: asyncio.Future[Result[Any]], result: Result[Any]) -> None:
    if not done.done():
        done.set_result(result)


class LoopThread:
    """An event loop that runs in a daemon thread, started at first use, for ever unless it is closed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop, in the caller's context."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self, timeout: float) -> bool:
        """Cancel what is left on the loop, then end it and its thread; the next use starts another one.

        Returns:
            Whether it has ended within `timeout` seconds; if not, it is left behind.
        """
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return True
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout)
        return not thread.is_alive()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().run_forever()
