"""What is written down about a run: inline hook calls, errors, and the row of the ledger."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, Literal

from hookline.jsontext import time_text

CallStatus = Literal["completed", "failed", "rejected"]


def describe_error(error: BaseException) -> dict[str, str]:
    """An exception as `{"type", "message", "traceback"}`."""
    return {
        "type": type(error).__name__,
        "message": message_of(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


def message_of(error: BaseException) -> str:
    """An exception's message, its class name if it has none."""
    return str(error) or type(error).__name__


@dataclass(slots=True)
class HookCall:
    """One call of an inline hook; `started_at` in seconds since the epoch, `duration` in seconds."""

    hook: str
    phase: str
    plugin: str | None
    status: CallStatus
    started_at: float
    duration: float
    error: dict[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plain data of this call, as the ledger keeps it."""
        return {
            "hook": self.hook,
            "phase": self.phase,
            "plugin": self.plugin,
            "status": self.status,
            "started_at": time_text(self.started_at),
            "duration": self.duration,
            "error": self.error,
        }
