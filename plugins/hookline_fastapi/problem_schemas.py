"""What the API answers instead of what was asked for, as models for the OpenAPI document."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from hookline_fastapi import examples
from hookline_fastapi.schemas import MayBeLeftOut, shown


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
