"""What the API takes in bodies, as models for the OpenAPI document; the fields are read by the specs of each endpoint.

The schemas of forms are made of these: see `form_schemas`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from hookline.ids import ID_PATTERN
from hookline_fastapi import examples
from hookline_fastapi.schemas import Phase, shown

# What `\s` stands for is not the same everywhere: here is all that anybody takes for space.
NotBlank = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*[^\s\x00\x1c-\x1f\x85\ufeff][^\x00]*$")]
Id = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=f"^{ID_PATTERN}$")]


class RunBody(BaseModel):
    """A run's input; `stream` and `background` exclude each other."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=shown(examples.RUN_BODY))

    message: Annotated[NotBlank, Field(description="The input; not blank.")]
    stream: Annotated[bool | None, Field(description="Answer with server-sent events.")] = False
    background: Annotated[bool | None, Field(description="Answer 202 as soon as the run is accepted.")] = False
    session_id: Annotated[Id | None, Field(description="The conversation; a new one without it.")] = None
    user_id: Annotated[Id | None, Field(description="Whose run it is.")] = None
    metadata: Annotated[dict[str, Any] | None, Field(description="Kept with the run.")] = None
    session_state: Annotated[dict[str, Any] | None, Field(description="Laid over the session's state.")] = None
    dependencies: Annotated[dict[str, Any] | None, Field(description="For hooks and tools.")] = None


class DiscardBody(BaseModel):
    """Why a delivery is given up."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=shown(examples.DISCARD))

    reason: Annotated[NotBlank, Field(description="Kept with the delivery; not blank.")]


class _ManyBody(BaseModel):
    """Which deliveries, the oldest first."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=shown(examples.REDRIVE_MANY))

    run_id: NotBlank | None = None
    hook: NotBlank | None = None
    runnable: NotBlank | None = None
    user_id: NotBlank | None = None
    replay_id: NotBlank | None = None
    created_after: Annotated[AwareDatetime | None, Field(description="Those made then or later.")] = None
    created_before: Annotated[AwareDatetime | None, Field(description="Those made before.")] = None
    dry_run: Annotated[bool | None, Field(description="Only count them.")] = False
    limit: Annotated[int | None, Field(ge=1, le=100_000, description="How many at most.")] = 1000


class RedriveManyBody(_ManyBody):
    """Which dead or parked deliveries get fresh attempts; at least one filter is needed."""

    status: Literal["dead", "parked"] | None = None


class DiscardManyBody(_ManyBody):
    """Which waiting deliveries are given up; at least one filter is needed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=shown(examples.DISCARD_MANY))

    reason: Annotated[NotBlank, Field(description="Kept with each; not blank.")]
    status: Literal["waiting", "pending", "parked"] | None = None


class ReplayBody(BaseModel):
    """Which hook is run again, over which runs."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=shown(examples.REPLAY_BODY))

    hook: Annotated[NotBlank, Field(description="The name of a background hook, as `/hooks` lists it.")]
    phase: Phase | None = None
    runnable: Annotated[NotBlank | None, Field(description="Only runs of this agent; default: all with the hook.")] = (
        None
    )
    status: Annotated[
        Literal["completed", "rejected", "failed", "cancelled"] | None,
        Field(description="Only runs that ended so; default: those after which the hook is called."),
    ] = None
    since: Annotated[AwareDatetime | None, Field(description="Runs that finished then or later.")] = None
    until: Annotated[AwareDatetime | None, Field(description="Runs that finished before; default: now.")] = None
    max_per_second: Annotated[float | None, Field(gt=0, le=100_000, description="Deliveries made in a second.")] = None
    dry_run: Annotated[bool | None, Field(description="Only count the runs.")] = False
