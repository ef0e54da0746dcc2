"""Authentication: API keys and the plugins' `authenticate` hooks, asked in this order, for transports to use."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hookline import hookspecs
from hookline.addresses import is_loopback
from hookline.api_keys import ApiKeys
from hookline.calling import Callee, Caller, read_callee
from hookline.errors import AuthenticationError, ConfigurationError, HookError
from hookline.hooks import options_of
from hookline.plugins import Implementation
from hookline.principals import ADMIN, Principal
from hookline.threads import DaemonThreads

if TYPE_CHECKING:
    from hookline.agent_os import AgentOS

logger = logging.getLogger("hookline.authentication")

KEY_HOLDER = Principal(None, {ADMIN})
"""Who has an API key: the application's own backend."""


@dataclass(frozen=True, slots=True)
class _Hook:
    plugin: str
    callee: Callee
    timeout: float


class Authenticator:
    """Finds out who is asking. It fails closed: whatever goes wrong lets nobody in.

    Args:
        api_keys: hashes of the keys, as `Settings.api_keys` holds them.
        implementations: the plugins' `authenticate` functions, in the order of their calls.
        timeout: seconds for a hook that has no timeout of its own.
        threads: how many sync hooks are called at once.

    Raises:
        ConfigurationError: a hook requires an argument that nobody can give.
    """

    def __init__(
        self, api_keys: Iterable[str], implementations: Iterable[Implementation], *, timeout: float, threads: int
    ) -> None:
        self._api_keys = ApiKeys(api_keys)
        self._hooks = [_read_hook(each, timeout) for each in implementations]
        self._threads = DaemonThreads("hookline-authenticate", threads)
        self._caller = Caller()

    @classmethod
    def of(cls, agent_os: AgentOS) -> Authenticator:
        """The authenticator of an AgentOS that is loaded.

        Raises:
            ConfigurationError: it is not loaded, or a hook requires an argument that nobody can give.
        """
        settings = agent_os.settings
        implementations = agent_os.registry.implementations("authenticate")
        return cls(settings.api_keys, implementations, timeout=settings.inline_timeout, threads=settings.hook_threads)

    @property
    def is_required(self) -> bool:
        """Whether there is any way to authenticate; where there is none, everybody may do everything."""
        return bool(self._api_keys or self._hooks)

    async def authenticate(self, headers: Mapping[str, str], method: str, path: str) -> Principal | None:
        """Who is asking; None if nobody is known.

        Args:
            headers: the request's; found by their names in lower case.
            method: the request's, in capitals.
            path: the request's, without the query.

        Raises:
            AuthenticationError: a hook refuses what it was shown.
            HookError: a hook failed, or did not end in time: nobody can be let in now. It is logged.
        """
        token = _bearer_token(headers)
        if token is not None and self._api_keys.hold(token):
            return KEY_HOLDER
        for hook in self._hooks:
            principal = await self._ask(hook, {"headers": headers, "method": method, "path": path})
            if principal is not None:
                return principal
        return None

    async def _ask(self, hook: _Hook, offered: Mapping[str, object]) -> Principal | None:
        try:
            found = await self._caller.call(hook.callee, offered, timeout=hook.timeout, threads=self._threads)
            if found is None or isinstance(found, Principal):
                return found
            raise TypeError(f"it gives {found!r}, which is no Principal")
        except AuthenticationError:
            raise
        except Exception as error:
            logger.exception("authenticate of plugin %r failed", hook.plugin, extra={"hook": hook.callee.name})
            raise HookError(f"authenticate of plugin {hook.plugin!r} failed: {type(error).__name__}") from error


def check_exposure(agent_os: AgentOS, host: str, *, insecure: bool) -> None:
    """Refuse to serve where others reach it and nobody is asked who they are.

    Raises:
        ConfigurationError: the host is not loopback, there is no way to authenticate, and nobody said `insecure`; or
            an `authenticate` hook requires an argument that nobody can give.
    """
    if not (insecure or is_loopback(host) or Authenticator.of(agent_os).is_required):
        raise ConfigurationError(
            f"host={host!r} can be reached by others and nothing asks them who they are: set HOOKLINE_API_KEYS, "
            f"install a plugin that authenticates, serve on 127.0.0.1 behind a proxy that does, "
            f"or say insecure=True (--insecure)"
        )


def _read_hook(implementation: Implementation, timeout: float) -> _Hook:
    offered = inspect.signature(hookspecs.authenticate).parameters
    name = f"{implementation.plugin}.authenticate"
    callee = read_callee(implementation.function, name=name, offered=offered, what="authenticate hook")
    return _Hook(implementation.plugin, callee, options_of(implementation.function).timeout or timeout)


def _bearer_token(headers: Mapping[str, str]) -> bytes | None:
    """What follows `Authorization: Bearer`, as the bytes that were sent."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip().encode("latin-1", "replace") if scheme.lower() == "bearer" else None
