"""Deliveries, what became of them, and replays as the API gives them, as models for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from hookline import DeliveryStatus, RunStatus
from hookline_fastapi import examples
from hookline_fastapi.schemas import Phase, shown


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
