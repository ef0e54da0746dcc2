"""The plan of hooks: order, names, modes, and what is refused before anything is served."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from core_support import agent
from hookline import (
    Agent,
    AgentOS,
    ConfigurationError,
    Guardrail,
    Plan,
    RunInput,
    RunOutput,
    Settings,
    guardrail,
    hook,
    hookimpl,
)
from hookline.plan import GivenHook, PlanDefaults, build_plan
from hookline_sql import SqliteDb


def named(name: str, **options: Any) -> Callable[..., Any]:
    return hook(name=name, **options)(lambda: None)


def guard(name: str, **options: Any) -> Callable[..., Any]:
    return guardrail(name=name, **options)(lambda: None)


def plan(pre: Sequence[Any] = (), post: Sequence[Any] = (), *, server: bool | None = None, **options: Any) -> Plan:
    return build_plan(agent(pre_hooks=pre, post_hooks=post), run_in_background=server, **options)


def names(planned: Plan) -> list[str]:
    return [item.name for item in planned.items]


# order


def test_pre_plugins_then_the_servers_then_the_agents() -> None:
    planned = build_plan(
        agent(pre_hooks=[named("own-1"), guard("own-2")]),
        pre=[GivenHook(named("p"), "plugin", "plug"), GivenHook(named("s"), "server")],
    )
    assert names(planned) == ["p", "s", "own-1", "own-2"]
    assert [item.position for item in planned.items] == [0, 1, 2, 3]
    assert [item.source for item in planned.items] == ["plugin", "server", "runnable", "runnable"]


def test_post_guardrails_first_then_the_agents_the_servers_the_plugins() -> None:
    planned = build_plan(
        agent(post_hooks=[named("own"), guard("own-guard")]),
        post=[
            GivenHook(named("s"), "server"),
            GivenHook(guard("p-guard"), "plugin", "plug"),
            GivenHook(named("p"), "plugin", "plug"),
        ],
    )
    assert names(planned) == ["own-guard", "p-guard", "own", "s", "p"]
    assert [item.name for item in planned.output_guardrails] == ["own-guard", "p-guard"]


def test_an_agent_os_puts_plugins_server_and_agent_in_order(db: SqliteDb) -> None:
    class Plug:
        @hookimpl
        def pre_run(self) -> None: ...

        @hookimpl
        def post_run(self) -> None: ...

    runnable = agent(pre_hooks=[named("own-pre")], post_hooks=[named("own-post")])
    agent_os = AgentOS(
        agents=[runnable],
        db=db,
        pre_hooks=[named("server-pre")],
        post_hooks=[named("server-post")],
        plugins=[Plug()],
        settings=Settings(plugins=[]),
    ).load()
    items = agent_os.plan_of(runnable).items
    assert [(item.phase, item.source) for item in items] == [
        ("pre", "plugin"),
        ("pre", "server"),
        ("pre", "runnable"),
        ("post", "runnable"),
        ("post", "server"),
        ("post", "plugin"),
    ]
    assert [item.name for item in items][1:5] == ["server-pre", "own-pre", "own-post", "server-post"]


# what is refused


def test_an_impossible_parameter_names_hook_runnable_and_parameter() -> None:
    def wants_too_much(run_input: RunInput, banana: str) -> None: ...

    with pytest.raises(ConfigurationError, match=r"pre-hook of agent 'a'.*wants_too_much.*'banana'"):
        plan(pre=[wants_too_much])


def test_a_pre_hook_cannot_have_the_output() -> None:
    def impatient(run_output: RunOutput) -> None: ...

    with pytest.raises(ConfigurationError, match="'run_output'"):
        plan(pre=[impatient])
    assert names(plan(post=[impatient])) == [impatient.__qualname__]


def test_another_kind_of_runnable_is_impossible() -> None:
    def of_a_team(team: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="'team'"):
        plan(pre=[of_a_team])


@pytest.mark.parametrize("phase", ["pre", "post"])
def test_two_hooks_of_one_name_are_an_error_that_says_how_to_mend(phase: str) -> None:
    def twice() -> None: ...

    given: dict[str, Any] = {phase: [twice, functools.partial(twice)]}
    with pytest.raises(ConfigurationError, match=rf"two {phase}-hooks named '.*twice'.*@hook\(name="):
        plan(**given)


def test_one_name_in_both_phases_is_fine() -> None:
    def both() -> None: ...

    assert len(plan(pre=[both], post=[both]).items) == 2


def test_two_objects_of_one_class_need_names() -> None:
    class Audit:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self) -> None: ...

    with pytest.raises(ConfigurationError, match="Audit"):
        plan(post=[Audit("x"), Audit("y")])
    marked = [hook(name="x")(Audit("x")), hook(name="y")(Audit("y"))]
    assert names(plan(post=marked)) == ["x", "y"]


def test_a_server_hook_and_an_agents_hook_of_one_name_clash() -> None:
    with pytest.raises(ConfigurationError, match="two post-hooks named 'audit'"):
        build_plan(agent(post_hooks=[named("audit")]), post=[GivenHook(named("audit"), "server")])


class CheckedInBackground(Guardrail):
    @hook(run_in_background=True)
    def check(self) -> None: ...


@hook(run_in_background=True)
class ClassInBackground(Guardrail):
    def check(self) -> None: ...


@pytest.mark.parametrize("given", [CheckedInBackground(), ClassInBackground()], ids=["check", "class"])
@pytest.mark.parametrize("server", [None, False, True])
@pytest.mark.parametrize("phase", ["pre", "post"])
def test_a_guardrail_in_the_background_is_refused(given: Any, phase: str, *, server: bool | None) -> None:
    hooks: dict[str, Any] = {phase: [given]}
    with pytest.raises(ConfigurationError, match="guardrail marked run_in_background=True"):
        plan(**hooks, server=server)


def test_a_function_with_both_marks_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"^hook 'g' is a guardrail marked run_in_background=True"):
        hook(run_in_background=True)(guard("g"))
    with pytest.raises(ConfigurationError, match=r"^hook 'named' is a guardrail marked run_in_background=True"):
        guardrail(named("named", run_in_background=True))


class Blocklist(Guardrail):
    def check(self, run_input: RunInput) -> None: ...


def test_a_guardrail_class_instead_of_an_object_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Blocklist\(\)"):
        plan(pre=[Blocklist])


def test_a_hooks_class_instead_of_an_object_is_refused() -> None:
    """Calling the class makes an object and checks nothing: a guard would be open without a word."""

    @guardrail
    class Limit:
        def __call__(self, run_input: RunInput) -> None: ...

    with pytest.raises(ConfigurationError, match="Limit"):
        plan(pre=[Limit])
    assert names(plan(pre=[Limit()])) == [Limit.__qualname__]


@pytest.mark.parametrize("given", [3, "a_name", None, object()])
def test_what_is_no_hook_is_refused(given: object) -> None:
    with pytest.raises(ConfigurationError, match="agent 'a'"):
        plan(pre=[given])


@pytest.mark.parametrize("given", ["hooks", named("x")])
def test_a_hook_list_that_is_no_list_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="pre_hooks must be a list"):
        agent(pre_hooks=given)


# modes


@pytest.mark.parametrize(
    ("mark", "server", "background"),
    [
        (None, None, False),
        (True, None, False),
        (False, None, False),
        (None, False, False),
        (True, False, True),
        (False, False, False),
        (None, True, True),
        (True, True, True),
        (False, True, False),
    ],
)
def test_who_is_in_the_background(*, mark: bool | None, server: bool | None, background: bool) -> None:
    for phase in ("pre", "post"):
        hooks: dict[str, Any] = {phase: [named("h", run_in_background=mark)]}
        (item,) = plan(**hooks, server=server).items
        assert item.background is background
        assert item.detached is (background or mark is True), "what is marked gets snapshots inline too"


@pytest.mark.parametrize("server", [None, False, True])
def test_guardrails_are_always_inline_and_always_fail_the_run(*, server: bool | None) -> None:
    planned = plan(pre=[guard("g")], post=[guard("g"), Blocklist()], server=server)
    assert all(not item.background and item.fails_run and not item.detached for item in planned.items)


def test_a_partial_of_a_guardrail_is_a_guardrail() -> None:
    @guardrail
    def limit_length(run_input: RunInput, *, most: int) -> None: ...

    (item,) = plan(pre=[functools.partial(limit_length, most=10)], server=True).items
    assert item.guardrail
    assert not item.background
    assert item.fails_run


def test_defaults_and_what_a_hook_says() -> None:
    defaults = PlanDefaults(inline_timeout=5, delivery_timeout=7, delivery_retries=2)
    hooks = [
        named("inline"),
        named("background", run_in_background=True),
        named("own", run_in_background=True, timeout=1.5, retries=0, on="failed"),
    ]
    inline, background, own = plan(post=hooks, server=False, defaults=defaults).items
    assert (inline.timeout, background.timeout, own.timeout) == (5, 7, 1.5)
    assert (background.retries, own.retries) == (2, 0)
    assert (inline.on, own.on) == (("completed",), ("failed",))


def test_the_documented_defaults() -> None:
    inline, background = plan(post=[named("i"), named("b", run_in_background=True)], server=False).items
    assert (inline.timeout, background.timeout, background.retries) == (30.0, 60.0, 3)


def test_plugins_and_servers_hooks_are_for_root_runs_guardrails_for_all() -> None:
    given = [
        GivenHook(named("server"), "server"),
        GivenHook(named("wide", scope="all"), "server"),
        GivenHook(guard("guard"), "server"),
    ]
    planned = build_plan(agent(pre_hooks=[named("own")]), pre=given)
    assert {item.name: item.root_only for item in planned.items} == {
        "server": True,
        "wide": False,
        "guard": False,
        "own": False,
    }


def test_only_what_a_background_hook_names_is_stored() -> None:
    def wants_state(session_state: Any) -> None: ...

    @hook(run_in_background=True)
    def wants_dependencies(dependencies: Any) -> None: ...

    planned = plan(post=[wants_state, wants_dependencies], server=False)
    assert planned.stored_arguments == {"dependencies"}


@pytest.mark.parametrize(("hold", "held"), [(None, True), (True, True), (False, False)])
def test_an_output_guardrail_holds_the_output_unless_it_says_no(*, hold: bool | None, held: bool) -> None:
    assert plan(post=[guard("g", hold_output=hold)]).holds_output is held
    assert plan(pre=[guard("g", hold_output=hold)]).holds_output is False
    assert plan(post=[guard("g", hold_output=False), guard("h")]).holds_output is True


def test_guardrail_objects_say_name_timeout_and_hold_output() -> None:
    class Slow(Guardrail):
        name = "slow"
        timeout = 2.5
        hold_output = False

        async def check(self, run_output: RunOutput) -> None: ...

    (item,) = plan(post=[Slow()]).items
    assert (item.name, item.timeout, item.hold_output, item.callee.is_async) == ("slow", 2.5, False, True)


def test_a_planned_hook_as_plain_data() -> None:
    post = plan(pre=[guard("g")], post=[named("h", run_in_background=True, on=["failed"])], server=False).items
    assert [item.to_dict("a") for item in post] == [
        {
            "runnable": "a",
            "phase": "pre",
            "position": 0,
            "hook": "g",
            "source": "runnable",
            "mode": "inline",
            "guardrail": True,
            "guardrail_mode": "enforce",
            "timeout": 30.0,
            "retries": 0,
            "backoff": None,
            "max_age": None,
            "concurrency": None,
            "circuit_threshold": None,
            "circuit_cooldown": None,
            "sample": 1.0,
            "on": [],
            "from_settings": [],
        },
        {
            "runnable": "a",
            "phase": "post",
            "position": 0,
            "hook": "h",
            "source": "runnable",
            "mode": "background",
            "guardrail": False,
            "guardrail_mode": None,
            "timeout": 60.0,
            "retries": 3,
            "backoff": 1.0,
            "max_age": None,
            "concurrency": None,
            "circuit_threshold": 20,
            "circuit_cooldown": 60.0,
            "sample": 1.0,
            "on": ["failed"],
            "from_settings": [],
        },
    ]


# what an AgentOS and an agent refuse


def test_two_agents_of_one_id() -> None:
    with pytest.raises(ConfigurationError, match="two agents have the id 'a'"):
        AgentOS(agents=[agent(), agent()])


def test_nothing_to_serve() -> None:
    with pytest.raises(ConfigurationError, match="nothing to serve"):
        AgentOS(agents=[])


def test_what_is_no_agent() -> None:
    with pytest.raises(ConfigurationError, match="is no agent"):
        AgentOS(agents=[SimpleNamespace(kind="agent", id="a")])  # type: ignore[list-item]  # a user's mistake


def test_two_databases_are_named_with_their_owners() -> None:
    one, other = SqliteDb(db_file="one.db"), SqliteDb(db_file="other.db")
    with pytest.raises(ConfigurationError, match=r"one\.db.*other\.db") as raised:
        AgentOS(agents=[agent(id="a", db=one), agent(id="b", db=other)])
    assert "agent 'a'" in str(raised.value)
    assert "agent 'b'" in str(raised.value)
    with pytest.raises(ConfigurationError, match=r"2 databases"):
        AgentOS(agents=[agent(db=one)], db=other)


def test_two_descriptions_of_one_database_are_one() -> None:
    agents = [agent(id="a", db=SqliteDb(db_file="same.db")), agent(id="b", db=SqliteDb(db_file="./same.db"))]
    agent_os = AgentOS(agents=agents, db=SqliteDb(db_file="same.db"), settings=Settings(plugins=[]))
    assert agent_os.load().database.url.endswith("same.db")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Agent, "id or a name"),
        (lambda: Agent(id="with space"), "with space"),
        (lambda: Agent(id="a" * 257), "256"),
        (lambda: Agent(name="!!!"), "give it an id or a name"),
        (lambda: agent(on_busy="queue"), "on_busy='queue'"),
        (lambda: agent(max_turns=0), "max_turns=0"),
        (lambda: agent(num_history_runs=-1), "num_history_runs=-1"),
        (lambda: agent(db="agent.db"), "db='agent.db'"),
    ],
)
def test_what_an_agent_refuses(make: Callable[[], Agent], words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert words in str(raised.value)


def test_an_id_is_the_slug_of_the_name() -> None:
    assert (agent(id="x", name="A B").id, agent(id="x", name="A B").name) == ("x", "A B")
    made = Agent(name="BackgroundTask Agent")
    assert (made.id, made.name) == ("background-task-agent", "BackgroundTask Agent")


def test_loading_finds_an_agents_mistakes_before_it_is_served(db: SqliteDb) -> None:
    def twice() -> None: ...

    settings = Settings(plugins=[])
    with pytest.raises(ConfigurationError, match="no model"):
        AgentOS(agents=[Agent(id="a")], db=db, settings=settings).load()
    with pytest.raises(ConfigurationError, match="two tools named 'twice'"):
        AgentOS(agents=[agent(tools=[twice, twice])], db=db, settings=settings).load()
    with pytest.raises(ConfigurationError, match="no model; OpenAIChat"):
        AgentOS(agents=[agent(model=object())], db=db, settings=settings).load()
