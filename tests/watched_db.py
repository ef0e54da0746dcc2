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
            called = parts_of(*args) if name == "exchange" else [name]
            for each in called:
                self._observe(each, "before")
            result = await found(*args, **kwargs)
            if name == "exchange" and result:  # whether something is claimed is known after it only
                called.append("exchange: claim")
            for each in called:
                self._observe(each, "after")
            return result

        return operation


def parts_of(request: Exchange) -> list[str]:
    """What an exchange is about: one or several of these at once."""
    parts = {
        "start": request.starts,
        "settle": request.settlements,
        "scan": request.scan,
        "recall": request.held is not None,
    }
    return [f"exchange: {part}" for part, is_asked in parts.items() if is_asked]
