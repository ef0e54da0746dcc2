"""The plan: which hooks are called around a runnable's runs, in which order and in which mode."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hookline import hookspecs
from hookline.calling import Callee, display_name, read_callee
from hookline.deliveries import Phase
from hookline.errors import ConfigurationError
from hookline.hooks import Guardrail, HookOptions, options_of
from hookline.policy import Policy
from hookline.runnable import Runnable

Source = Literal["plugin", "server", "runnable"]

PRE_ARGUMENTS = frozenset(inspect.signature(hookspecs.pre_run).parameters)
POST_ARGUMENTS = frozenset(inspect.signature(hookspecs.post_run).parameters)


@dataclass(frozen=True, slots=True)
class PlanDefaults:
    """What holds where a hook says nothing: seconds, and attempts after the first."""

    inline_timeout: float = 30.0
    delivery_timeout: float = 60.0
    delivery_retries: int = 3


@dataclass(frozen=True, slots=True)
class PlannedHook:
    """One hook of one runnable, everything about it decided.

    `detached` says that its arguments are decoded snapshots: so for every hook that is marked for the background,
    inline too. `retries` counts the attempts after the first one.
    """

    callee: Callee
    phase: Phase
    position: int
    source: Source
    plugin: str | None
    background: bool
    detached: bool
    guardrail: bool
    timeout: float
    retries: int
    on: tuple[str, ...]
    fails_run: bool
    root_only: bool
    hold_output: bool
    policy: Policy

    @property
    def name(self) -> str:
        """The hook's name, unique within its phase."""
        return self.callee.name

    def wanted(self, kind: str) -> frozenset[str]:
        """The names of the arguments that it is given, for a runnable of that kind."""
        return _wanted(self.callee, self.phase, kind)

    @property
    def mode(self) -> Literal["inline", "background"]:
        """How it is called."""
        return "background" if self.background else "inline"

    def to_dict(self, runnable_id: str) -> dict[str, Any]:
        """The plain data of this hook, as the HTTP API and the command line list it."""
        return {
            "runnable": runnable_id,
            "phase": self.phase,
            "position": self.position,
            "hook": self.name,
            "source": self.source,
            "mode": self.mode,
            "guardrail": self.guardrail,
            "timeout": self.timeout,
            "retries": self.retries if self.background else 0,
            "on": list(self.on) if self.phase == "post" else [],
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """All hooks of one runnable in the order of their calls, sorted by what is done with them."""

    items: tuple[PlannedHook, ...] = ()
    pre_inline: tuple[PlannedHook, ...] = field(init=False)
    pre_background: tuple[PlannedHook, ...] = field(init=False)
    output_guardrails: tuple[PlannedHook, ...] = field(init=False)
    post_inline: tuple[PlannedHook, ...] = field(init=False)
    post_background: tuple[PlannedHook, ...] = field(init=False)
    stored_arguments: frozenset[str] = field(init=False)
    holds_output: bool = field(init=False)

    def __post_init__(self) -> None:
        def pick(phase: Phase, *, background: bool, guardrail: bool | None = None) -> tuple[PlannedHook, ...]:
            return tuple(
                item
                for item in self.items
                if item.phase == phase and item.background is background and guardrail in (None, item.guardrail)
            )

        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("pre_inline", pick("pre", background=False))
        put("pre_background", pick("pre", background=True))
        put("output_guardrails", pick("post", background=False, guardrail=True))
        put("post_inline", pick("post", background=False, guardrail=False))
        put("post_background", pick("post", background=True))
        put(
            "stored_arguments",
            frozenset().union(*(_wanted(item.callee, item.phase) for item in self.items if item.detached)),
        )
        put("holds_output", any(item.hold_output for item in self.output_guardrails))

    def find(self, phase: str, name: str) -> PlannedHook | None:
        """A hook by what a delivery stores of it."""
        return next((item for item in self.items if item.phase == phase and item.name == name), None)


def _wanted(callee: Callee, phase: Phase, kind: str | None = None) -> frozenset[str]:
    if not callee.takes_all:
        return frozenset(callee.names)
    offered = PRE_ARGUMENTS if phase == "pre" else POST_ARGUMENTS
    return offered | {kind} if kind else offered


@dataclass(frozen=True, slots=True)
class GivenHook:
    """A hook and who gave it."""

    function: Callable[..., Any] | Guardrail
    source: Source
    plugin: str | None = None


def build_plan(
    runnable: Runnable,
    *,
    pre: Iterable[GivenHook] = (),
    post: Iterable[GivenHook] = (),
    defaults: PlanDefaults | None = None,
    run_in_background: bool | None = None,
) -> Plan:
    """Decide everything about a runnable's hooks.

    Args:
        runnable: its own hooks come after those in `pre`, and before those in `post`.
        pre: the plugins' and the server's pre-hooks, in their order.
        post: the server's and the plugins' post-hooks, in their order.
        defaults: for what a hook does not say.
        run_in_background: the server's switch; None outside a server, where every hook is inline.

    Raises:
        ConfigurationError: a hook asks for the impossible, or two have one name.
    """
    defaults = defaults or PlanDefaults()
    own_pre = [GivenHook(function, "runnable") for function in runnable.pre_hooks]
    own_post = [GivenHook(function, "runnable") for function in runnable.post_hooks]
    planned_pre = _plan_phase(runnable, "pre", [*pre, *own_pre], defaults, run_in_background)
    planned_post = _plan_phase(runnable, "post", [*own_post, *post], defaults, run_in_background)
    return Plan((*planned_pre, *planned_post))


def _plan_phase(
    runnable: Runnable,
    phase: Phase,
    given: Sequence[GivenHook],
    defaults: PlanDefaults,
    run_in_background: bool | None,
) -> list[PlannedHook]:
    hooks = [(hook, *_callable_of(hook, runnable, phase)) for hook in given]
    if phase == "post":  # every guardrail first: the others see the final status
        hooks.sort(key=lambda entry: not entry[2].guardrail)
    items: list[PlannedHook] = []
    for position, (hook, function, options) in enumerate(hooks):
        item = _plan_hook(runnable, phase, position, hook, function, options, defaults, run_in_background)
        if any(item.name == other.name for other in items):
            raise ConfigurationError(
                f"{runnable.kind} {runnable.id!r} has two {phase}-hooks named {item.name!r}: "
                f"give one of them a name of its own with @hook(name=...)"
            )
        items.append(item)
    return items


def _callable_of(given: GivenHook, runnable: Runnable, phase: Phase) -> tuple[Callable[..., Any], HookOptions]:
    function = given.function
    if isinstance(function, Guardrail):
        own = HookOptions(
            name=function.name or type(function).__qualname__,
            timeout=function.timeout,
            hold_output=function.hold_output,
            guardrail=True,
        )
        return function.check, own.over(options_of(function)).over(options_of(function.check))
    if not callable(function) or isinstance(function, type):
        mend = f"give an instance: {function.__name__}()" if isinstance(function, type) else "give a callable"
        raise ConfigurationError(f"{runnable.kind} {runnable.id!r}: {phase}-hook {function!r} cannot be called: {mend}")
    return function, options_of(function)


def _plan_hook(
    runnable: Runnable,
    phase: Phase,
    position: int,
    given: GivenHook,
    function: Callable[..., Any],
    options: HookOptions,
    defaults: PlanDefaults,
    run_in_background: bool | None,
) -> PlannedHook:
    name = options.name or display_name(function)
    if given.plugin is not None and options.name is None:
        name = f"{given.plugin}.{getattr(function, '__name__', name)}"
    what = f"{phase}-hook of {runnable.kind} {runnable.id!r}"
    guardrail = bool(options.guardrail)
    if guardrail and options.run_in_background:
        raise ConfigurationError(
            f"{what}: {name!r} is a guardrail marked run_in_background=True, but a guard must run before the answer: "
            f"drop one of the two marks"
        )
    offered = PRE_ARGUMENTS if phase == "pre" else POST_ARGUMENTS
    callee = read_callee(function, name=name, offered=offered | {runnable.kind}, what=what)
    background = _in_background(options, guardrail, run_in_background)
    timeout = defaults.delivery_timeout if background else defaults.inline_timeout
    return PlannedHook(
        callee=callee,
        phase=phase,
        position=position,
        source=given.source,
        plugin=given.plugin,
        background=background,
        detached=background or (bool(options.run_in_background) and not guardrail),
        guardrail=guardrail,
        timeout=options.timeout or timeout,
        retries=defaults.delivery_retries if options.retries is None else options.retries,
        on=("completed",) if options.on is None else options.on,
        fails_run=guardrail or options.on_error == "fail",
        root_only=given.source != "runnable" and not guardrail and options.scope != "all",
        hold_output=guardrail and options.hold_output is not False,
        policy=Policy(
            timeout=options.timeout or timeout,
            retries=defaults.delivery_retries if options.retries is None else options.retries,
        ),
    )


def _in_background(options: HookOptions, guardrail: bool, server: bool | None) -> bool:
    if guardrail or server is None:
        return False
    return server if options.run_in_background is None else options.run_in_background
