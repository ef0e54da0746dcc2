"""UUIDs that grow with time, for what is stored again and again."""

from __future__ import annotations

import os
import time
import uuid

_VERSION = 7 << 76
_VARIANT = 2 << 62
_RANDOM_BITS = (1 << 76) - 1 & ~(3 << 62)


def uuid7() -> str:
    """A new UUID of version 7 (RFC 9562): 48 bits of milliseconds since the epoch, then 74 random ones.

    Rows that are made one after the other are so neighbours in every index over their ids: what it costs to store
    one does not grow with the number of those that are there.
    """
    milliseconds = time.time_ns() // 1_000_000 & (1 << 48) - 1
    random = int.from_bytes(os.urandom(10), "big") & _RANDOM_BITS
    return str(uuid.UUID(int=milliseconds << 80 | _VERSION | _VARIANT | random))
