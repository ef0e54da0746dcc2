"""A database that tells of each operation before it is begun and after it is done."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

from hookline import Database
from hookline.storage import Exchange

Moment = Literal["before", "after"]
Observe = Callable[[str, Moment], None]
"""Told of an operation; it may raise, which is the operation's error then, or end the process."""


class WatchedDb:
    """The same database as another description, with somebody who watches."""

    def __init__(self, inner: Database, observe: Observe) -> None:
        self.inner = inner
        self._observe = observe

    @property
    def url(self) -> str:
        return self.inner.url

    def open(self) -> Any:
        return _WatchedStorage(self.inner.open(), self._observe)


class _WatchedStorage:
    def __init__(self, inner: Any, observe: Observe) -> None:
        self._inner = inner
        self._observe = observe

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(found) or name == "close":
            return found

        async def operation(*args: Any, **kwargs: Any) -> Any:
            called = operation_of(name, args)
            self._observe(called, "before")
            result = await found(*args, **kwargs)
            self._observe("exchange: claim" if name == "exchange" and result else called, "after")
            return result

        return operation


def operation_of(name: str, args: tuple[Any, ...]) -> str:
    """An operation's name; of an exchange, what it is about; whether it claims something is known after it only."""
    if name != "exchange":
        return name
    request: Exchange = args[0]
    if request.starts:
        return "exchange: start"
    return "exchange: settle" if request.settlements else "exchange: scan"
