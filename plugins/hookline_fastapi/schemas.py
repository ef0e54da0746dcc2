"""What the API takes and gives, as models for the OpenAPI document.

Answers are written from stored text and plain data, not validated again: these models are what clients are
generated from.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from hookline import DeliveryStatus, RunStatus

T = TypeVar("T")

Id = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Phase = Literal["pre", "post"]


def _left_out(schema: dict[str, Any]) -> None:
    schema.pop("default")


MayBeLeftOut = Field(default="", json_schema_extra=_left_out)
"""A text that is not there at all where it does not apply; it is never null."""

RUN_ID = "0d9c2c50-8a3d-4b62-9a5c-6f6f5f2a8d11"
SESSION_ID = "b1b5f1d6-4f0e-4a8e-9b55-0f6c8f1f7c02"
DELIVERY_ID = "5a8f3f0e-2d5b-4d0c-8c39-6f0a7b1c9d33"
NOW = "2026-11-21T10:00:00.000000Z"
SOON = "2026-11-21T10:00:01.250000Z"


class RunFields(BaseModel):
    """What is the same in both forms of a run's input."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"message": "roll a die", "session_id": "support-4711", "stream": False}]},
    )

    message: Annotated[str, Field(min_length=1, description="The input; not blank.")]
    stream: Annotated[bool, Field(description="Answer with server-sent events.")] = False
    session_id: Annotated[Id | None, Field(description="The conversation; a new one without it.")] = None
    user_id: Annotated[Id | None, Field(description="Whose run it is.")] = None
    background: Annotated[bool, Field(description="Answer 202 as soon as the run is accepted.")] = False


class RunForm(RunFields):
    """A run's input as a form; objects are JSON texts."""

    metadata: Annotated[str | None, Field(description="A JSON object, kept with the run.")] = None
    session_state: Annotated[str | None, Field(description="A JSON object, laid over the session's state.")] = None
    dependencies: Annotated[str | None, Field(description="A JSON object for hooks and tools.")] = None


class RunBody(RunFields):
    """A run's input as JSON."""

    metadata: Annotated[dict[str, Any] | None, Field(description="Kept with the run.")] = None
    session_state: Annotated[dict[str, Any] | None, Field(description="Laid over the session's state.")] = None
    dependencies: Annotated[dict[str, Any] | None, Field(description="For hooks and tools.")] = None


class DiscardBody(BaseModel):
    """Why a delivery is given up."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "the customer has left"}]})

    reason: Annotated[str, Field(min_length=1, description="Kept with the delivery; not blank.")]


class ToolCall(BaseModel):
    """A model's wish to call a tool; `arguments` is the JSON text that the model wrote."""

    id: str
    name: str
    arguments: str


class Message(BaseModel):
    """One message of a run."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None
    tool_calls: list[ToolCall] | None
    tool_call_id: str | None


class Metrics(BaseModel):
    """What a run cost; times in seconds."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    duration: float | None
    time_to_first_token: float | None


class RunError(BaseModel):
    """Why a run failed."""

    type: str
    message: str


class Run(BaseModel):
    """A run. Exactly one of `agent_id`, `team_id` and `workflow_id` is there."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "run_id": RUN_ID,
                    "session_id": SESSION_ID,
                    "user_id": None,
                    "agent_id": "demo",
                    "status": "completed",
                    "reason": None,
                    "content": "You rolled a 4.",
                    "messages": [
                        {"role": "user", "content": "roll a die", "tool_calls": None, "tool_call_id": None},
                        {"role": "assistant", "content": "You rolled a 4.", "tool_calls": None, "tool_call_id": None},
                    ],
                    "metrics": {
                        "input_tokens": 12,
                        "output_tokens": 6,
                        "total_tokens": 18,
                        "duration": 1.25,
                        "time_to_first_token": 0.31,
                    },
                    "error": None,
                    "metadata": {},
                    "created_at": NOW,
                    "finished_at": SOON,
                }
            ]
        }
    )

    run_id: str
    session_id: str
    user_id: str | None
    agent_id: str = MayBeLeftOut
    team_id: str = MayBeLeftOut
    workflow_id: str = MayBeLeftOut
    status: RunStatus
    reason: str | None
    content: Annotated[Any, Field(description="The model's text, or data where the agent has an output schema.")]
    messages: list[Message]
    metrics: Metrics
    error: RunError | None
    metadata: dict[str, Any]
    created_at: AwareDatetime
    finished_at: AwareDatetime | None


class AcceptedRun(BaseModel):
    """A run that goes on without its client."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"run_id": RUN_ID, "session_id": SESSION_ID, "status": "running"}]}
    )

    run_id: str
    session_id: str
    status: RunStatus


class HookError(BaseModel):
    """What a hook raised."""

    type: str
    message: str
    traceback: str


