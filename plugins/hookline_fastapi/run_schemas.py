"""Runs and sessions as the API gives them, as models for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from hookline import DeliveryStatus, RunStatus
from hookline_fastapi import examples
from hookline_fastapi.schemas import GuardrailMode, MayBeLeftOut, Phase, shown


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

    model_config = ConfigDict(json_schema_extra=shown(examples.RUN))

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

    model_config = ConfigDict(json_schema_extra=shown(examples.ACCEPTED_RUN))

    run_id: str
    session_id: str
    status: RunStatus


class HookError(BaseModel):
    """What a hook raised; only admins read more than its type."""

    type: str
    message: str | None
    traceback: str | None


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

    model_config = ConfigDict(json_schema_extra=shown(examples.HOOK_CALL))

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
    guardrail_mode: GuardrailMode
    check_trigger: Annotated[str | None, Field(description="The rule that a rejecting hook named.")]
    delivery_id: str | None
    replay_id: str | None
    attempts: list[Attempt]


class Session(BaseModel):
    """A conversation."""

    model_config = ConfigDict(json_schema_extra=shown(examples.SESSION))

    session_id: str
    user_id: str | None
    session_state: dict[str, Any]
    created_at: AwareDatetime
    updated_at: AwareDatetime
