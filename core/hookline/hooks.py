"""Marks for hooks: `@hook`, `@guardrail` and the `Guardrail` class."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, overload

from hookline.calling import display_name
from hookline.errors import ConfigurationError
from hookline.hook_options import GuardrailMode, HookOptions

F = TypeVar("F", bound=Callable[..., Any])

HOOK_ATTRIBUTE = "__hookline_hook__"


def options_of(function: object) -> HookOptions:
    """What has been said of a hook, also of what a partial wraps."""
    found = getattr(function, HOOK_ATTRIBUTE, None)
    options = found if isinstance(found, HookOptions) else HookOptions()
    if isinstance(function, functools.partial):
        return options.over(options_of(function.func))
    return options


def _mark(function: F, options: HookOptions) -> F:
    if not callable(function):
        raise ConfigurationError(f"a hook must be callable, {function!r} is not")
    options = options.over(options_of(function))
    if misfit := options.misfit(options):
        raise ConfigurationError(f"hook {options.name or display_name(function)!r} {misfit[1]}")
    try:
        setattr(function, HOOK_ATTRIBUTE, options)
    except AttributeError:  # a bound method or a builtin takes no attributes
        carrier = functools.partial(function)
        setattr(carrier, HOOK_ATTRIBUTE, options)
        return carrier  # type: ignore[return-value]  # a partial is called just as the function is
    return function


def _names(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@overload
def hook(function: F, /) -> F: ...
@overload
def hook(
    *,
    name: str | None = None,
    run_in_background: bool | None = None,
    timeout: float | None = None,
    retries: int | None = None,
    backoff: float | None = None,
    max_age: float | None = None,
    concurrency: int | None = None,
    circuit_threshold: int | None = None,
    circuit_cooldown: float | None = None,
    sample: float | None = None,
    on: str | Iterable[str] | None = None,
    on_error: Literal["continue", "fail"] | None = None,
    scope: Literal["root", "all"] | None = None,
    before: str | Iterable[str] = (),
    after: str | Iterable[str] = (),
) -> Callable[[F], F]: ...
def hook(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    run_in_background: bool | None = None,
    timeout: float | None = None,
    retries: int | None = None,
    backoff: float | None = None,
    max_age: float | None = None,
    concurrency: int | None = None,
    circuit_threshold: int | None = None,
    circuit_cooldown: float | None = None,
    sample: float | None = None,
    on: str | Iterable[str] | None = None,
    on_error: Literal["continue", "fail"] | None = None,
    scope: Literal["root", "all"] | None = None,
    before: str | Iterable[str] = (),
    after: str | Iterable[str] = (),
) -> F | Callable[[F], F]:
    """Say how a hook is to be run; the hook itself is returned.

    The settings may say otherwise for one hook of one server: `[hooks."RUNNABLE/post/NAME"]` in `hookline.toml`.

    Args:
        function: the hook, when used without arguments.
        name: its name in listings and in the ledger; default: its `__qualname__`.
        run_in_background: True: a durable delivery after the response; False: inline even if the server's
            `run_hooks_in_background` is on; default: as the server says.
        timeout: seconds for one attempt; default 30 inline, 60 in the background.
        retries: attempts after the first one, in the background; default 3.
        backoff: seconds to wait at most after the first failed attempt, in the background; doubled after each further
            one, at most 300; default 1.
        max_age: seconds after the run's end at which a delivery that has not succeeded is given up; default: never.
        concurrency: how many deliveries of this hook may be under way at once in one process; default: no limit of
            its own.
        circuit_threshold: after so many failed attempts in a row, across runs, the hook's deliveries are paused;
            0: never; default 20.
        circuit_cooldown: seconds that they are paused, before one is tried; default 60.
        sample: the share of runs that it is called for, from 0 to 1. A hash of the run's id decides, the same
            everywhere, so that what a small share calls a larger one calls too (see `hookline.sampling`); default 1.
        on: the outcomes after which a post-hook is called; default `completed`.
        on_error: `fail` makes an inline hook that raises fail the run; default `continue`. What runs in the background
            comes too late for it.
        scope: `all` calls a server's or plugin's hook for members' and steps' runs too; default `root`.
        before: names of plugins whose hooks come later (hooks of plugins only).
        after: names of plugins whose hooks come earlier (hooks of plugins only).

    Raises:
        ConfigurationError: an argument has no meaning, or two contradict each other.
    """
    options = HookOptions(
        name=name,
        run_in_background=run_in_background,
        timeout=timeout,
        retries=retries,
        backoff=backoff,
        max_age=max_age,
        concurrency=concurrency,
        circuit_threshold=circuit_threshold,
        circuit_cooldown=circuit_cooldown,
        sample=sample,
        on=None if on is None else _names(on),
        on_error=on_error,
        scope=scope,
        before=_names(before),
        after=_names(after),
    )
    if function is not None:
        return _mark(function, options)
    return lambda f: _mark(f, options)


@overload
def guardrail(function: F, /) -> F: ...
@overload
def guardrail(
    *,
    name: str | None = None,
    timeout: float | None = None,
    hold_output: bool | None = None,
    mode: GuardrailMode | None = None,
) -> Callable[[F], F]: ...
def guardrail(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float | None = None,
    hold_output: bool | None = None,
    mode: GuardrailMode | None = None,
) -> F | Callable[[F], F]:
    """Mark a hook as a guardrail: always inline, and closed when it fails.

    It rejects the run by raising `InputCheckError` or `OutputCheckError`; any other exception, or a timeout, fails
    the run.

    Args:
        function: the hook, when used without arguments.
        name: its name; default: its `__qualname__`.
        timeout: seconds; default 30.
        hold_output: False lets a stream's text leave before this output guardrail has passed.
        mode: `enforce` (the default); `observe`: it is called, what it finds is written down (`/runs/{id}/hooks`), and
            the run passes whatever that is: no output is held for it, what it changes in the run's input or content is
            undone; `off`: it is not called.

    Raises:
        ConfigurationError: an argument has no meaning.
    """
    options = HookOptions(name=name, timeout=timeout, hold_output=hold_output, mode=mode, guardrail=True)
    if function is not None:
        return _mark(function, options)
    return lambda f: _mark(f, options)


class Guardrail:
    """A guardrail with state of its own: subclass it, write `check`, and give an instance as a hook.

    `check` is sync or async and names the arguments it wants, as any hook does. The attributes mean what the arguments
    of `guardrail()` do.
    """

    name: str | None = None
    timeout: float | None = None
    hold_output: bool | None = None
    mode: GuardrailMode | None = None

    check: Callable[..., Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not callable(getattr(cls, "check", None)):
            raise ConfigurationError(f"{cls.__qualname__} is a Guardrail and needs a method named check")
