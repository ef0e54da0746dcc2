"""What a plugin may say about a delivery."""

from __future__ import annotations

import math

import pytest

from hookline import Refuse, Schedule


@pytest.mark.parametrize("delay", [-1.0, math.inf, math.nan])
def test_a_delay_is_a_number_of_seconds(delay: float) -> None:
    with pytest.raises(ValueError, match="0 seconds or more"):
        Schedule(delay=delay)


def test_a_refusal_has_a_reason() -> None:
    assert Refuse(reason="quiet hours").reason == "quiet hours"
    with pytest.raises(ValueError, match="say why"):
        Refuse(reason=" ")
