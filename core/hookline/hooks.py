"""Marks for hooks: `@hook`, `@guardrail` and the `Guardrail` class."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar, overload

from hookline.errors import ConfigurationError
from hookline.runs import RunStatus

F = TypeVar("F", bound=Callable[..., Any])

HOOK_ATTRIBUTE = "__hookline_hook__"

OUTCOMES: frozenset[str] = frozenset(status.value for status in RunStatus if status is not RunStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class HookOptions:
    """What a mark says of a hook; None where it says nothing."""

    name: str | None = None
    run_in_background: bool | None = None
    guardrail: bool | None = None
    timeout: float | None = None
    retries: int | None = None
    on: tuple[str, ...] | None = None
    on_error: Literal["continue", "fail"] | None = None
    scope: Literal["root", "all"] | None = None
    hold_output: bool | None = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigurationError(f"hook: timeout={self.timeout!r} must be more than 0 seconds")
        if self.retries is not None and self.retries < 0:
            raise ConfigurationError(f"hook: retries={self.retries!r} must be 0 or more")
        if self.on_error not in (None, "continue", "fail"):
            raise ConfigurationError(f"hook: on_error={self.on_error!r} must be 'continue' or 'fail'")
        if self.scope not in (None, "root", "all"):
            raise ConfigurationError(f"hook: scope={self.scope!r} must be 'root' or 'all'")
        for outcome in self.on or ():
            if outcome not in OUTCOMES:
                raise ConfigurationError(f"hook: on={outcome!r} is none of {', '.join(sorted(OUTCOMES))}")

    def over(self, other: HookOptions) -> HookOptions:
        """These options, and the other's where these say nothing."""
        said = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) not in (None, ())}
        return replace(other, **said)


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
    on: str | Iterable[str] | None = None,
    on_error: Literal["continue", "fail"] | None = None,
    scope: Literal["root", "all"] | None = None,
    before: str | Iterable[str] = (),
    after: str | Iterable[str] = (),
) -> F | Callable[[F], F]:
    """Say how a hook is to be run; the hook itself is returned.

    Args:
        function: the hook, when used without arguments.
        name: its name in listings and in the ledger; default: its `__qualname__`.
        run_in_background: True: a durable delivery after the response; False: inline even if the server's
            `run_hooks_in_background` is on; default: as the server says.
        timeout: seconds for one attempt; default 30 inline, 60 in the background.
        retries: attempts after the first one, in the background; default 3.
        on: the outcomes after which a post-hook is called; default `completed`.
        on_error: `fail` makes an inline hook that raises fail the run; default `continue`.
        scope: `all` calls a server's or plugin's hook for members' and steps' runs too; default `root`.
        before: names of plugins whose hooks come later (hooks of plugins only).
        after: names of plugins whose hooks come earlier (hooks of plugins only).

    Raises:
        ConfigurationError: an argument has no meaning.
    """
    options = HookOptions(
        name=name,
        run_in_background=run_in_background,
        timeout=timeout,
        retries=retries,
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
    *, name: str | None = None, timeout: float | None = None, hold_output: bool | None = None
) -> Callable[[F], F]: ...
def guardrail(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float | None = None,
    hold_output: bool | None = None,
) -> F | Callable[[F], F]:
    """Mark a hook as a guardrail: always inline, and closed when it fails.

    It rejects the run by raising `InputCheckError` or `OutputCheckError`; any other exception, or a timeout, fails
    the run.

    Args:
        function: the hook, when used without arguments.
        name: its name; default: its `__qualname__`.
        timeout: seconds; default 30.
        hold_output: False lets a stream's text leave before this output guardrail has passed.
    """
    options = HookOptions(name=name, timeout=timeout, hold_output=hold_output, guardrail=True)
    if function is not None:
        return _mark(function, options)
    return lambda f: _mark(f, options)


class Guardrail:
    """A guardrail with state of its own: subclass it, write `check`, and give an instance as a hook.

    `check` is sync or async and names the arguments it wants, as any hook does.
    """

    name: str | None = None
    timeout: float | None = None
    hold_output: bool | None = None

    check: Callable[..., Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not callable(getattr(cls, "check", None)):
            raise ConfigurationError(f"{cls.__qualname__} is a Guardrail and needs a method named check")
