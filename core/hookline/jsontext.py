"""JSON as text: the one encoding of all that is stored, sent and snapshot."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode

loads = json.loads


def dumps(value: Any) -> str:
    """Encode plain data.

    Raises:
        TypeError: a value that JSON has no form for.
        ValueError: a NaN, an infinity or a circle.
    """
    text = _encode(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        return _encode_ascii(value)
    return text


def storable(text: str) -> str:
    """Text that every database holds and every client reads: NUL and lone surrogates (of odd file names) escaped."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def time_text(seconds: float) -> str:
    """An instant as RFC 3339 in UTC, from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def optional_time_text(seconds: float | None) -> str | None:
    """`time_text`, or None for None."""
    return None if seconds is None else time_text(seconds)
