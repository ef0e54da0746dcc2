"""Every setting there is: hookline's own and those of the active plugins, with their values and sources."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python
from pydantic_settings import BaseSettings

from hookline.agent_os import AgentOS
from hookline.cli.group import load_registry
from hookline.cli.masking import masked
from hookline.cli.plugin_settings import plugin_variables, settings_model
from hookline.cli.trouble import Trouble
from hookline.cli.variables import unknown_names
from hookline.plugins import PluginRegistry, PluginState
from hookline.settings import (
    SETTINGS_FILE,
    Settings,
    file_name_of,
    load_settings,
    plugin_settings,
    plugin_sources_of,
    plugin_tables,
    sources_of,
)

Models = Mapping[str, type[BaseSettings] | None]
"""The settings of the plugins by their names; None where they are not known."""


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
    unknown: list[Trouble]


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
    models = _models_of(registry)
    active = [info.name for info in registry.plugins if info.state is PluginState.ACTIVE]
    listed = [*_core(settings), *(each for name in active for each in _of_plugin(name, models[name]))]
    fields = {name: list(model.model_fields) if model else None for name, model in models.items()}
    return Listing(listed, unknown_names(fields))


def _models_of(registry: PluginRegistry) -> Models:
    return {info.name: settings_model(info) if info.state is PluginState.ACTIVE else None for info in registry.plugins}


def _core(settings: Settings) -> Iterator[ListedSetting]:
    sources = sources_of(settings)
    for field in type(settings).model_fields:
        name = file_name_of(field)
        yield ListedSetting(name, masked(name, _plain(getattr(settings, field))), sources[name])


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
