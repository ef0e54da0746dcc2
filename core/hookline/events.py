"""Events: what happens in a run, in the order of its happening."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class EventName(StrEnum):
    """The names of all events of a run."""

    RUN_STARTED = "RunStarted"
    PRE_HOOK_STARTED = "PreHookStarted"
    PRE_HOOK_COMPLETED = "PreHookCompleted"
    PRE_HOOK_FAILED = "PreHookFailed"
    RUN_CONTENT = "RunContent"
    TOOL_CALL_STARTED = "ToolCallStarted"
    TOOL_CALL_COMPLETED = "ToolCallCompleted"
    TOOL_CALL_FAILED = "ToolCallFailed"
    POST_HOOK_STARTED = "PostHookStarted"
    POST_HOOK_COMPLETED = "PostHookCompleted"
    POST_HOOK_FAILED = "PostHookFailed"
    HOOK_SCHEDULED = "HookScheduled"
    RUN_COMPLETED = "RunCompleted"
    RUN_REJECTED = "RunRejected"
    RUN_FAILED = "RunFailed"
    RUN_CANCELLED = "RunCancelled"


TERMINAL_EVENTS = frozenset(
    {EventName.RUN_COMPLETED, EventName.RUN_REJECTED, EventName.RUN_FAILED, EventName.RUN_CANCELLED}
)
"""Exactly one of these ends every run's events; its `run` field is the whole run."""

CONTENT_EVENTS = frozenset(
    {EventName.RUN_CONTENT, EventName.TOOL_CALL_STARTED, EventName.TOOL_CALL_COMPLETED, EventName.TOOL_CALL_FAILED}
)
"""Events that bear what the model wrote: held back while an output guardrail has not passed."""


@dataclass(slots=True)
class RunEvent:
    """One event of a run; `sequence` counts from 1 within the run, `data` holds the event's own fields."""

    event: EventName
    run_id: str
    sequence: int
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> str | None:
        """The text of a `RunContent` event."""
        return self.data.get("content")

    def to_dict(self) -> dict[str, Any]:
        """The plain data of this event, as server-sent events carry it."""
        return {"event": self.event.value, "run_id": self.run_id, "sequence": self.sequence, **self.data}
