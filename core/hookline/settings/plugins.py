"""The settings of plugins: a table `[plugins.NAME]` of the file, and variables `HOOKLINE_PLUGIN_NAME__*`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar, cast

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from hookline.environment import ENVIRONMENT_PREFIX
from hookline.errors import ConfigurationError
from hookline.settings.file import SETTINGS_FILE, read_file
from hookline.settings.mistakes import DEFAULT, first_mistake, not_json, unknown_key, variable_of

M = TypeVar("M", bound=BaseSettings)


def plugin_settings(name: str, model: type[M]) -> M:
    """The settings of one plugin, from `HOOKLINE_PLUGIN_NAME__*` and the table `[plugins.NAME]` of the file.

    Args:
        name: the plugin's name; in variables it is in capitals, with `_` for `-`.
        model: the plugin's settings, with a default for all that it can do without. Its own prefix is not used.

    Raises:
        ConfigurationError: a value or a name is wrong, or one is missing; values are never shown.
    """
    table = _plugin_table(name)
    prefix = variable_prefix_of(name)
    where = f"{SETTINGS_FILE} [plugins.{name}]"
    if unknown := sorted(set(table) - set(model.model_fields)):
        raise unknown_key(unknown[0], where, list(model.model_fields))

    class Sources:
        model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
            env_prefix=prefix, env_nested_delimiter="__", env_ignore_empty=True, extra="forbid"
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            **_: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return env_settings, InitSettingsSource(settings_cls, table)

    bound = cast("type[M]", type(model.__name__, (Sources, model), {"model_config": Sources.model_config}))
    try:
        return bound()
    except ValidationError as error:
        raise first_mistake(error, bound, {}, prefix, where, secret=None) from None
    except SettingsError as error:
        raise not_json(error, prefix) from None


def plugin_sources_of(name: str, fields: Iterable[str]) -> dict[str, str]:
    """Where each of a plugin's settings has its value from: a variable's name, `hookline.toml` or `default`."""
    table, prefix = _plugin_table(name), variable_prefix_of(name)
    return {field: variable_of(field, prefix) or (SETTINGS_FILE if field in table else DEFAULT) for field in fields}


def variable_prefix_of(plugin: str) -> str:
    """What the names of the variables for a plugin's settings begin with."""
    return f"{ENVIRONMENT_PREFIX}PLUGIN_{plugin.upper().replace('-', '_')}__"


def plugin_variables(name: str) -> dict[str, str]:
    """The variables of the environment that are for one plugin, each with the setting that it names."""
    prefix = variable_prefix_of(name)
    return {
        variable: variable[len(prefix) :].lower().replace("__", ".")
        for variable, value in os.environ.items()
        if variable.upper().startswith(prefix) and value
    }


def plugin_tables() -> dict[str, dict[str, Any]]:
    """The tables `[plugins.NAME]` of the file, by the plugins' names.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    tables = read_file().get("plugins", {})
    return dict(tables) if isinstance(tables, dict) else {}


def _plugin_table(name: str) -> dict[str, Any]:
    table = plugin_tables().get(name, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{SETTINGS_FILE}: plugins.{name} must be a table: [plugins.{name}]")
    return table
