"""Sampling: for which runs a hook with `@hook(sample=...)` is called.

A run is in a sample if the first 8 bytes of the SHA-256 hash of its id (the text, lower case, with hyphens), read as a
big-endian number, are less than `sample * 2**64`. Nothing else counts: every process and every machine comes to the
same answer at any time, hooks of the same share are called for the same runs, and what a small share calls a larger one
calls too. 0 is no run, 1 is every run.
"""

from __future__ import annotations

import hashlib

_WHOLE = 2.0**64


def sample_point(run_id: str) -> int:
    """Where a run stands among all runs: from 0 to `2**64 - 1`."""
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8], "big")


def in_sample(point: int, sample: float) -> bool:
    """Whether the run at that point is among the share of runs `sample`, from 0 to 1."""
    return point < sample * _WHOLE
