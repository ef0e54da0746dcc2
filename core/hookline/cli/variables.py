"""Variables of the environment that look like hookline's and are not: most often they are misspelt."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches

from hookline.cli.loading import APP_VARIABLE
from hookline.cli.trouble import Trouble
from hookline.settings import ENVIRONMENT_PREFIX, SETTINGS_FILE, Settings, plugin_tables, variable_prefix_of

Fields = Collection[str] | None
"""The names of a plugin's settings; None where they are not known."""


def unknown_names(plugins: Mapping[str, Fields]) -> list[Trouble]:
    """Each variable `HOOKLINE_*`, and each table `[plugins.NAME]` of the file, that nobody reads, with what was meant.

    Args:
        plugins: the plugins that are there, each with its settings.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    return [*_unknown_variables(plugins), *_unknown_tables(plugins)]


def _unknown_variables(plugins: Mapping[str, Fields]) -> Iterator[Trouble]:
    exact = {APP_VARIABLE, *((ENVIRONMENT_PREFIX + field).upper() for field in Settings.model_fields)}
    prefixes = []
    for plugin, fields in plugins.items():
        prefix = variable_prefix_of(plugin)
        if fields is None:
            prefixes.append(prefix)
        else:
            exact.update(prefix + field.upper() for field in fields)
    for variable in sorted(os.environ):
        name = variable.upper()
        if not name.startswith(ENVIRONMENT_PREFIX) or name in exact or name.startswith(tuple(prefixes)):
            continue
        if any(name.startswith(f"{known}__") for known in exact):  # a part of a setting that is a table itself
            continue
        yield Trouble(f"{variable} is no setting", _meant(name, [*exact, *prefixes]))


def _unknown_tables(plugins: Mapping[str, Fields]) -> Iterator[Trouble]:
    for table in sorted(set(plugin_tables()) - set(plugins)):
        yield Trouble(
            f"{SETTINGS_FILE}: [plugins.{table}] is for a plugin that is not installed",
            _meant(table, list(plugins), form="[plugins.{}]"),
        )


def _meant(word: str, known: Collection[str], form: str = "{}") -> str:
    near = get_close_matches(word, list(known), n=1)
    return f"did you mean {form.format(near[0])}?" if near else "nothing reads it: remove it"
