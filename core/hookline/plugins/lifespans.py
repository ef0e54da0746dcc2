"""The plugins' lifespans: one that fails is its plugin's failure, not the server's."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from hookline.calling import read_callee
from hookline.plugins.ordering import Implementation

if TYPE_CHECKING:
    from hookline.agent_os import AgentOS

logger = logging.getLogger("hookline.plugins")


class FailureRecord(Protocol):
    """Where failures are kept: the registry."""

    def set_failed(self, plugin: str, reason: str, error: BaseException | None = None) -> None:
        """Remember that a plugin failed."""

    def check(self) -> None:
        """Raise if the server must not go on without it."""


class PluginLifespan(AbstractAsyncContextManager[None]):
    """One plugin's lifespan: entered and left without ever harming the others."""

    def __init__(self, implementation: Implementation, agent_os: AgentOS, failures: FailureRecord) -> None:
        self._implementation = implementation
        self._agent_os = agent_os
        self._failures = failures
        self._entered: AbstractAsyncContextManager[Any] | None = None

    async def __aenter__(self) -> None:
        plugin = self._implementation.plugin
        try:
            manager = self._make()
            if manager is not None:
                await manager.__aenter__()
                self._entered = manager
        except Exception as error:  # noqa: BLE001 - the border to plugins
            self._failures.set_failed(plugin, f"lifespan raised {error_text(error)}", error)
            self._failures.check()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._entered is None:
            return
        try:
            await self._entered.__aexit__(kind, error, traceback)
        except Exception:
            plugin = self._implementation.plugin
            logger.exception("the lifespan of plugin %s failed at its end", plugin, extra={"plugin": plugin})

    def _make(self) -> AbstractAsyncContextManager[Any] | None:
        implementation = self._implementation
        callee = read_callee(
            implementation.function, name=implementation.plugin, offered={"agent_os"}, what="lifespan of plugin"
        )
        args, kwargs = callee.arguments({"agent_os": self._agent_os})
        manager = implementation.function(*args, **kwargs)
        if manager is not None and not isinstance(manager, AbstractAsyncContextManager):
            raise TypeError(f"it gives {manager!r}, which is no async context manager")
        return manager


def error_text(error: BaseException) -> str:
    """An exception in one line: its class and its message."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
