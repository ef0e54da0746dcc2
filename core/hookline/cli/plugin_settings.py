"""The settings of plugins, found where they are by convention: in a plugin's module, or in its module `settings`."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from types import ModuleType

from pydantic_settings import BaseSettings

from hookline.errors import PluginError
from hookline.plugins import PluginInfo
from hookline.settings import variable_prefix_of


def settings_model(info: PluginInfo) -> type[BaseSettings] | None:
    """The settings of an installed, active plugin; None if it has none that can be found.

    Raises:
        PluginError: its module `settings` cannot be imported.
    """
    if info.distribution is None:  # given in code: what else is in its module is not the plugin's
        return None
    found = {
        value
        for module in _modules(info)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseSettings) and _is_of(info.module, value)
    }
    return found.pop() if len(found) == 1 else None


def plugin_variables(name: str) -> dict[str, str]:
    """The variables of the environment that are for one plugin, each with the setting that it names."""
    prefix = variable_prefix_of(name)
    return {
        variable: variable[len(prefix) :].lower().replace("__", ".")
        for variable, value in os.environ.items()
        if variable.upper().startswith(prefix) and value
    }


def _modules(info: PluginInfo) -> Iterator[ModuleType]:
    try:
        module = importlib.import_module(info.module)
        yield module
        name = f"{info.module}.settings"
        if hasattr(module, "__path__") and importlib.util.find_spec(name) is not None:
            yield importlib.import_module(name)
    except Exception as error:  # the border to plugins: an import runs their code
        raise PluginError(f"plugin {info.name!r}: its settings cannot be read: {error}") from error


def _is_of(package: str, value: type) -> bool:
    return value.__module__ == package or value.__module__.startswith(f"{package}.")
