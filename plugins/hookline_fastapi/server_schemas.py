"""What a server tells about itself: what it serves and how it fares, as models for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from hookline_fastapi import examples
from hookline_fastapi.schemas import GuardrailMode, Phase, left_out, shown


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
