"""What each hook of a run does: chosen by the driver, carried by the run's message, read by the hooks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from random import Random

HOOKS = ("one", "two", "three")
"""The background hooks of every run, in the order of their first starts; `two` is a plain function."""

TIMEOUT = 1.0
"""Seconds of one attempt; what is slow takes much less, what hangs more."""
RETRIES = 2


class Act(StrEnum):
    """What a hook does when it is called; `swallow` hangs, and goes on when it is cancelled."""

    QUICK = "quick"
    SLOW = "slow"
    RAISE = "raise"
    RAISE_ONCE = "raise-once"
    HANG = "hang"
    SWALLOW = "swallow"

    @property
    def ends_badly(self) -> bool:
        """Whether all its attempts fail."""
        return self in {Act.RAISE, Act.HANG, Act.SWALLOW}


SHARES = {Act.QUICK: 660, Act.SLOW: 250, Act.RAISE: 50, Act.RAISE_ONCE: 20, Act.HANG: 13, Act.SWALLOW: 7}
"""How often, in a thousand."""

_NUMBER = re.compile(r"run (\d+) ")
_ACT = re.compile(r"\b(one|two|three)=([a-z-]+)")


def choose_acts(rng: Random) -> dict[str, Act]:
    """An act for each hook."""
    return dict(zip(HOOKS, rng.choices(list(SHARES), weights=list(SHARES.values()), k=len(HOOKS)), strict=True))


def compose(number: int, acts: Mapping[str, Act]) -> str:
    """The message of a run."""
    return f"run {number} " + " ".join(f"{hook}={act}" for hook, act in acts.items())


def number_of(message: str) -> int:
    """Which run a message is that of."""
    found = _NUMBER.match(message)
    assert found, message
    return int(found[1])


def acts_of(message: str) -> dict[str, Act]:
    """What the hooks of a message's run do."""
    return {hook: Act(act) for hook, act in _ACT.findall(message)}
