"""Checking plugins before they are registered: what is wrong is said with the name of what was meant."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import pluggy

from hookline.errors import PluginError
from hookline.hook_options import BACKGROUND_ONLY
from hookline.hooks import options_of

RUN_HOOKS = frozenset({"pre_run", "post_run"})
"""The points whose hooks may be guardrails, and may run in the background."""

SYNC_HOOKS = frozenset(
    {
        "run_event",
        "schedule_background",
        "storages",
        "models",
        "transports",
        "lifespan",
        "commands",
        "hookspecs",
    }
)
"""The points that are called where nothing can be awaited."""

KINDS = frozenset({"agent", "team", "workflow"})


@dataclass(frozen=True, slots=True)
class Spec:
    """A hook point: its name, its arguments, and the plugin that adds it (None: hookline itself)."""

    name: str
    arguments: tuple[str, ...]
    owner: str | None = None


def read_specs(namespace: object, *, owner: str | None = None) -> dict[str, Spec]:
    """The hook points in a module or class.

    Raises:
        PluginError: it is neither, or has none.
    """
    if not isinstance(namespace, ModuleType | type):
        raise PluginError(f"hookspecs() gives {namespace!r}, which is neither a module nor a class")
    manager = pluggy.PluginManager("hookline")
    specs: dict[str, Spec] = {}
    for name in dir(namespace):
        if manager.parse_hookspec_opts(namespace, name) is not None:
            parameters = inspect.signature(getattr(namespace, name)).parameters
            specs[name] = Spec(name, tuple(each for each in parameters if each != "self"), owner)
    if not specs:
        raise PluginError(f"hookspecs() gives {namespace!r}, which has no function marked @hookspec")
    return specs


@dataclass(frozen=True, slots=True)
class Marked:
    """An attribute of a plugin that is marked `@hookimpl`."""

    attribute: str
    hook: str
    function: Any
    options: Mapping[str, Any]


def marked_functions(plugin: object) -> Iterator[Marked]:
    """The hooks of a plugin, unchecked."""
    manager = pluggy.PluginManager("hookline")
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is not None:
            hook = options.get("specname") or attribute
            yield Marked(attribute, hook, getattr(plugin, attribute), dict(options))


def check_plugin(plugin: object, specs: Mapping[str, Spec]) -> list[str]:
    """Look for every mistake that a plugin's hooks can have.

    Returns:
        The names of the points that it implements, sorted.

    Raises:
        PluginError: the first mistake, and its mend.
    """
    hooks: set[str] = set()
    for marked in marked_functions(plugin):
        spec = specs.get(marked.hook)
        if spec is None:
            if marked.options.get("optionalhook"):
                continue
            raise PluginError(f"there is no hook {marked.hook!r}{meant(marked.hook, specs)}")
        check_function(plugin, marked, spec)
        hooks.add(marked.hook)
    if not hooks:
        raise PluginError(_no_hooks(plugin, specs))
    return sorted(hooks)


def _no_hooks(plugin: object, specs: Mapping[str, Spec]) -> str:
    unmarked = sorted(name for name in specs if inspect.isroutine(getattr(plugin, name, None)))
    if unmarked:
        return f"it has no hooks: mark {', '.join(unmarked)} with @hookimpl"
    return "it has no hooks: mark its functions with @hookimpl"


def check_function(plugin: object, marked: Marked, spec: Spec) -> None:
    """Look for every mistake that one hook can have.

    Raises:
        PluginError: the first mistake, and its mend.
    """
    function = marked.function
    if marked.options.get("wrapper") or marked.options.get("hookwrapper"):
        raise PluginError(
            f"{marked.hook} is a wrapper, which hookline does not call: write what comes before and after as hooks "
            f"of their own (pre_run and post_run, pre_tool and post_tool, ...)"
        )
    if _is_unbound_attribute(plugin, marked.attribute):
        raise PluginError(
            f"{marked.hook} is a function kept in an object's attribute: make it a method of the object's class, or "
            f"put it into a module"
        )
    _check_kind_of_function(marked)
    _check_marks(marked)
    for parameter in inspect.signature(function).parameters.values():
        _check_parameter(plugin, marked.hook, parameter, spec)


def _is_unbound_attribute(plugin: object, attribute: str) -> bool:
    if isinstance(plugin, type | ModuleType):
        return False
    return inspect.isfunction(getattr(plugin, "__dict__", {}).get(attribute))


def _check_kind_of_function(marked: Marked) -> None:
    if marked.hook not in SYNC_HOOKS:
        return
    if inspect.isasyncgenfunction(marked.function):
        raise PluginError(f"{marked.hook} is an async generator: add @asynccontextmanager below @hookimpl")
    if inspect.iscoroutinefunction(marked.function):
        raise PluginError(f"{marked.hook} must be a plain function, without async: nobody can await it there")


def _check_marks(marked: Marked) -> None:
    if marked.hook in RUN_HOOKS:
        return
    options = options_of(marked.function)
    if options.guardrail:
        raise PluginError(
            f"{marked.hook} is marked @guardrail, but only pre_run and post_run can be guardrails; an InputCheckError "
            f"or OutputCheckError rejects the run from every hook inside it"
        )
    if options.run_in_background:
        raise PluginError(
            f"{marked.hook} is marked run_in_background=True, but only pre_run and post_run can run there"
        )
    if useless := sorted((BACKGROUND_ONLY | {"sample"}) & options.said().keys()):
        raise PluginError(
            f"{marked.hook} is marked {useless[0]}=..., which has a meaning for pre_run and post_run only"
        )


def _check_parameter(plugin: object, hook: str, parameter: inspect.Parameter, spec: Spec) -> None:
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or name in spec.arguments:
        return
    if name in KINDS and "runnable" in spec.arguments:
        raise PluginError(
            f"{hook} names the argument {name!r}: a plugin's hook is called for every kind of runnable, so name "
            f"'runnable' instead, and look at runnable.kind"
        )
    if parameter.default is not parameter.empty:
        return
    if name == "self" and isinstance(plugin, type):
        raise PluginError(f"{plugin.__qualname__} is a class: give an instance, {plugin.__qualname__}()")
    offered = f"it offers {', '.join(spec.arguments)}" if spec.arguments else "it offers none"
    raise PluginError(f"{hook} has no argument {name!r}{meant(name, spec.arguments)} ({offered})")


def meant(word: str, known: Iterable[str]) -> str:
    """Which of the known words was meant: `"; did you mean 'pre_run'?"`, or "" if none is near."""
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def check_names(names: Collection[str], known: Collection[str], *, what: str) -> list[str]:
    """A sentence for each name that no plugin has."""
    return [
        f"{what} names the plugin {name!r}, which is not installed{meant(name, known)}"
        for name in sorted(set(names) - set(known))
    ]
