"""Calling what users and plugins wrote: arguments by name, a time limit, and nothing that escapes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hookline.errors import ConfigurationError, HookError, HookTimeoutError
from hookline.threads import DaemonThreads, Result

GRACE_SECONDS = 0.5
"""How long a cancelled call may take to end before it is abandoned."""


@dataclass(frozen=True, slots=True)
class Callee:
    """A callable, its signature read once.

    `names` are the offered arguments that it takes; `positional` are its parameters that have no keyword, each with
    its default.
    """

    function: Callable[..., Any]
    name: str
    is_async: bool
    names: tuple[str, ...]
    positional: tuple[tuple[str, Any], ...]
    takes_all: bool

    def arguments(self, offered: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments, picked from what is offered."""
        by_name = dict(offered) if self.takes_all else {name: offered[name] for name in self.names}
        return [by_name.pop(name, default) for name, default in self.positional], by_name


def is_async_callable(function: object) -> bool:
    """Whether calling it gives a coroutine: an async function, method, partial of one, or async `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - asks for the method itself
    )


def display_name(function: object) -> str:
    """Its `__qualname__`; a partial's is that of what it wraps, an object's that of its class."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__qualname__


def read_callee(function: Callable[..., Any], *, name: str, offered: Collection[str], what: str) -> Callee:
    """Read a signature once.

    Args:
        function: any callable.
        name: what it is called in messages.
        offered: the names of the arguments that can be given.
        what: what it is, for messages: "post-hook of agent 'a'".

    Raises:
        ConfigurationError: it requires something that nobody can give.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{what}: {name!r} has no signature that can be read: {error}") from error
    names: list[str] = []
    positional: list[tuple[str, Any]] = []
    takes_all = False
    bound = _bound(function)
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append((parameter.name, parameter.default))
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_all = True
        elif parameter.kind is parameter.VAR_POSITIONAL or parameter.name in bound:
            continue
        elif parameter.name in offered:
            names.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise ConfigurationError(
                f"{what}: {name!r} requires the parameter {parameter.name!r}, which nobody can give: "
                f"name one of {', '.join(sorted(offered))}, or give it a default"
            )
    return Callee(function, name, is_async_callable(function), tuple(names), tuple(positional), takes_all)


def _bound(function: object) -> frozenset[str]:
    """The keyword arguments that a partial has bound: they stay as they are."""
    if not isinstance(function, functools.partial):
        return frozenset()
    return frozenset(function.keywords) | _bound(function.func)


class Caller:
    """Calls hooks and tools, each in its own task or thread, under a time limit.

    A call that does not end within its limit is cancelled once; if it goes on all the same it is abandoned: counted,
    kept from nothing, and waited for by nobody.
    """

    def __init__(self) -> None:
        self._abandoned: set[asyncio.Task[Result[Any]]] = set()

    @property
    def abandoned_tasks(self) -> int:
        """How many abandoned tasks have not ended."""
        return len(self._abandoned)

    async def call(
        self, callee: Callee, offered: Mapping[str, Any], *, timeout: float | None, threads: DaemonThreads
    ) -> Any:
        """Call it and return its value.

        Raises:
            HookTimeoutError: it did not end within `timeout` seconds.
            HookError: it ended in a way that no hook may: `SystemExit`, a cancellation of its own.
            Exception: whatever it raised.
        """
        args, kwargs = callee.arguments(offered)
        pending: asyncio.Future[Result[Any]]
        if callee.is_async:
            pending = asyncio.get_running_loop().create_task(
                _shell(callee.function(*args, **kwargs)), name=f"hook {callee.name}"
            )
        else:
            pending = threads.submit(functools.partial(callee.function, *args, **kwargs))
        result = await self._outcome(callee, pending, timeout, threads)
        if inspect.isawaitable(result.value):  # a sync wrapper around something async
            shell = asyncio.get_running_loop().create_task(_shell(result.value), name=f"hook {callee.name}")
            result = await self._outcome(callee, shell, timeout, threads)
        return _value(callee, result)

    async def _outcome(
        self, callee: Callee, pending: asyncio.Future[Result[Any]], timeout: float | None, threads: DaemonThreads
    ) -> Result[Any]:
        try:
            done, _ = await asyncio.wait((pending,), timeout=timeout)
        except asyncio.CancelledError:
            await self._stop(pending)
            raise
        if done:
            return pending.result()
        no_thread = threads.wait_of(pending)
        await self._stop(pending)
        if no_thread is not None:
            raise HookTimeoutError(f"{callee.name!r} found no thread within {timeout:g} s: {no_thread}")
        raise HookTimeoutError(f"{callee.name!r} did not end within {timeout:g} s")

    async def _stop(self, pending: asyncio.Future[Result[Any]]) -> None:
        pending.cancel()
        if not isinstance(pending, asyncio.Task):
            return  # a thread cannot be cancelled; its pool counts it
        try:
            await asyncio.wait((pending,), timeout=GRACE_SECONDS)
        finally:
            if not pending.done():
                self._abandoned.add(pending)
                pending.add_done_callback(self._abandoned.discard)

    def forget(self) -> None:
        """Unregister abandoned tasks, so that closing the event loop does not wait for them."""
        for task in self._abandoned:
            asyncio._unregister_task(task)
            with contextlib.suppress(AttributeError):
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # known: counted and logged already


async def _shell(awaitable: Awaitable[Any]) -> Result[Any]:
    try:
        return Result(await awaitable)
    except BaseException as error:  # noqa: BLE001 - the border to hooks and tools: whatever they raise is a result
        return Result(error=error)


def _value(callee: Callee, result: Result[Any]) -> Any:
    error = result.error
    if error is None:
        return result.value
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        raise error
    raise HookError(f"{callee.name!r} raised {type(error).__name__}, which no hook may") from error
