"""Overrides: what the settings say of single hooks, and every way to get it wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from core_support import agent, complete, serving
from hookline import AgentOS, ConfigurationError, Settings, guardrail, hook, hookimpl
from hookline.overrides import HookOverrides
from hookline.plan import Plan, PlannedHook, build_plan
from hookline.policy import Policy
from hookline_sql import SqliteDb

KEY = "a/post/h"


def marked(name: str = "h", **options: Any) -> Callable[..., Any]:
    return hook(name=name, **options)(lambda: None)


def plan(tables: dict[str, dict[str, Any]], *post: Any, server: bool | None = False) -> Plan:
    return build_plan(agent(post_hooks=post), overrides=HookOverrides(tables), run_in_background=server)


def planned(tables: dict[str, dict[str, Any]], hook: Any, **options: Any) -> PlannedHook:
    (item,) = plan(tables, hook, **options).items
    return item


def test_every_option_of_a_policy_can_be_overridden() -> None:
    table = {
        "timeout": 1,
        "retries": 2,
        "backoff": 3,
        "max_age": 4,
        "concurrency": 5,
        "circuit_threshold": 6,
        "circuit_cooldown": 7,
        "sample": 0.5,
    }
    item = planned({KEY: table}, marked(run_in_background=True, timeout=9, retries=9, sample=0.9))
    assert item.policy == Policy(1, 2, 3, 4, 5, 6, 7)
    assert item.sample == 0.5
    assert item.from_settings == tuple(sorted(table))
    assert item.to_dict("a")["from_settings"] == sorted(table)


def test_what_is_not_overridden_stays() -> None:
    item, other = plan(
        {KEY: {"retries": 2}}, marked(run_in_background=True, timeout=9), marked("other", retries=7)
    ).items
    assert (item.policy.retries, item.policy.timeout, item.from_settings) == (2, 9, ("retries",))
    assert (other.policy.retries, other.from_settings) == (7, ())


def test_a_hooks_own_table_wins_over_that_for_every_runnable() -> None:
    tables = {"*/post/h": {"retries": 1, "timeout": 2}, KEY: {"retries": 5}, "*/pre/h": {"retries": 8}}
    item = planned(tables, marked())
    assert (item.policy.retries, item.policy.timeout, item.from_settings) == (5, 2, ("retries", "timeout"))


def test_a_limit_can_be_lifted() -> None:
    assert planned({KEY: {"max_age": math.inf}}, marked(max_age=60)).policy.max_age is None


@pytest.mark.parametrize(
    ("mark", "override", "server", "background"),
    [
        (None, True, False, True),
        (False, True, False, True),
        (True, False, True, False),
        (None, False, True, False),
        (None, True, None, False),
    ],
)
def test_the_settings_move_a_hook(*, mark: bool | None, override: bool, server: bool | None, background: bool) -> None:
    item = planned({KEY: {"run_in_background": override}}, marked(run_in_background=mark), server=server)
    assert item.background is background
    assert item.detached is (background or mark is True or override)


def test_a_hook_that_the_settings_take_out_of_the_background_keeps_its_marks() -> None:
    item = planned({KEY: {"run_in_background": False}}, marked(run_in_background=True, retries=5, max_age=60))
    assert not item.background


def test_the_settings_say_what_a_failure_does() -> None:
    assert planned({KEY: {"on_error": "fail"}}, marked()).fails_run
    assert not planned({KEY: {"on_error": "continue"}}, marked(on_error="fail")).fails_run
    assert planned({KEY: {"on_error": "continue", "run_in_background": True}}, marked(on_error="fail")).background


@pytest.mark.parametrize("mode", ["enforce", "observe", "off"])
def test_the_settings_say_a_guardrails_mode(mode: str) -> None:
    item = planned({KEY: {"mode": mode}}, guardrail(name="h", mode="observe")(lambda: None))
    assert (item.guardrail_mode, item.from_settings) == (mode, ("mode",))


# mistakes


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"a/h": {}}, 'hooks."a/h": a hook is named "RUNNABLE/pre/HOOK" or "RUNNABLE/post/HOOK"'),
        ({"a/mid/h": {}}, 'hooks."a/mid/h": a hook is named'),
        ({"a/post/": {}}, 'hooks."a/post/": a hook is named'),
        ({"/post/h": {}}, 'hooks."/post/h": a hook is named'),
        ({KEY: {"retires": 3}}, "hooks.\"a/post/h\": unknown key 'retires'; did you mean 'retries'?"),
        ({KEY: {"xyz": 3}}, "unknown key 'xyz'; there is backoff, circuit_cooldown, circuit_threshold, concurrency"),
        ({KEY: {"name": "x"}}, "unknown key 'name'"),
        ({KEY: {"retries": None}}, "retries has no value: give it one, or leave it out"),
        ({KEY: {"retries": "3"}}, "retries='3' must be 0 or more, a whole number"),
        ({KEY: {"timeout": 0}}, "timeout=0 must be more than 0 seconds"),
        ({KEY: {"sample": 2}}, "sample=2 must be from 0 (no run) to 1 (every run)"),
        ({KEY: {"mode": "on"}}, "mode='on' must be 'enforce', 'observe' or 'off'"),
        ({KEY: {"run_in_background": "yes"}}, "run_in_background='yes' must be True or False"),
        ({KEY: {"on_error": "stop"}}, "on_error='stop' must be 'continue' or 'fail'"),
    ],
)
def test_a_table_that_makes_no_sense(tables: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        HookOverrides(tables)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("table", "given", "message"),
    [
        ({"mode": "off"}, marked(), "'h' is no guardrail, which mode='off' is for: leave mode out"),
        ({"sample": 0.1}, guardrail(name="h")(lambda: None), "'h' is a guardrail, which must look at every run"),
        ({"timeout": 1, "retries": 1}, guardrail(name="h")(lambda: None), "so that retries=1 has no effect"),
        ({"run_in_background": True}, guardrail(name="h")(lambda: None), "a guard must run before the answer"),
        ({"on_error": "continue"}, guardrail(name="h")(lambda: None), "say mode='observe'"),
        ({"max_age": 1}, marked(run_in_background=False), "so that max_age=1 has no effect"),
        ({"max_age": 1, "run_in_background": False}, marked(), "so that max_age=1 has no effect"),
        ({"on_error": "fail"}, marked(run_in_background=True), "but its run has ended when it is called"),
        ({"run_in_background": True}, marked(on_error="fail"), "but its run has ended when it is called"),
    ],
)
def test_an_option_that_does_not_fit_the_hook(table: dict[str, Any], given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        plan({KEY: table}, given)
    assert str(raised.value).startswith('hooks."a/post/h": ')
    assert message in str(raised.value)


# an AgentOS


def load(hooks: dict[str, dict[str, Any]], **options: Any) -> AgentOS:
    served = agent(pre_hooks=[guardrail(name="polite")(lambda: None)], post_hooks=[marked("notify")])
    return AgentOS(agents=[served], settings=Settings(plugins=[], hooks=hooks), **options).load()


@pytest.mark.parametrize(
    ("key", "mend"),
    [
        ("a/post/nofity", 'did you mean "a/post/notify"?'),
        ("b/post/notify", 'did you mean "a/post/notify"?'),
        ("a/pre/notify", 'did you mean "a/post/notify"?'),
        ("*/post/notfy", 'did you mean "*/post/notify"?'),
        ("x/pre/zzzzzzzzzzzzz", "there is a/post/notify, a/pre/polite"),
    ],
)
def test_a_key_that_names_no_hook_stops_the_start(key: str, mend: str, db: SqliteDb) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load({key: {"timeout": 1}}, db=db)
    assert str(raised.value) == f'Settings(hooks={{"{key}": ...}}): there is no such hook; {mend}'


def test_a_server_without_any_hook_says_so(db: SqliteDb) -> None:
    settings = Settings(plugins=[], hooks={KEY: {"timeout": 1}})
    with pytest.raises(ConfigurationError, match="there is none at all"):
        AgentOS(agents=[agent()], db=db, settings=settings).load()


def test_the_settings_for_all_hooks_reach_each_policy(db: SqliteDb) -> None:
    settings = Settings(
        plugins=[],
        delivery_timeout=1,
        delivery_retries=2,
        delivery_backoff=3,
        delivery_max_age=4,
        circuit_threshold=6,
        circuit_cooldown=7,
        hooks={KEY: {"retries": 9}},
    )
    served = agent(post_hooks=[marked(run_in_background=True), marked("other", run_in_background=True, backoff=8)])
    first, second = AgentOS(agents=[served], db=db, settings=settings).load().plan_of(served).items
    assert first.policy == Policy(1, 9, 3, 4, None, 6, 7)
    assert second.policy == Policy(1, 2, 8, 4, None, 6, 7)


class Plug:
    plugin_name = "plug"

    @hookimpl
    def post_run(self) -> None: ...


def test_a_plugins_hook_is_overridden_for_every_runnable(db: SqliteDb) -> None:
    agents = [agent(id="a"), agent(id="b")]
    settings = Settings(
        plugins=[], hooks={"*/post/plug.post_run": {"timeout": 3}, "b/post/plug.post_run": {"sample": 0}}
    )
    agent_os = AgentOS(agents=agents, db=db, plugins=[Plug()], settings=settings).load()
    first, second = (agent_os.plan_of(each).items[0] for each in agents)
    assert (first.policy.timeout, first.sample, first.from_settings) == (3, 1.0, ("timeout",))
    assert (second.policy.timeout, second.sample, second.from_settings) == (3, 0.0, ("sample", "timeout"))


def test_the_hooks_of_a_plugin_that_is_left_out_may_still_be_named(db: SqliteDb) -> None:
    """Or nobody could leave it out for an hour without editing the file."""
    settings = Settings(plugins=[], disable_plugins=["plug"], hooks={"*/post/plug.post_run": {"timeout": 3}})
    AgentOS(agents=[agent()], db=db, plugins=[Plug()], settings=settings).load()


async def test_a_guardrail_that_the_settings_switch_off_is_not_called(db: SqliteDb) -> None:
    called: list[str] = []
    served = agent(pre_hooks=[guardrail(name="polite")(lambda: called.append("polite"))])
    async with serving(served, db=db, settings={"hooks": {"a/pre/polite": {"mode": "off"}}}) as agent_os:
        output = await complete(agent_os, served)
    assert (output.status, called) == ("completed", [])
    alone = await served.arun("hi")
    assert (alone.status, called) == ("completed", ["polite"]), "without an AgentOS the marks hold"
