"""Times as people type them: `2h`, `30d`, `2026-11-21`, `2026-11-21T10:00:00Z`; callbacks of click's options."""

from __future__ import annotations

import re
import time
from datetime import datetime

import click

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def read_span(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A span of time, in seconds: a number and one of s, m, h, d, w.

    Raises:
        click.BadParameter: it is something else.
    """
    if value is None:
        return None
    seconds = _seconds_of(value)
    if seconds is None:
        raise click.BadParameter(f"{value!r} is no span of time: write 90s, 15m, 2h, 30d or 4w", context, parameter)
    return seconds


def read_instant(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """An instant, in seconds since the epoch: RFC 3339, a date, or how long ago; without an offset it is local time.

    Raises:
        click.BadParameter: it is something else.
    """
    if value is None:
        return None
    ago = _seconds_of(value)
    if ago is not None:
        return time.time() - ago
    try:
        return datetime.fromisoformat(value.strip()).timestamp()
    except (ValueError, OverflowError):
        mend = "write 2026-11-21T10:00:00Z, 2026-11-21, or 2h for 2 hours ago"
        raise click.BadParameter(f"{value!r} is no instant: {mend}", context, parameter) from None


def _seconds_of(value: str) -> float | None:
    match = _SPAN.fullmatch(value.strip())
    return float(match[1]) * _SECONDS[match[2]] if match else None
