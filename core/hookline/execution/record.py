"""What is written down about a run: inline hook calls, errors, and the row of the ledger."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any, Literal

from hookline.errors import CheckError, HookTimeoutError
from hookline.hook_options import GuardrailMode
from hookline.jsontext import dumps, loads, storable, time_text

CallStatus = Literal["completed", "failed", "rejected"]


def describe_error(error: BaseException) -> dict[str, str]:
    """An exception as `{"type", "message", "traceback"}`; the latter is one line where frames would tell nothing."""
    lines = traceback.format_exception(error) if worth_tracing(error) else traceback.format_exception_only(error)
    return {"type": type(error).__name__, "message": message_of(error), "traceback": storable("".join(lines))}


def worth_tracing(error: BaseException) -> bool:
    """Whether an exception's frames tell people something: those of a time limit that hookline saw are only its own."""
    if not isinstance(error, HookTimeoutError):
        return True
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(module.partition(".")[0] != "hookline" for module in modules)


def message_of(error: BaseException) -> str:
    """An exception's message, its class name if it has none."""
    try:
        return storable(str(error)) or type(error).__name__
    except Exception:  # noqa: BLE001 - the border to hooks: their exceptions' own methods may raise
        return f"{type(error).__name__}, whose message cannot be read"


def details_of(error: BaseException) -> dict[str, Any]:
    """What a check error carries for people: `check_trigger` and `additional_data`."""
    if not isinstance(error, CheckError):
        return {}
    try:
        data = loads(dumps(dict(error.additional_data)))
    except (TypeError, ValueError, RecursionError):
        data = repr(error.additional_data)
    return {"check_trigger": error.check_trigger, "additional_data": data}


@dataclass(slots=True)
class HookCall:
    """One call of an inline hook.

    `started_at` is in seconds since the epoch, `duration` in seconds; `details` is what a check error carried;
    `guardrail_mode` is None for what is no guardrail, and missing in what older versions stored.
    """

    hook: str
    phase: str
    plugin: str | None
    status: CallStatus
    started_at: float
    duration: float
    error: dict[str, str] | None = None
    details: dict[str, Any] = field(default_factory=dict)
    guardrail_mode: GuardrailMode | None = None

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
            "details": self.details,
            "guardrail_mode": self.guardrail_mode,
        }
