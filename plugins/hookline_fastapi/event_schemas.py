"""The events of a stream, as models for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, WithJsonSchema

from hookline_fastapi import examples
from hookline_fastapi.run_schemas import Run, RunError
from hookline_fastapi.schemas import left_out


class Event(BaseModel):
    """What every event has; `sequence` counts from 1 within the run."""

    run_id: str
    sequence: Annotated[int, Field(ge=1)]


class StartedEvent(Event):
    """The run has begun."""

    event: Literal["RunStarted"]
    session_id: str


class HookEvent(Event):
    """An inline hook is called, or has returned."""

    event: Literal["PreHookStarted", "PreHookCompleted", "PostHookStarted", "PostHookCompleted"]
    hook: str


class ErrorType(BaseModel):
    """The type of what a hook raised; `GET /runs/{run_id}/hooks` tells more to those who may know it."""

    type: str


class HookFailedEvent(Event):
    """An inline hook has raised."""

    event: Literal["PreHookFailed", "PostHookFailed"]
    hook: str
    error: ErrorType


class HookScheduledEvent(Event):
    """A background hook will be called after the run."""

    event: Literal["HookScheduled"]
    hook: str
    delivery_id: str


class ContentEvent(Event):
    """The next piece of the model's text."""

    event: Literal["RunContent"]
    content: str


class ToolCallStartedEvent(Event):
    """A tool is called; `arguments` is the JSON text that the model wrote."""

    event: Literal["ToolCallStarted"]
    tool_call_id: str
    name: str
    arguments: str


class ToolCallCompletedEvent(Event):
    """A tool has answered."""

    event: Literal["ToolCallCompleted"]
    tool_call_id: str
    name: str
    result: str


class ToolCallFailedEvent(Event):
    """A tool has raised."""

    event: Literal["ToolCallFailed"]
    tool_call_id: str
    name: str
    error: RunError


class EndEvent(Event):
    """The run has ended: the last event. `content_released` says that text had left of a run that did not complete."""

    event: Literal["RunCompleted", "RunRejected", "RunFailed", "RunCancelled", "RunPaused"]
    run: Run
    content_released: Literal[True] = Field(default=True, json_schema_extra=left_out)


class RunEvent(
    RootModel[
        Annotated[
            StartedEvent
            | HookEvent
            | HookFailedEvent
            | HookScheduledEvent
            | ContentEvent
            | ToolCallStartedEvent
            | ToolCallCompletedEvent
            | ToolCallFailedEvent
            | EndEvent,
            Field(discriminator="event"),
        ]
    ]
):
    """What happened in a run."""


EventText = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/RunEvent"},
        }
    ),
]


class ServerSentEvent(BaseModel):
    """One event of a stream: `id` is the sequence number, `event` the name, `data` the JSON text of the whole."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.SERVER_SENT_EVENT]})

    id: str
    event: str
    data: EventText
