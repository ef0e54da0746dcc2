"""Policy, sample and mode of hooks: from their marks, from the defaults, and what makes no sense together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from core_support import agent
from hookline import ConfigurationError, Guardrail, RunInput, guardrail, hook
from hookline.plan import Plan, PlanDefaults, PlannedHook, build_plan
from hookline.policy import Policy


def plan(*hooks: Any, phase: str = "post", server: bool | None = False, **options: Any) -> Plan:
    return build_plan(agent(**{f"{phase}_hooks": hooks}), run_in_background=server, **options)


def planned(hook: Any, **options: Any) -> PlannedHook:
    (item,) = plan(hook, **options).items
    return item


def marked(**options: Any) -> Callable[..., Any]:
    return hook(name="h", **options)(lambda: None)


def guard(**options: Any) -> Callable[..., Any]:
    return guardrail(name="g", **options)(lambda: None)


# the policy


def test_a_hooks_marks_are_its_policy() -> None:
    item = planned(
        marked(
            run_in_background=True,
            timeout=1,
            retries=0,
            backoff=0,
            max_age=3600,
            concurrency=2,
            circuit_threshold=0,
            circuit_cooldown=5,
        )
    )
    assert item.policy == Policy(1, 0, 0, 3600, 2, 0, 5)
    assert (item.timeout, item.retries) == (1, 0)


def test_the_defaults_hold_where_a_mark_says_nothing() -> None:
    defaults = PlanDefaults(5, 6, 7, 8, 9, 10, 11)
    assert planned(marked(run_in_background=True), defaults=defaults).policy == Policy(6, 7, 8, 9, None, 10, 11)
    assert planned(marked(run_in_background=True, retries=1), defaults=defaults).policy.retries == 1
    assert planned(marked(), defaults=defaults).policy.timeout == 5
    assert planned(marked(run_in_background=True)).policy == Policy()


def test_an_infinite_max_age_is_none_at_all() -> None:
    assert planned(marked(max_age=math.inf), defaults=PlanDefaults(delivery_max_age=60)).policy.max_age is None


@pytest.mark.parametrize("server", [None, False, True])
def test_what_depends_on_the_servers_switch_does_no_harm(*, server: bool | None) -> None:
    assert planned(marked(max_age=60, retries=1), server=server).policy.max_age == 60


# what makes no sense


@pytest.mark.parametrize(
    "option",
    [
        {"retries": 3},
        {"backoff": 1},
        {"max_age": 60},
        {"concurrency": 1},
        {"circuit_threshold": 1},
        {"circuit_cooldown": 1},
    ],
    ids=str,
)
def test_what_only_deliveries_have_a_use_for_is_refused_elsewhere(option: dict[str, Any]) -> None:
    ((name, value),) = option.items()
    with pytest.raises(ConfigurationError) as raised:
        marked(run_in_background=False, **option)
    assert str(raised.value) == (
        f"hook 'h' is marked run_in_background=False, so that {name}={value} has no effect: leave one out"
    )
    with pytest.raises(ConfigurationError) as raised:
        hook(**option)(guard())
    guarding = f"'g' is a guardrail, called inline and once, so that {name}={value} has no effect: leave it out"
    assert str(raised.value) == f"hook {guarding}"

    class Marked(Guardrail):
        name = "g"

        @hook(**option)
        def check(self) -> None: ...

    with pytest.raises(ConfigurationError) as raised:
        plan(Marked(), phase="pre")
    assert str(raised.value) == f"pre-hook of agent 'a': {guarding}"


def test_failing_a_run_that_has_ended_is_refused() -> None:
    mistake = (
        "hook 'h' is marked run_in_background=True and on_error='fail', but its run has ended when it is called: "
        "leave one out, or say on_error='continue'"
    )
    with pytest.raises(ConfigurationError) as raised:
        marked(run_in_background=True, on_error="fail")
    assert str(raised.value) == mistake
    with pytest.raises(ConfigurationError) as raised:
        hook(on_error="fail")(marked(run_in_background=True))
    assert str(raised.value) == mistake
    assert planned(marked(run_in_background=True, on_error="continue")).background
    for server in (None, False, True):
        assert planned(marked(on_error="fail"), server=server).fails_run


def test_a_guardrail_for_some_runs_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"leave sample=0.5 out; mode='observe' lets runs pass"):
        hook(sample=0.5)(guard())


def test_a_guardrail_that_would_go_on_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="say mode='observe'"):
        hook(on_error="continue")(guard())
    assert planned(hook(on_error="fail")(guard())).fails_run


# guardrails' modes


class Watcher(Guardrail):
    mode = "observe"

    def check(self, run_input: RunInput) -> None: ...


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        (guard(), "enforce"),
        (guard(mode="enforce"), "enforce"),
        (guard(mode="observe"), "observe"),
        (guard(mode="off"), "off"),
        (Watcher(), "observe"),
    ],
    ids=["default", "enforce", "observe", "off", "object"],
)
def test_a_guardrails_mode(given: Any, mode: str) -> None:
    item = planned(given)
    assert item.guardrail
    assert item.guardrail_mode == mode
    assert item.fails_run is item.hold_output is item.enforces is (mode == "enforce")


def test_an_objects_mode_is_its_own() -> None:
    watcher: Any = Watcher()
    watcher.mode = "off"
    assert planned(watcher).guardrail_mode == "off"
    assert planned(Watcher()).guardrail_mode == "observe"


def test_what_is_off_is_listed_and_not_called() -> None:
    planned_off = plan(guard(mode="off"), phase="pre")
    assert planned_off.pre_inline == ()
    assert planned_off.items[0].to_dict("a")["guardrail_mode"] == "off"
    assert plan(guard(mode="off")).output_guardrails == ()


def test_only_what_enforces_holds_the_output() -> None:
    assert not plan(guard(mode="observe")).holds_output
    assert not plan(guard(mode="observe")).guards_output
    both = plan(guard(mode="observe"), guardrail(name="enforcing")(lambda: None))
    assert both.holds_output
    assert both.guards_output
    assert [item.name for item in both.output_guardrails] == ["g", "enforcing"]


def test_what_is_no_guardrail_has_no_mode() -> None:
    assert planned(marked()).guardrail_mode is None
