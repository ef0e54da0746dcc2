"""Options of a hook: what its marks and the settings say of it, and what of that makes no sense."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from hookline.errors import ConfigurationError
from hookline.runs import RunStatus

GuardrailMode = Literal["enforce", "observe", "off"]
"""`enforce`: it may reject and fail runs; `observe`: what it finds is only written down; `off`: it is not called."""

OUTCOMES: frozenset[str] = frozenset(
    status.value for status in (RunStatus.COMPLETED, RunStatus.REJECTED, RunStatus.FAILED, RunStatus.CANCELLED)
)
"""The statuses that a run can end with."""

BACKGROUND_ONLY = frozenset({"retries", "backoff", "max_age", "concurrency", "circuit_threshold", "circuit_cooldown"})
"""Options that only deliveries have a use for."""

_FAILING_LATE = frozenset({"run_in_background", "on_error"})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_one_of(*words: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in words


_SECONDS = (lambda value: _is_number(value) and 0 < value < math.inf, "must be more than 0 seconds")

_RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: isinstance(value, str) and bool(value.strip()), "must be a text that is not blank"),
    "run_in_background": (lambda value: isinstance(value, bool), "must be True or False"),
    "hold_output": (lambda value: isinstance(value, bool), "must be True or False"),
    "timeout": _SECONDS,
    "retries": (lambda value: _is_count(value) and value >= 0, "must be 0 or more, a whole number"),
    "backoff": (lambda value: _is_number(value) and 0 <= value < math.inf, "must be 0 seconds or more"),
    "max_age": (lambda value: _is_number(value) and value > 0, "must be more than 0 seconds"),
    "concurrency": (lambda value: _is_count(value) and value >= 1, "must be 1 or more, a whole number"),
    "circuit_threshold": (
        lambda value: _is_count(value) and value >= 0,
        "must be a whole number of failures, or 0 for no circuit",
    ),
    "circuit_cooldown": _SECONDS,
    "sample": (lambda value: _is_number(value) and 0 <= value <= 1, "must be from 0 (no run) to 1 (every run)"),
    "mode": (_is_one_of("enforce", "observe", "off"), "must be 'enforce', 'observe' or 'off'"),
    "on_error": (_is_one_of("continue", "fail"), "must be 'continue' or 'fail'"),
    "scope": (_is_one_of("root", "all"), "must be 'root' or 'all'"),
}


def mistake_in(options: Mapping[str, Any]) -> str | None:
    """The first value that has no meaning, and what it should be; None if there is none."""
    for name, value in options.items():
        if name in _RULES:
            is_right, rule = _RULES[name]
            if not is_right(value):
                return f"{name}={value!r} {rule}"
    for outcome in options.get("on") or ():
        if outcome not in OUTCOMES:
            return f"on={outcome!r} is none of {', '.join(sorted(OUTCOMES))}"
    return None


@dataclass(frozen=True, slots=True)
class HookOptions:
    """What a mark says of a hook; None where it says nothing."""

    name: str | None = None
    run_in_background: bool | None = None
    guardrail: bool | None = None
    timeout: float | None = None
    retries: int | None = None
    backoff: float | None = None
    max_age: float | None = None
    concurrency: int | None = None
    circuit_threshold: int | None = None
    circuit_cooldown: float | None = None
    sample: float | None = None
    mode: GuardrailMode | None = None
    on: tuple[str, ...] | None = None
    on_error: Literal["continue", "fail"] | None = None
    scope: Literal["root", "all"] | None = None
    hold_output: bool | None = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if mistake := mistake_in(self.said()):
            named = f" {self.name!r}" if self.name is not None and not mistake.startswith("name=") else ""
            raise ConfigurationError(f"hook{named}: {mistake}")

    def said(self) -> dict[str, Any]:
        """The options about which these say something."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) not in (None, ())}

    def over(self, other: HookOptions) -> HookOptions:
        """These options, and the other's where these say nothing."""
        return replace(other, **self.said())

    def misfit(self, all_of_it: HookOptions) -> tuple[str, str] | None:
        """The first of these options that does not fit a hook of which `all_of_it` is said, and why; None if all do."""
        for option, value in self.said().items():
            reason = None
            if all_of_it.guardrail:
                reason = _misfit_of_guardrail(option, value)
            elif option == "mode":
                reason = f"is no guardrail, which mode={value!r} is for: leave mode out, or mark it @guardrail"
            elif option in BACKGROUND_ONLY and all_of_it.run_in_background is False:
                reason = f"is marked run_in_background=False, so that {option}={value!r} has no effect: leave one out"
            elif option in _FAILING_LATE and all_of_it.run_in_background and all_of_it.on_error == "fail":
                reason = (
                    "is marked run_in_background=True and on_error='fail', but its run has ended when it is called: "
                    "leave one out, or say on_error='continue'"
                )
            if reason is not None:
                return option, reason
        return None


def _misfit_of_guardrail(option: str, value: object) -> str | None:
    if option == "run_in_background" and value:
        return (
            "is a guardrail marked run_in_background=True, but a guard must run before the answer: "
            "drop one of the two marks"
        )
    if option == "sample":
        return (
            f"is a guardrail, which must look at every run: leave sample={value!r} out; mode='observe' lets runs pass"
        )
    if option == "on_error" and value == "continue":
        return "is a guardrail, which stops the run when it fails: in place of on_error='continue' say mode='observe'"
    if option in BACKGROUND_ONLY:
        return f"is a guardrail, called inline and once, so that {option}={value!r} has no effect: leave it out"
    return None
