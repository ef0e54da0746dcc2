"""Settings as they may be shown: secrets are masked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "**********"
"""What stands for a secret; as many stars for each."""

_SECRET_NAME = re.compile(r"key|secret|token|passw|passphrase|credential|dsn", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)\S*@")
_QUERY_SECRET = re.compile(r"([?&;][^=&;\s]*(?:key|secret|token|passw)[^=&;\s]*=)[^&;\s]*", re.IGNORECASE)


def masked(name: str, value: Any) -> Any:
    """A setting's value, as plain data, without its secrets.

    Text is secret if its name, or that of a table around it, says so: a key, a token, a password, a DSN. So is what a
    URL holds before its host or in such a parameter. What is empty is shown: somebody may have forgotten to set it.
    """
    return _without_secrets(value, secret=_SECRET_NAME.search(name) is not None)


def _without_secrets(value: Any, *, secret: bool) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _without_secrets(inner, secret=secret or _SECRET_NAME.search(str(key)) is not None)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(inner, secret=secret) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    return MASK if secret else _QUERY_SECRET.sub(rf"\1{MASK}", _USER_INFO.sub(f"{MASK}@", value))
