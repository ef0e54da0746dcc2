"""The marks: `@hook`, `@guardrail` and the `Guardrail` class."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from hookline import ConfigurationError, Guardrail, guardrail, hook
from hookline.hook_options import HookOptions
from hookline.hooks import options_of


def test_a_mark_returns_the_function_itself() -> None:
    def function() -> str:
        return "called"

    assert hook(function) is function
    assert hook(timeout=3)(function) is function
    assert guardrail(function) is function
    assert function() == "called"


def test_marks_add_up_and_the_outer_one_wins() -> None:
    @hook(timeout=1, on_error="fail")
    @hook(timeout=2, retries=7)
    def function() -> None: ...

    assert options_of(function) == HookOptions(timeout=1, retries=7, on_error="fail")


def test_a_mark_of_false_and_zero_is_not_taken_for_nothing_said() -> None:
    @hook(run_in_background=False, sample=0)
    @hook(run_in_background=True, sample=0.5)
    def function() -> None: ...

    assert options_of(function) == HookOptions(run_in_background=False, sample=0)


def test_a_bare_string_is_one_outcome() -> None:
    assert options_of(hook(on="failed")(lambda: None)).on == ("failed",)
    assert options_of(hook(on=["failed", "rejected"])(lambda: None)).on == ("failed", "rejected")


@pytest.mark.parametrize("outcome", ["running", "paused", "done"])
def test_an_outcome_that_no_run_has_is_refused(outcome: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        hook(on=["completed", outcome])
    assert str(raised.value) == f"hook: on={outcome!r} is none of cancelled, completed, failed, rejected"


class Thing:
    def method(self) -> str:
        return "called"


class Slotted:
    __slots__ = ()

    def __call__(self) -> str:
        return "called"


@pytest.mark.parametrize("function", [Thing().method, Slotted(), len], ids=["bound method", "slots", "builtin"])
def test_what_takes_no_attribute_can_be_marked_all_the_same(function: Callable[..., Any]) -> None:
    marked = hook(timeout=3)(function)
    assert options_of(marked).timeout == 3
    if function is not len:
        assert marked() == "called"


def test_marking_one_objects_method_leaves_others_alone() -> None:
    hook(timeout=3)(Thing().method)
    assert options_of(Thing().method) == HookOptions()


@pytest.mark.parametrize(
    "carry",
    [
        lambda function: functools.partial(function, limit=1),
        lambda function: functools.partial(functools.partial(function, limit=1)),
        lambda function: functools.wraps(function)(lambda **kwargs: function(limit=2, **kwargs)),
    ],
    ids=["partial", "partial of a partial", "wraps"],
)
def test_a_mark_is_not_lost_under_a_partial_or_wrapper(carry: Callable[..., Any]) -> None:
    """A guardrail that is silently none would let everything through."""

    @guardrail(timeout=3)
    def check(run_input: Any, *, limit: int = 0) -> None: ...

    carried = carry(check)
    assert options_of(carried) == HookOptions(guardrail=True, timeout=3)


def test_a_mark_on_a_method_or_a_class_holds_for_its_objects() -> None:
    class Marked:
        @guardrail
        def check(self) -> None: ...

    @guardrail
    class Callee:
        def __call__(self) -> None: ...

    assert options_of(Marked().check).guardrail is True
    assert options_of(Callee()).guardrail is True


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": -1}, "timeout=-1"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": float("inf")}, "timeout=inf"),
        ({"timeout": "5"}, "timeout='5'"),
        ({"timeout": True}, "timeout=True"),
        ({"retries": -1}, "retries=-1"),
        ({"retries": 1.5}, "retries=1.5"),
        ({"retries": True}, "retries=True"),
        ({"backoff": -0.1}, "backoff=-0.1"),
        ({"backoff": float("inf")}, "backoff=inf"),
        ({"max_age": 0}, "max_age=0"),
        ({"max_age": "1d"}, "max_age='1d'"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"concurrency": 2.0}, "concurrency=2.0"),
        ({"circuit_threshold": -1}, "circuit_threshold=-1"),
        ({"circuit_cooldown": 0}, "circuit_cooldown=0"),
        ({"sample": -0.1}, "sample=-0.1"),
        ({"sample": 1.01}, "sample=1.01"),
        ({"sample": float("nan")}, "sample=nan"),
        ({"sample": True}, "sample=True"),
        ({"run_in_background": "yes"}, "run_in_background='yes'"),
        ({"name": " "}, "name=' '"),
        ({"on": "complete"}, "on='complete'"),
        ({"on": ["completed", "running"]}, "on='running'"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"scope": "members"}, "scope='members'"),
    ],
)
def test_a_meaningless_option_is_named(options: dict[str, Any], culprit: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        hook(**options)
    assert culprit in str(raised.value)


def test_a_meaningless_option_of_a_guardrail_is_named() -> None:
    wrong: Any = "observed"
    with pytest.raises(ConfigurationError, match=r"mode='observed' must be 'enforce', 'observe' or 'off'"):
        guardrail(mode=wrong)


def test_every_option_of_a_policy_is_a_mark() -> None:
    policy = {
        "backoff": 0.0,
        "max_age": float("inf"),
        "concurrency": 2,
        "circuit_threshold": 0,
        "circuit_cooldown": 0.5,
        "sample": 0,
    }
    said: dict[str, Any] = dict(policy)
    assert options_of(hook(**said)(lambda: None)).said() == policy


def test_what_cannot_be_called_cannot_be_marked() -> None:
    with pytest.raises(ConfigurationError, match="must be callable, 3 is not"):
        hook(3)  # type: ignore[call-overload]  # what a user may get wrong


def test_a_guardrail_class_needs_a_check() -> None:
    with pytest.raises(ConfigurationError, match="needs a method named check"):

        class Empty(Guardrail):
            pass
