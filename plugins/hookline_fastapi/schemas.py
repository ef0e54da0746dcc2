"""What the API gives, as models for the OpenAPI document.

Answers are written from stored text and plain data, not validated again: these models are what clients are
generated from.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from hookline import DeliveryStatus, RunStatus
from hookline_fastapi import examples

T = TypeVar("T")

Phase = Literal["pre", "post"]
GuardrailMode = Annotated[
    Literal["enforce", "observe", "off"] | None,
    Field(description="Null for what is no guardrail; `observe`: what it finds is written down, the run passes."),
]


def shown(example: dict[str, Any]) -> dict[str, Any]:
    """What shows an example in the schema of a model."""
    return {"examples": [example]}


def left_out(schema: dict[str, Any]) -> None:
    """Take the default out of the schema of a field that is not there at all where it does not apply."""
    schema.pop("default")


MayBeLeftOut = Field(default="", json_schema_extra=left_out)
"""A text that is not there at all where it does not apply; it is never null."""


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


class Delivery(BaseModel):
    """One background hook of one run, and what must still be done about it."""

    model_config = ConfigDict(json_schema_extra=shown(examples.DELIVERY))

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
    replay_id: str | None


class Changed(BaseModel):
    """How many deliveries were meant, and how many were changed: none of them in a dry run."""

    model_config = ConfigDict(json_schema_extra=shown(examples.CHANGED))

    matched: int
    changed: int
    dry_run: bool


class Spread(BaseModel):
    """Seconds: the median, and what 95 % stay under; null where there was nothing to measure."""

    p50: float | None
    p95: float | None


class HookCounts(BaseModel):
    """What became of a hook's deliveries in a span of time.

    `count` ended in it, of which `delivered`, `dead` and `discarded`; `failed` counts attempts. `wait` is from the
    run's commit to the first attempt, `duration` that of an attempt.
    """

    count: int
    delivered: int
    dead: int
    discarded: int
    failed: int
    wait: Spread
    duration: Spread


class HookStats(BaseModel):
    """A hook's deliveries of late."""

    model_config = ConfigDict(json_schema_extra=shown(examples.HOOK_STATS))

    runnable: str
    phase: Phase
    hook: str
    last_hour: HookCounts
    last_day: HookCounts


class Replay(BaseModel):
    """A replay: a background hook over stored runs.

    `matched` runs are meant, for `made` of which there is a delivery; `delivered` to `parked` count those.
    """

    model_config = ConfigDict(json_schema_extra=shown(examples.REPLAY))

    replay_id: Annotated[str | None, Field(description="Null where nothing is stored: in a dry run.")]
    hook: str
    phase: Phase
    runnables: list[str]
    statuses: list[RunStatus]
    since: AwareDatetime | None
    until: AwareDatetime | None
    max_per_second: float | None
    status: Literal["planned", "running", "paused", "completed", "cancelled"]
    matched: int
    made: int
    delivered: int
    dead: int
    discarded: int
    parked: int
    created_at: AwareDatetime
    finished_at: AwareDatetime | None


class Agent(BaseModel):
    """An agent; `hooks` are the names of its plan, in order (`/hooks` tells more)."""

    model_config = ConfigDict(json_schema_extra=shown(examples.AGENT))

    id: str
    name: str
    model: str | None
    tools: list[str]
    hooks: list[str]


class Plugin(BaseModel):
    """A plugin that was found, and what became of it."""

    model_config = ConfigDict(json_schema_extra=shown(examples.PLUGIN))

    name: str
    module: str
    distribution: str | None
    version: str | None
    state: Literal["active", "blocked", "unavailable", "failed", "refused"]
    reason: str | None
    hooks: list[str]


class HookState(BaseModel):
    """How a background hook fares in this process.

    `circuit` is `open` while the hook is paused, until `open_until`, after too many failures in a row. While too many
    threads are held by calls that never ended, it `waits_for_threads`.
    """

    circuit: Literal["closed", "open", "half-open"]
    failures: int
    open_until: AwareDatetime | None
    running: int
    waits_for_threads: bool


class PlannedHook(BaseModel):
    """A hook in the plan of a runnable; times in seconds.

    From `backoff` to `circuit_cooldown` all is null for what is called inline. `sample` is the share of runs that it is
    called for, `from_settings` the names of the options that the server's settings overrode.
    """

    model_config = ConfigDict(json_schema_extra=shown(examples.PLANNED_HOOK))

    runnable: str
    phase: Phase
    position: int
    hook: str
    source: Literal["plugin", "server", "runnable"]
    mode: Literal["inline", "background"]
    guardrail: bool
    guardrail_mode: GuardrailMode
    timeout: float
    retries: int
    backoff: float | None
    max_age: float | None
    concurrency: int | None
    circuit_threshold: int | None
    circuit_cooldown: float | None
    sample: float
    on: list[str]
    from_settings: list[str]
    state: Annotated[HookState | None, Field(description="Null for what is called inline.")]


class Listing(BaseModel, Generic[T]):
    """A part of a listing; `next_cursor` asks for what follows, null at the end."""

    items: list[T]
    next_cursor: str | None


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class HeldHook(HookState):
    """A background hook that is paused or waits."""

    runnable: str
    phase: Phase
    hook: str


class DeliveryCounts(BaseModel):
    """Lines under way here; deliveries that are not done, in the whole ledger, about; so many turn new runs away."""

    running: int
    undone: int
    max_waiting: int


class AbandonedCounts(BaseModel):
    """Calls that did not end after their time limit: threads of each kind, at most `max_threads` each, and tasks."""

    inline_hooks: int
    tools: int
    deliveries: int
    tasks: int
    max_threads: int


class Details(BaseModel):
    """How a server fares: its runs under way, what is held up, and what somebody should know of."""

    runs: int
    deliveries: DeliveryCounts
    abandoned: AbandonedCounts
    hooks: list[HeldHook]
    notes: list[str]


class Ready(BaseModel):
    """The server takes runs."""

    status: Literal["ready"]
    details: Details | None = Field(
        default=None, description="For admins; others do not get it.", json_schema_extra=left_out
    )


class FieldError(BaseModel):
    """What is wrong with one field or parameter."""

    field: str
    message: str


class Problem(BaseModel):
    """A problem as RFC 9457 has it; programs branch on `type`."""

    model_config = ConfigDict(extra="allow", json_schema_extra=shown(examples.PROBLEM))

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError]
    run_id: str = MayBeLeftOut


class Rejection(Problem):
    """A check rejected the run; nothing of its text is said."""

    model_config = ConfigDict(extra="allow", json_schema_extra=shown(examples.REJECTION))

    check_trigger: str | None = None
    hook: str = MayBeLeftOut


class NotReady(Problem):
    """Why the server takes no runs."""

    model_config = ConfigDict(extra="allow", json_schema_extra=shown(examples.NOT_READY))

    reasons: list[str]
