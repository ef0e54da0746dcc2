"""Times as people type them: `2h`, `30d`, `2026-11-21`, `2026-11-21T10:00:00Z`."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

import click

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


class Span(click.ParamType):
    """A span of time, in seconds: a number and one of s, m, h, d, w."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        match = _SPAN.fullmatch(value.strip())
        if match is None:
            self.fail(f"{value!r} is no span of time: write 90s, 15m, 2h, 30d or 4w", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


class Instant(click.ParamType):
    """An instant, in seconds since the epoch: RFC 3339, a date, or how long ago; without an offset it is local time."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds since the epoch."""
        if isinstance(value, float):
            return value
        if match := _SPAN.fullmatch(value.strip()):
            return time.time() - float(match[1]) * _SECONDS[match[2]]
        try:
            return datetime.fromisoformat(value.strip()).timestamp()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no instant: write 2026-11-21T10:00:00Z, 2026-11-21, or 2h for 2 hours ago")
