"""Settings, plugins and the AgentOS: do they load, fit together, and have what they need?"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence

from hookline.agent_os import AgentOS
from hookline.cli.doctor.finding import Finding, Verdict, fail, ok, warn
from hookline.cli.group import one_line
from hookline.errors import ConfigurationError, HooklineError
from hookline.models import Model
from hookline.plugins import PluginInfo, PluginRegistry, PluginState
from hookline.settings import Settings, plugin_settings, settings_model, unknown_names

_PLUGIN_PREFIX = "hookline_"


def examine_plugins(registry: PluginRegistry, settings: Settings) -> Iterator[Finding]:
    """Examine the plugins' states and settings, and whether they provide what the settings name."""
    active = [info for info in registry.plugins if info.state is PluginState.ACTIVE]
    yield ok("plugins", f"active: {', '.join(info.name for info in active) or 'none'}")
    inactive = [_inactive(info, settings) for info in registry.plugins if info.state is not PluginState.ACTIVE]
    yield from inactive
    if not any(finding.verdict is Verdict.FAIL for finding in inactive):
        try:
            registry.check()
        except HooklineError as error:
            yield fail("plugins", one_line(error), "a start stops there")
    for sentence in registry.unknown_names():
        yield warn("plugins", sentence, "correct the name, or take it out")
    for provided, find in (("transport", registry.transport), ("storage", registry.storage)):
        try:
            find(getattr(settings, provided))
        except ConfigurationError as error:
            yield fail(provided, one_line(error), f"install such a plugin, or set HOOKLINE_{provided.upper()}")
    yield from _examine_settings(registry.plugins)


def examine_app(reference: str, agent_os: AgentOS) -> Iterator[Finding]:
    """Examine an AgentOS that could be loaded."""
    hooks = sum(len(agent_os.plan_of(runnable).items) for runnable in agent_os.runnables.values())
    names = ", ".join(runnable.id for runnable in agent_os.runnables.values())
    yield ok("app", f"{reference} serves {names}, with {hooks} hooks")
    needed: dict[str, list[str]] = {}
    for runnable in agent_os.runnables.values():
        for model in runnable.models:
            if variable := missing_key(model):
                needed.setdefault(variable, []).append(f"{runnable.kind} {runnable.id!r}")
    for variable, users in needed.items():
        yield fail("api key", f"{variable} is not set, and {', '.join(users)} needs it", f"export {variable}=...")


def missing_key(model: Model) -> str | None:
    """The variable that a model lacks its key for.

    Judged by convention: the model's class takes `api_key`, was given none, and belongs to the package `hookline_NAME`
    of a plugin, whose variable is then `NAME_API_KEY`.
    """
    package = next((name for each in type(model).__mro__ if (name := _plugin_package(each))), None)
    if package is None or "api_key" not in inspect.signature(type(model)).parameters:
        return None
    variable = f"{package.removeprefix(_PLUGIN_PREFIX).upper()}_API_KEY"
    given = getattr(model, "api_key", None) or getattr(model, "_api_key", None) or os.environ.get(variable, "").strip()
    return None if given else variable


def _plugin_package(owner: type) -> str | None:
    package = owner.__module__.partition(".")[0]
    return package if package.startswith(_PLUGIN_PREFIX) else None


def _inactive(info: PluginInfo, settings: Settings) -> Finding:
    check, detail = f"plugin {info.name}", f"{info.state}: {info.reason}"
    if info.name in settings.required_plugins:
        return fail(check, detail, "mend it, or take it out of required_plugins")
    if info.state is PluginState.BLOCKED:
        return ok(check, detail)
    mend = f"mend it, or leave it out: HOOKLINE_DISABLE_PLUGINS={info.name}"
    return fail(check, detail, mend) if settings.strict_plugins else warn(check, detail, mend)


def _examine_settings(plugins: Sequence[PluginInfo]) -> Iterator[Finding]:
    for info in plugins:
        if info.state is not PluginState.ACTIVE:
            continue
        try:
            model = settings_model(info)
            if model is not None:
                plugin_settings(info.name, model)
        except HooklineError as error:
            yield fail(f"settings of {info.name}", one_line(error), "correct it")
    for unknown in unknown_names(plugins):
        yield warn("settings", unknown.reason, unknown.mend)
