"""The settings of plugins, found where they are by convention: in a plugin's module, or in its module `settings`."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from types import ModuleType

from pydantic_settings import BaseSettings

from hookline.errors import PluginError
from hookline.plugins import PluginInfo


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
