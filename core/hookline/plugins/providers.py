"""What plugins provide by name: storages, models and transports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hookline.errors import ConfigurationError, PluginError
from hookline.plugins.checking import meant

PROVIDER_HOOKS = ("storages", "models", "transports")


def check_provided(hook: str, provided: object) -> dict[str, Any]:
    """What a provider's function returned, as a dict.

    Raises:
        PluginError: it is no mapping of names to functions (for `transports`: to transports).
    """
    if provided is None:
        return {}
    if not isinstance(provided, Mapping):
        raise PluginError(f"{hook}() returns {type(provided).__name__}: it must be a mapping from names")
    for name, value in provided.items():
        if not isinstance(name, str) or not name:
            raise PluginError(f"{hook}() provides the name {name!r}: a name must be text")
        if hook == "transports":
            if not (callable(getattr(value, "create_app", None)) and callable(getattr(value, "serve", None))):
                raise PluginError(f"transports() provides {name!r}, which has no methods create_app and serve")
        elif not callable(value):
            raise PluginError(f"{hook}() provides {name!r}, which is {value!r} and no function that makes one")
    return dict(provided)


class Providers:
    """Everything that active plugins provide."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, list[tuple[str, Any]]]] = {hook: {} for hook in PROVIDER_HOOKS}

    def add(self, plugin: str, hook: str, provided: Mapping[str, Any]) -> None:
        """Remember what a plugin provides."""
        for name, value in provided.items():
            self._found[hook].setdefault(name, []).append((plugin, value))

    def get(self, hook: str, name: str, *, otherwise: str = "") -> Any:
        """What is provided under a name; `otherwise` is said in addition where there is nothing.

        Raises:
            ConfigurationError: no plugin provides that name, or two do.
        """
        word = hook.removesuffix("s")
        provided = self._found[hook]
        found = provided.get(name, [])
        if len(found) == 1:
            return found[0][1]
        if found:
            plugins = " and ".join(repr(plugin) for plugin, _ in found)
            raise ConfigurationError(
                f"{word} {name!r} is provided by the plugins {plugins}: disable one of them (disable_plugins)"
            )
        there = ", ".join(f"{key!r} (plugin {entries[0][0]!r})" for key, entries in sorted(provided.items()))
        raise ConfigurationError(
            f"no plugin provides the {word} {name!r}{meant(name, provided)}: there is {there or 'none'}{otherwise}"
        )
