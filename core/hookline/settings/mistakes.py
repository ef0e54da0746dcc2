"""Mistakes in settings, told in one line that names where they were found."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from hookline.errors import ConfigurationError

DEFAULT = "default"
IN_CODE = "code"

_FIELD = re.compile(r'field "(\w+)"')


def unknown_key(key: str, where: str, known: list[str]) -> ConfigurationError:
    """A key that there is not, with what was meant."""
    near = get_close_matches(key, known, n=1)
    mend = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(sorted(known)) or 'none at all'}"
    return ConfigurationError(f"{where}: unknown key {key!r}; {mend}")


def first_mistake(
    error: ValidationError,
    model: type[BaseSettings],
    given: Mapping[str, Any],
    prefix: str,
    file: str,
    *,
    file_names: Mapping[str, str] | None = None,
    secret: frozenset[str] | None = frozenset(),
) -> ConfigurationError:
    """The first mistake.

    Args:
        error: what pydantic found.
        model: the settings.
        given: what was given in code.
        prefix: what the variables' names begin with.
        file: the file, or the table in it.
        file_names: fields that the file calls otherwise.
        secret: fields whose values are not shown; None: all.
    """
    first = error.errors(include_url=False, include_context=False)[0]
    path = [str(part) for part in first["loc"]]
    field = path[0] if path else model.__name__
    if first["type"] == "extra_forbidden":
        return unknown_key(field, f"{model.__name__}()" if field in given else file, list(model.model_fields))
    variable = prefix + "__".join(path).upper()
    if first["type"] == "missing":
        return ConfigurationError(f"{'.'.join(path)} is not set: set {variable}, or {path[-1]} in {file}")
    if field in given:
        where = f"Settings({field}=...)"
    else:
        where = variable_of(field, prefix) or f"{file}: {(file_names or {}).get(field, field)}"
    if first["type"] == "dict_type":  # a table in a table
        where += "".join(f'["{part}"]' for part in path[1:])
    value = "" if secret is None or field in secret else f" = {first['input']!r}"
    return ConfigurationError(f"{where}{value}: {first['msg'].lower().removeprefix('value error, ')}")


def not_json(error: SettingsError, prefix: str) -> ConfigurationError:
    """A variable of a setting that is a table or a list, whose text is no JSON."""
    found = _FIELD.search(str(error))
    variable = (variable_of(found[1], prefix) if found else None) or f"{prefix}*"
    return ConfigurationError(f"{variable} must be JSON text: {error.__cause__ or error}")


def variable_of(field: str, prefix: str) -> str | None:
    """The variable that sets a field, or a part of it; an empty one sets nothing."""
    start = (prefix + field).upper()
    for variable, value in os.environ.items():
        if value and (variable.upper() == start or variable.upper().startswith(f"{start}__")):
            return variable
    return None
