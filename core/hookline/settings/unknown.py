"""Names that look like a setting's and are none: most often they are misspelt."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from hookline.environment import APP_VARIABLE, ENVIRONMENT_PREFIX
from hookline.errors import PluginError
from hookline.plugins import PluginInfo, PluginState
from hookline.settings.core import Settings
from hookline.settings.file import SETTINGS_FILE
from hookline.settings.plugin_models import settings_model
from hookline.settings.plugins import plugin_tables, variable_prefix_of

Fields = Collection[str] | None
"""The names of a plugin's settings; None where they are not known."""


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A name that nobody reads, and what was meant."""

    reason: str
    mend: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.mend}"


def unknown_names(plugins: Sequence[PluginInfo]) -> list[UnknownName]:
    """Each variable `HOOKLINE_*`, and each table `[plugins.NAME]` of the file, that nobody reads.

    Args:
        plugins: the plugins that are there.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    return [*_unknown_variables(plugins), *_unknown_tables({info.name for info in plugins})]


def _unknown_variables(plugins: Sequence[PluginInfo]) -> Iterator[UnknownName]:
    core = {APP_VARIABLE, *((ENVIRONMENT_PREFIX + field).upper() for field in Settings.model_fields)}
    suspects = [
        name for name in sorted(os.environ) if name.upper().startswith(ENVIRONMENT_PREFIX) and name.upper() not in core
    ]
    if not suspects:  # plugins' settings need not be imported
        return
    exact: set[str] = set()
    prefixes: list[str] = []
    for plugin, fields in _fields_of(plugins).items():
        prefix = variable_prefix_of(plugin)
        if fields is None:
            prefixes.append(prefix)
        else:
            exact.update(prefix + field.upper() for field in fields)
    for variable in suspects:
        name = variable.upper()
        if name in exact or name.startswith(tuple(prefixes)):
            continue
        if any(name.startswith(f"{known}__") for known in exact):  # a part of a setting that is a table itself
            continue
        yield UnknownName(f"{variable} is no setting", _meant(name, [*core, *exact, *prefixes]))


def _fields_of(plugins: Sequence[PluginInfo]) -> Mapping[str, Fields]:
    found: dict[str, Fields] = {}
    for info in plugins:
        found[info.name] = None
        if info.state is PluginState.ACTIVE:
            try:
                model = settings_model(info)
            except PluginError:  # whoever uses the plugin hears of it
                continue
            found[info.name] = list(model.model_fields) if model is not None else None
    return found


def _unknown_tables(plugins: Collection[str]) -> Iterator[UnknownName]:
    for table in sorted(set(plugin_tables()) - set(plugins)):
        yield UnknownName(
            f"{SETTINGS_FILE}: [plugins.{table}] is for a plugin that is not installed",
            _meant(table, plugins, form="[plugins.{}]"),
        )


def _meant(word: str, known: Collection[str], form: str = "{}") -> str:
    near = get_close_matches(word, sorted(known), n=1)
    return f"did you mean {form.format(near[0])}?" if near else "nothing reads it: remove it"
