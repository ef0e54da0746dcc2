"""UUIDs that grow with time."""

from __future__ import annotations

import time
import uuid

from hookline.uuids import uuid7


def test_uuid_is_of_version_7() -> None:
    for _ in range(100):
        made = uuid.UUID(uuid7())
        assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_no_two_are_the_same() -> None:
    assert len({uuid7() for _ in range(10_000)}) == 10_000


def test_all_other_bits_are_random() -> None:
    ones = zeros = 0
    for _ in range(200):
        bits = uuid.UUID(uuid7()).int & (1 << 80) - 1
        ones |= bits
        zeros |= ~bits & (1 << 80) - 1
    fixed = 0xF << 76 | 3 << 62
    assert ones & zeros == (1 << 80) - 1 & ~fixed


def test_later_ones_are_greater_as_texts() -> None:
    before = time.time_ns() // 1_000_000
    first = uuid7()
    while time.time_ns() // 1_000_000 <= int(first.replace("-", "")[:12], 16):
        pass
    second = uuid7()
    assert first < second
    assert before <= int(first.replace("-", "")[:12], 16) <= time.time_ns() // 1_000_000
