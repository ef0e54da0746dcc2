"""Cursors: where a listing goes on, as a text that means nothing to its reader."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hookline.storage import Page

T = TypeVar("T")
_END = 2**63 - 1


def before(cursor: str | None) -> int:
    """The `seq` that the rows of the next page are below.

    Raises:
        ValueError: the cursor is none that a listing gave.
    """
    if cursor is None:
        return _END
    try:
        seq = int(base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        seq = -1
    if not 0 < seq <= _END:
        raise ValueError(f"cursor {cursor!r} is none: give the next_cursor of a page, or no cursor")
    return seq


def page_of(rows: Sequence[Sequence[Any]], limit: int, item: Callable[[Sequence[Any]], T]) -> Page[T]:
    """A page of rows, newest first, whose last column is `seq`; one row above `limit` tells that more follow."""
    items = [item(row) for row in rows[:limit]]
    if len(rows) <= limit:
        return Page(items)
    return Page(items, base64.urlsafe_b64encode(str(rows[limit - 1][-1]).encode()).decode())
