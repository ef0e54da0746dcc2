"""What the models for the OpenAPI document have in common.

What the API gives: `run_schemas`, `delivery_schemas`, `server_schemas`, `problem_schemas`, `event_schemas`.
What it takes: `body_schemas`, `form_schemas`.

Answers are written from stored text and plain data, not validated again: these models are what clients are
generated from.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

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


class Listing(BaseModel, Generic[T]):
    """A part of a listing; `next_cursor` asks for what follows, null at the end."""

    items: list[T]
    next_cursor: str | None
