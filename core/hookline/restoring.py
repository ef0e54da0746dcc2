"""Restoring: objects that are something else for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def restored(*objects: object) -> Iterator[None]:
    """Whatever happens to the attributes of these objects within, afterwards they are what they were before.

    What the attributes refer to is not looked into.
    """
    before = [dict(vars(each)) for each in objects]
    try:
        yield
    finally:
        for each, attributes in zip(objects, before, strict=True):
            vars(each).clear()
            vars(each).update(attributes)
