"""Every setting there is: hookline's own and those of the active plugins, with their values and sources."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python
from pydantic_settings import BaseSettings

from hookline.agent_os import AgentOS
from hookline.cli.group import load_registry
from hookline.cli.masking import masked
from hookline.plugins import PluginState
from hookline.settings import (
    SETTINGS_FILE,
    Settings,
    UnknownName,
    file_name_of,
    hook_sources_of,
    load_settings,
    plugin_settings,
    plugin_sources_of,
    plugin_tables,
    plugin_variables,
    settings_model,
    sources_of,
    unknown_names,
)


@dataclass(frozen=True, slots=True)
class ListedSetting:
    """One setting, by its name in the file; `value` is plain data and bears no secret."""

    setting: str
    value: Any
    source: str

    def to_dict(self) -> dict[str, Any]:
        """The plain data of this setting."""
        return {"setting": self.setting, "value": self.value, "source": self.source}


@dataclass(frozen=True, slots=True)
class Listing:
    """All settings, and the names that look like a setting's and are none."""

    settings: list[ListedSetting]
    unknown: list[UnknownName]


def read(agent_os: AgentOS | None) -> Listing:
    """The settings of an AgentOS, or those that one without any of its own would have.

    Raises:
        ConfigurationError: a value or a name is wrong.
    """
    if agent_os is not None:
        agent_os.load()
        settings, registry = agent_os.settings, agent_os.registry
    else:
        settings, registry = load_settings(), load_registry()
    active = [info for info in registry.plugins if info.state is PluginState.ACTIVE]
    of_plugins = [each for info in active for each in _of_plugin(info.name, settings_model(info))]
    return Listing([*_core(settings), *_of_hooks(settings), *of_plugins], unknown_names(registry.plugins))


def _core(settings: Settings) -> Iterator[ListedSetting]:
    sources = sources_of(settings)
    for field in type(settings).model_fields:
        name = file_name_of(field)
        if name == "hooks" and settings.hooks:
            continue
        yield ListedSetting(name, masked(name, _plain(getattr(settings, field))), sources[name])


def _of_hooks(settings: Settings) -> Iterator[ListedSetting]:
    for (key, option), source in hook_sources_of(settings).items():
        value = settings.hooks[key][option]
        yield ListedSetting(f'hooks."{key}".{option}', "inf" if value == math.inf else _plain(value), source)


def _of_plugin(name: str, model: type[BaseSettings] | None) -> Iterator[ListedSetting]:
    if model is None:
        yield from _as_given(name)
        return
    settings = plugin_settings(name, model)
    for field, source in plugin_sources_of(name, model.model_fields).items():
        yield ListedSetting(f"plugins.{name}.{field}", masked(field, _plain(getattr(settings, field))), source)


def _as_given(name: str) -> Iterator[ListedSetting]:
    """What is set for a plugin whose own list of settings is not known."""
    variables = plugin_variables(name)
    for field, value in plugin_tables().get(name, {}).items():
        if field not in variables.values():
            yield ListedSetting(f"plugins.{name}.{field}", masked(field, _plain(value)), SETTINGS_FILE)
    for variable, field in variables.items():
        yield ListedSetting(f"plugins.{name}.{field}", masked(field, os.environ[variable]), variable)


def _plain(value: Any) -> Any:
    return to_jsonable_python(value, serialize_unknown=True)
