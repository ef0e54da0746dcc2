"""The plan: which hooks are called around a runnable's runs, in which order and in which mode."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from hookline import hookspecs
from hookline.calling import Callee, display_name, read_callee
from hookline.deliveries import HookKey, Phase
from hookline.errors import ConfigurationError
from hookline.hook_options import GuardrailMode, HookOptions
from hookline.hooks import Guardrail, options_of
from hookline.overrides import HookOverrides
from hookline.policy import BACKOFF_SECONDS, Policy
from hookline.runnable import Runnable

Source = Literal["plugin", "server", "runnable"]

PRE_ARGUMENTS = frozenset(inspect.signature(hookspecs.pre_run).parameters)
POST_ARGUMENTS = frozenset(inspect.signature(hookspecs.post_run).parameters)


@dataclass(frozen=True, slots=True)
class PlanDefaults:
    """What holds where a hook says nothing; the fields are those of `hookline.Settings`."""

    inline_timeout: float = 30.0
    delivery_timeout: float = 60.0
    delivery_retries: int = 3
    delivery_backoff: float = BACKOFF_SECONDS
    delivery_max_age: float | None = None
    circuit_threshold: int = 20
    circuit_cooldown: float = 60.0


@dataclass(frozen=True, slots=True)
class PlannedHook:
    """One hook of one runnable, everything about it decided.

    `detached` says that its arguments are decoded snapshots: so for every hook that is marked for the background,
    inline too. `sample` is the share of runs that it is called for, `guardrail_mode` None for what is no guardrail,
    `from_settings` the names of the options that the settings overrode.
    """

    callee: Callee
    phase: Phase
    position: int
    source: Source
    plugin: str | None
    background: bool
    detached: bool
    guardrail: bool
    guardrail_mode: GuardrailMode | None
    on: tuple[str, ...]
    fails_run: bool
    root_only: bool
    hold_output: bool
    sample: float
    policy: Policy
    from_settings: tuple[str, ...]

    @property
    def timeout(self) -> float:
        """Seconds for one call."""
        return self.policy.timeout

    @property
    def retries(self) -> int:
        """Attempts after the first one, in the background."""
        return self.policy.retries

    @property
    def enforces(self) -> bool:
        """Whether it is a guardrail that may reject and fail runs."""
        return self.guardrail_mode == "enforce"

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
        policy = self.policy if self.background else None
        return {
            "runnable": runnable_id,
            "phase": self.phase,
            "position": self.position,
            "hook": self.name,
            "source": self.source,
            "mode": self.mode,
            "guardrail": self.guardrail,
            "guardrail_mode": self.guardrail_mode,
            "timeout": self.timeout,
            "retries": policy.retries if policy else 0,
            "backoff": policy and policy.backoff,
            "max_age": policy and policy.max_age,
            "concurrency": policy and policy.concurrency,
            "circuit_threshold": policy and policy.circuit_threshold,
            "circuit_cooldown": policy and policy.circuit_cooldown,
            "sample": self.sample,
            "on": list(self.on) if self.phase == "post" else [],
            "from_settings": list(self.from_settings),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """All hooks of one runnable in the order of their calls, sorted by what is done with them.

    Guardrails that are off are among `items` only; those that observe are called with the others.
    """

    items: tuple[PlannedHook, ...] = ()
    pre_inline: tuple[PlannedHook, ...] = field(init=False)
    pre_background: tuple[PlannedHook, ...] = field(init=False)
    output_guardrails: tuple[PlannedHook, ...] = field(init=False)
    post_inline: tuple[PlannedHook, ...] = field(init=False)
    post_background: tuple[PlannedHook, ...] = field(init=False)
    stored_arguments: frozenset[str] = field(init=False)
    guards_output: bool = field(init=False)
    holds_output: bool = field(init=False)

    def __post_init__(self) -> None:
        def pick(phase: Phase, *, background: bool, guardrail: bool | None = None) -> tuple[PlannedHook, ...]:
            return tuple(
                item
                for item in self.items
                if item.phase == phase
                and item.background is background
                and guardrail in (None, item.guardrail)
                and item.guardrail_mode != "off"
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
        put("guards_output", any(item.enforces for item in self.output_guardrails))
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
    overrides: HookOverrides | None = None,
    run_in_background: bool | None = None,
) -> Plan:
    """Decide everything about a runnable's hooks.

    Args:
        runnable: its own hooks come after those in `pre`, and before those in `post`.
        pre: the plugins' and the server's pre-hooks, in their order.
        post: the server's and the plugins' post-hooks, in their order.
        defaults: for what a hook does not say.
        overrides: for what the settings say of single hooks.
        run_in_background: the server's switch; None outside a server, where every hook is inline.

    Raises:
        ConfigurationError: a hook asks for the impossible, or two have one name.
    """
    planner = _Planner(runnable, defaults or PlanDefaults(), overrides or HookOverrides(), run_in_background)
    own_pre = [GivenHook(function, "runnable") for function in runnable.pre_hooks]
    own_post = [GivenHook(function, "runnable") for function in runnable.post_hooks]
    return Plan((*planner.plan_phase("pre", [*pre, *own_pre]), *planner.plan_phase("post", [*own_post, *post])))


class _Planner:
    """Plans the hooks of one runnable."""

    def __init__(
        self, runnable: Runnable, defaults: PlanDefaults, overrides: HookOverrides, run_in_background: bool | None
    ) -> None:
        self.runnable = runnable
        self.defaults = defaults
        self.overrides = overrides
        self.run_in_background = run_in_background

    def plan_phase(self, phase: Phase, given: Sequence[GivenHook]) -> list[PlannedHook]:
        hooks = [(hook, *_callable_of(hook, self.runnable, phase)) for hook in given]
        if phase == "post":  # every guardrail first: the others see the final status
            hooks.sort(key=lambda entry: not entry[2].guardrail)
        items: list[PlannedHook] = []
        for position, (hook, function, marked) in enumerate(hooks):
            item = self._plan_hook(phase, position, hook, function, marked)
            if any(item.name == other.name for other in items):
                raise ConfigurationError(
                    f"{self.runnable.kind} {self.runnable.id!r} has two {phase}-hooks named {item.name!r}: "
                    f"give one of them a name of its own with @hook(name=...)"
                )
            items.append(item)
        return items

    def _plan_hook(
        self, phase: Phase, position: int, given: GivenHook, function: Callable[..., Any], marked: HookOptions
    ) -> PlannedHook:
        runnable = self.runnable
        name = _name_of(given, function, marked)
        what = f"{phase}-hook of {runnable.kind} {runnable.id!r}"
        if misfit := marked.misfit(marked):
            raise ConfigurationError(f"{what}: {name!r} {misfit[1]}")
        options, from_settings = self.overrides.over(HookKey(runnable.id, phase, name), marked)
        offered = PRE_ARGUMENTS if phase == "pre" else POST_ARGUMENTS
        guardrail = bool(options.guardrail)
        mode = (options.mode or "enforce") if guardrail else None
        background = not guardrail and self._in_background(options)
        return PlannedHook(
            callee=read_callee(function, name=name, offered=offered | {runnable.kind}, what=what),
            phase=phase,
            position=position,
            source=given.source,
            plugin=given.plugin,
            background=background,
            detached=background or (not guardrail and bool(marked.run_in_background or options.run_in_background)),
            guardrail=guardrail,
            guardrail_mode=mode,
            on=("completed",) if options.on is None else options.on,
            fails_run=mode == "enforce" or (not guardrail and options.on_error == "fail"),
            root_only=given.source != "runnable" and not guardrail and options.scope != "all",
            hold_output=mode == "enforce" and options.hold_output is not False,
            sample=1.0 if options.sample is None else float(options.sample),
            policy=self._policy(options, background=background),
            from_settings=from_settings,
        )

    def _in_background(self, options: HookOptions) -> bool:
        if self.run_in_background is None:
            return False
        return self.run_in_background if options.run_in_background is None else options.run_in_background

    def _policy(self, options: HookOptions, *, background: bool) -> Policy:
        defaults = self.defaults
        fallback = Policy(
            timeout=defaults.delivery_timeout if background else defaults.inline_timeout,
            retries=defaults.delivery_retries,
            backoff=defaults.delivery_backoff,
            max_age=defaults.delivery_max_age,
            circuit_threshold=defaults.circuit_threshold,
            circuit_cooldown=defaults.circuit_cooldown,
        )
        names = {field.name for field in fields(Policy)}
        policy = replace(fallback, **{name: value for name, value in options.said().items() if name in names})
        return replace(policy, max_age=None) if policy.max_age == math.inf else policy


def _name_of(given: GivenHook, function: Callable[..., Any], options: HookOptions) -> str:
    name = options.name or display_name(function)
    if given.plugin is not None and options.name is None:
        return f"{given.plugin}.{getattr(function, '__name__', name)}"
    return name


def _callable_of(given: GivenHook, runnable: Runnable, phase: Phase) -> tuple[Callable[..., Any], HookOptions]:
    function = given.function
    if isinstance(function, Guardrail):
        own = HookOptions(
            name=function.name or type(function).__qualname__,
            timeout=function.timeout,
            hold_output=function.hold_output,
            mode=function.mode,
            guardrail=True,
        )
        return function.check, own.over(options_of(function)).over(options_of(function.check))
    if not callable(function) or isinstance(function, type):
        mend = f"give an instance: {function.__name__}()" if isinstance(function, type) else "give a callable"
        raise ConfigurationError(f"{runnable.kind} {runnable.id!r}: {phase}-hook {function!r} cannot be called: {mend}")
    return function, options_of(function)
