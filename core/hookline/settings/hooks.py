"""The tables of single hooks, `[hooks."RUNNABLE/post/NAME"]`: where each option of them was found."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from hookline.settings.file import SETTINGS_FILE, read_file
from hookline.settings.mistakes import IN_CODE, variable_of

Tables = Mapping[str, Mapping[str, Any]]


class HookSources:
    """Who says what of single hooks: code, the environment, the file.

    Args:
        given: the tables that were given in code.
        prefix: what the variables' names begin with.
    """

    def __init__(self, given: Tables | None, prefix: str) -> None:
        self._variable = variable_of("hooks", prefix)
        in_variable = json.loads(os.environ[self._variable]) if self._variable else None
        self._sources: list[tuple[str, Tables]] = [
            (IN_CODE, given or {}),
            (self._variable or "", in_variable or {}),
            (SETTINGS_FILE, read_file().get("hooks", {})),
        ]

    def source_of(self, key: str, option: str | None) -> str:
        """Where an option (None: the table) of a hook is from: `code`, a variable's name or `hookline.toml`."""
        for source, tables in self._sources:
            if key in tables and (option is None or option in tables[key]):
                return source
        return SETTINGS_FILE

    def place_of(self, key: str, option: str | None) -> str:
        """The same for a message, with the hook."""
        source = self.source_of(key, option)
        if source == IN_CODE:
            return f'Settings(hooks={{"{key}": ...}})'
        return f'{source} [hooks."{key}"]' if source == SETTINGS_FILE else f'{source}["{key}"]'
