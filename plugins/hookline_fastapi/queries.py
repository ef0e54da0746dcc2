"""Query strings and listings: limits, cursors, pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from hookline import DeliveryStatus
from hookline.jsontext import dumps
from hookline.storage import DeliveryFilter, Page
from hookline_fastapi.fields import read_instant
from hookline_fastapi.problems import FieldError, Problem, invalid

T = TypeVar("T")


def _read_instant(raw: object) -> float:
    try:
        return read_instant(raw, is_json=False)
    except ValueError as error:
        raise PydanticCustomError("instant", "{rule}", {"rule": str(error)}) from None


Instant = Annotated[float, BeforeValidator(_read_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
"""Seconds since the epoch, given as RFC 3339 has it."""

FilterText = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]


class PageQuery(BaseModel):
    """Which part of a listing is wanted."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=200, description="How many items at most.")] = 50
    cursor: Annotated[FilterText | None, Field(description="The `next_cursor` of the part before.")] = None


class SessionQuery(PageQuery):
    """Which sessions."""

    user_id: Annotated[FilterText | None, Field(description="Only this user's.")] = None


class DeliveryQuery(PageQuery):
    """Which deliveries."""

    status: Annotated[DeliveryStatus | None, Field(description="Only those in this status.")] = None
    run_id: Annotated[FilterText | None, Field(description="Only those of this run.")] = None
    hook: Annotated[FilterText | None, Field(description="Only those of hooks with this name.")] = None
    runnable: Annotated[FilterText | None, Field(description="Only those of this agent.")] = None
    user_id: Annotated[FilterText | None, Field(description="Only those of this user's runs.")] = None
    replay_id: Annotated[FilterText | None, Field(description="Only those that this replay made.")] = None
    created_after: Annotated[Instant | None, Field(description="Only those made then or later.")] = None
    created_before: Annotated[Instant | None, Field(description="Only those made before.")] = None

    def where(self) -> DeliveryFilter:
        """The same for the ledger."""
        return DeliveryFilter(
            status=self.status,
            run_id=self.run_id,
            hook=self.hook,
            runnable=self.runnable,
            user_id=self.user_id,
            replay_id=self.replay_id,
            created_after=self.created_after,
            created_before=self.created_before,
        )


class ReplayQuery(PageQuery):
    """Which replays."""

    status: Annotated[
        Literal["running", "paused", "completed", "cancelled"] | None, Field(description="Only those in this status.")
    ] = None


async def page_of(asked: Awaitable[Page[T]]) -> Page[T]:
    """What a storage's listing gives.

    Raises:
        Problem: the cursor is none of this listing's.
    """
    try:
        return await asked
    except ValueError:
        raise bad_cursor() from None


def bad_cursor() -> Problem:
    """The problem of a cursor that no listing gave out."""
    return invalid([FieldError("cursor", "is not a cursor of this listing; leave it out to begin anew")])


def slice_of(items: Sequence[dict[str, Any]], query: PageQuery) -> str:
    """The JSON text of a part of a listing that is in memory.

    Raises:
        Problem: the cursor is none of this listing's.
    """
    start = 0 if query.cursor is None else _decode_cursor(query.cursor)
    end = start + query.limit
    return listing([dumps(item) for item in items[start:end]], _encode_cursor(end) if end < len(items) else None)


def listing(items: Sequence[str], next_cursor: str | None = None) -> str:
    """The JSON text of a listing, from the JSON texts of its items."""
    return f'{{"items":[{",".join(items)}],"next_cursor":{dumps(next_cursor)}}}'


def _encode_cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(b"o%d" % offset).decode().rstrip("=")


def _decode_cursor(cursor: str) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (ValueError, binascii.Error):
        raise bad_cursor() from None
    if not (text.startswith("o") and text[1:].isdecimal() and len(text) < 12):
        raise bad_cursor()
    return int(text[1:])