class Attempt(BaseModel):
    """One attempt of a delivery; `duration` in seconds."""

    number: int
    started_at: AwareDatetime
    duration: float
    outcome: Literal["delivered", "failed", "timeout", "dead", "parked", "released", "interrupted"]
    error: HookError | None


class HookCall(BaseModel):
    """What one hook did for a run.

    `started_at` is the first attempt's, `duration` (seconds) and `error` are the latest attempt's.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "delivery",
                    "hook": "send_notification",
                    "phase": "post",
                    "plugin": None,
                    "status": "delivered",
                    "started_at": NOW,
                    "duration": 0.2,
                    "error": None,
                    "delivery_id": DELIVERY_ID,
                    "attempts": [
                        {"number": 1, "started_at": NOW, "duration": 0.2, "outcome": "delivered", "error": None}
                    ],
                }
            ]
        }
    )

    kind: Literal["inline", "delivery"]
    hook: str
    phase: Phase
    plugin: str | None
    status: Annotated[
        Literal["completed", "failed", "rejected"] | DeliveryStatus,
        Field(description="An inline call's own, or the delivery's."),
    ]
    started_at: AwareDatetime | None
    duration: float | None
    error: HookError | None
    delivery_id: str | None
    attempts: list[Attempt]


class Session(BaseModel):
    """A conversation."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session_id": SESSION_ID,
                    "user_id": None,
                    "session_state": {"rolls": 1},
                    "created_at": NOW,
                    "updated_at": SOON,
                }
            ]
        }
    )

    session_id: str
    user_id: str | None
    session_state: dict[str, Any]
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Delivery(BaseModel):
    """One background hook of one run, and what must still be done about it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "delivery_id": DELIVERY_ID,
                    "run_id": RUN_ID,
                    "runnable": "demo",
                    "phase": "post",
                    "hook": "send_notification",
                    "position": 1,
                    "status": "dead",
                    "attempt_count": 4,
                    "max_attempts": 4,
                    "due_at": None,
                    "last_error": "the mail server refused the connection",
                }
            ]
        }
    )

    delivery_id: str
    run_id: str
    runnable: str
    phase: Phase
    hook: str
    position: int
    status: DeliveryStatus
    attempt_count: int
    max_attempts: int
    due_at: AwareDatetime | None
    last_error: str | None


class Agent(BaseModel):
    """An agent; `hooks` are the names of its plan, in order (`/hooks` tells more)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "demo",
                    "name": "Demo",
                    "model": "demo",
                    "tools": ["roll_die"],
                    "hooks": ["check_input", "send_notification"],
                }
            ]
        }
    )

    id: str
    name: str
    model: str | None
    tools: list[str]
    hooks: list[str]


class Plugin(BaseModel):
    """A plugin that was found, and what became of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "sql",
                    "module": "hookline_sql",
                    "distribution": "hookline",
                    "version": "0.1.0",
                    "state": "active",
                    "reason": None,
                    "hooks": ["storages"],
                }
            ]
        }
    )

    name: str
    module: str
    distribution: str | None
    version: str | None
    state: Literal["active", "blocked", "unavailable", "failed", "refused"]
    reason: str | None
    hooks: list[str]


class PlannedHook(BaseModel):
    """A hook in the plan of a runnable; `timeout` in seconds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "runnable": "demo",
                    "phase": "post",
                    "position": 0,
                    "hook": "send_notification",
                    "source": "runnable",
                    "mode": "background",
                    "guardrail": False,
                    "timeout": 60.0,
                    "retries": 3,
                    "on": ["completed"],
                }
            ]
        }
    )

    runnable: str
    phase: Phase
    position: int
    hook: str
    source: Literal["plugin", "server", "runnable"]
    mode: Literal["inline", "background"]
    guardrail: bool
    timeout: float
    retries: int
    on: list[str]


class Listing(BaseModel, Generic[T]):
    """A part of a listing; `next_cursor` asks for what follows, null at the end."""

    items: list[T]
    next_cursor: str | None


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Ready(BaseModel):
    """The server takes runs."""

    status: Literal["ready"]


class FieldError(BaseModel):
    """What is wrong with one field or parameter."""

    field: str
    message: str


class Problem(BaseModel):
    """A problem as RFC 9457 has it; programs branch on `type`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/invalid-request",
                    "title": "The request is not valid",
                    "status": 422,
                    "detail": "message: is required",
                    "errors": [{"field": "message", "message": "is required"}],
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError]
    run_id: str = MayBeLeftOut


class Rejection(Problem):
    """A check rejected the run; nothing of its text is said."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/run-rejected",
                    "title": "A check rejected the run",
                    "status": 422,
                    "detail": "the hook 'check_input' rejected the run",
                    "errors": [],
                    "run_id": RUN_ID,
                    "check_trigger": "prompt_injection",
                    "hook": "check_input",
                }
            ]
        },
    )

    check_trigger: str | None = None
    hook: str = MayBeLeftOut


class NotReady(Problem):
    """Why the server takes no runs."""

    reasons: list[str]
