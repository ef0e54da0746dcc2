"""The registry: which plugins there are, what became of each, and what they provide. One for each AgentOS."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pluggy

from hookline import hookspecs
from hookline.errors import PluginError
from hookline.models import Model
from hookline.plugins.checking import (
    Spec,
    check_function,
    check_names,
    check_plugin,
    marked_functions,
    meant,
    read_specs,
)
from hookline.plugins.discovery import (
    Candidate,
    all_candidates,
    install_hint,
    is_somebody_elses,
)
from hookline.plugins.info import PluginInfo, PluginState
from hookline.plugins.lifespans import PluginLifespan, error_text
from hookline.plugins.ordering import Implementation, in_order
from hookline.plugins.providers import PROVIDER_HOOKS, Providers, check_provided
from hookline.storage import Database
from hookline.transport import Transport

if TYPE_CHECKING:
    import click

    from hookline.agent_os import AgentOS
    from hookline.settings import Settings

logger = logging.getLogger("hookline.plugins")


@dataclass(slots=True)
class _Loaded:
    """A plugin on its way to being registered."""

    candidate: Candidate
    info: PluginInfo
    plugin: object
    namespaces: list[Any] = field(default_factory=list)
    specs: dict[str, Spec] = field(default_factory=dict)
    provided: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, hook: str, answer: Any) -> None:
        """Take what its `hookspecs` or one of its providers returned."""
        if hook != "hookspecs":
            self.provided.setdefault(hook, {}).update(check_provided(hook, answer))
            return
        for namespace in answer or ():
            self.specs.update(read_specs(namespace, owner=self.info.name))
            self.namespaces.append(namespace)


class PluginRegistry:
    """Loads plugins and knows what they implement and provide.

    Args:
        disabled: names of plugins that are not to be imported.
        allowed: if given, the only installed plugins that are; bundled ones have no privilege.
        required: plugins without which nothing may start.
        strict: whether any plugin that is neither active nor blocked stops the start.
    """

    def __init__(
        self,
        *,
        disabled: Iterable[str] = (),
        allowed: Iterable[str] | None = None,
        required: Iterable[str] = (),
        strict: bool = False,
    ) -> None:
        self._disabled = frozenset(disabled)
        self._allowed = None if allowed is None else frozenset(allowed)
        self._required = frozenset(required)
        self._strict = strict
        self._given: list[PluginInfo] = []
        self._infos: list[PluginInfo] = []
        self._specs: dict[str, Spec] = read_specs(hookspecs)
        self._providers = Providers()
        self._ordered: dict[str, list[Implementation]] = {}
        self.manager = pluggy.PluginManager("hookline")
        self.manager.add_hookspecs(hookspecs)

    @classmethod
    def from_settings(cls, settings: Settings) -> PluginRegistry:
        """A registry as the settings want it.

        What the environment blocks stays blocked, and strict stays strict, also where an application's own code
        sets `disable_plugins` or `strict_plugins`: the operator has the last word.
        """
        disabled = {*settings.disable_plugins, *_words(os.environ.get("HOOKLINE_DISABLE_PLUGINS", ""))}
        strict = settings.strict_plugins or os.environ.get("HOOKLINE_STRICT_PLUGINS") in ("1", "true")
        return cls(disabled=disabled, allowed=settings.plugins, required=settings.required_plugins, strict=strict)

    # loading

    def load(self, plugins: Iterable[object] = ()) -> None:
        """Load the installed plugins and those given in code. A broken one gets a state and stops nobody.

        Args:
            plugins: modules and objects; the allow list does not concern them, and `check` takes them as required
                unless they are blocked: who names a plugin in code wants to hear that it does not work.

        Raises:
            ConfigurationError: something in `plugins` cannot be a plugin at all.
        """
        loaded: list[_Loaded] = []
        for candidate in self._without_duplicates(all_candidates(plugins)):
            info = self._add_info(candidate)
            if reason := self._blocked(candidate):
                self._set(info, PluginState.BLOCKED, reason)
            elif each := self._import(candidate, info, loaded):
                loaded.append(each)
        for each in self._with_checked_hooks(loaded):
            self._register(each)
        for sentence in self.unknown_names():
            logger.warning(sentence)

    def check(self) -> None:
        """Stop the start if it must not go on with these plugins.

        Raises:
            PluginError: a plugin that is required, or was given in code, is not active; with `strict`, any other.
            ConfigurationError: the order of the plugins' hooks has a circle.
        """
        for info in self._infos:
            if self._is_needed(info) and info.state is not PluginState.ACTIVE:
                raise PluginError(f"plugin {info.name!r} is {info.state}: {info.reason}")
        missing = sorted(self._required - {info.name for info in self._infos})
        if missing:
            raise PluginError(
                f"plugin {missing[0]!r} is required and not installed{meant(missing[0], self._names())}: install it, "
                f"or take it out of required_plugins"
            )
        for hook in self._specs:
            self.implementations(hook)

    def _is_needed(self, info: PluginInfo) -> bool:
        if info.name in self._required:
            return True
        if info.state is PluginState.BLOCKED:
            return False
        return self._strict or any(info is given for given in self._given)

    def _names(self) -> set[str]:
        return {info.name for info in self._infos}

    def unknown_names(self) -> list[str]:
        """A sentence for each name that is blocked or allowed, and that no plugin has."""
        return [
            *check_names(self._disabled, self._names(), what="disable_plugins"),
            *check_names(self._allowed or (), self._names(), what="the list of allowed plugins"),
        ]

    def _add_info(self, candidate: Candidate) -> PluginInfo:
        info = PluginInfo(candidate.name, candidate.module, candidate.distribution, candidate.version)
        self._infos.append(info)
        if candidate.given:
            self._given.append(info)
        return info

    def _set(self, info: PluginInfo, state: PluginState, reason: str, error: BaseException | None = None) -> None:
        info.state, info.reason = state, reason
        if state is not PluginState.BLOCKED:
            cause = (type(error), error, error.__traceback__) if state is PluginState.FAILED and error else None
            logger.warning("plugin %s is %s: %s", info.name, state, reason, extra={"plugin": info.name}, exc_info=cause)

    def _without_duplicates(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        by_name: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            by_name.setdefault(candidate.name, []).append(candidate)
        kept: list[Candidate] = []
        for name, namesakes in by_name.items():
            bundled = [each for each in namesakes if each.is_bundled]
            winner = namesakes[0] if len(namesakes) == 1 else next(iter(bundled), None)
            if winner is not None:
                kept.append(winner)
            for each in namesakes:
                if each is not winner:
                    others = [other for other in namesakes if other is not each]
                    self._set(self._add_info(each), PluginState.REFUSED, _duplicate(name, others))
        return kept

    def _blocked(self, candidate: Candidate) -> str | None:
        if candidate.name in self._disabled:
            return "it is disabled by disable_plugins, HOOKLINE_DISABLE_PLUGINS or -p no:" + candidate.name
        if self._allowed is not None and not candidate.given and candidate.name not in self._allowed:
            return "it is not in the list of allowed plugins (HOOKLINE_PLUGINS, allow_plugins)"
        return None

    def _import(self, candidate: Candidate, info: PluginInfo, loaded: Sequence[_Loaded]) -> _Loaded | None:
        try:
            plugin = candidate.load()
        except ImportError as error:
            self._set(info, *_import_failure(candidate, error), error)
            return None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the border to plugins: an import runs their code
            self._set(info, PluginState.FAILED, f"importing {candidate.module} raised {error_text(error)}", error)
            return None
        for other in loaded:
            if other.plugin is plugin:
                self._set(info, PluginState.REFUSED, f"it is the same object as the plugin {other.info.name!r}")
                return None
        return _Loaded(candidate, info, plugin)

    def _with_checked_hooks(self, loaded: Sequence[_Loaded]) -> list[_Loaded]:
        """Those that may be registered: checked against the points of all that remain."""
        remaining = [each for each in loaded if self._asked(each)]
        while True:
            good = []
            for each in remaining:
                try:
                    each.info.hooks = check_plugin(each.plugin, self._specs_of(remaining))
                    self._check_own_specs(each, remaining)
                except PluginError as error:
                    each.info.hooks = []
                    self._set(each.info, PluginState.REFUSED, str(error))
                except Exception as error:  # noqa: BLE001 - the border to plugins: looking at attributes runs their code
                    self._set(each.info, PluginState.FAILED, f"its hooks cannot be read: {error_text(error)}", error)
                else:
                    good.append(each)
            if len(good) == len(remaining):
                return good
            remaining = good

    def _asked(self, each: _Loaded) -> bool:
        """Ask a plugin for its own points and for what it provides."""
        called = "looking at it"
        try:
            for marked in marked_functions(each.plugin):
                if marked.hook in ("hookspecs", *PROVIDER_HOOKS):
                    check_function(each.plugin, marked, self._specs[marked.hook])
                    called = f"{marked.hook}()"
                    each.add(marked.hook, marked.function())
        except PluginError as error:
            self._set(each.info, PluginState.REFUSED, str(error))
            return False
        except ImportError as error:
            self._set(each.info, *_import_failure(each.candidate, error), error)
            return False
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the border to plugins
            self._set(each.info, PluginState.FAILED, f"{called} raised {error_text(error)}", error)
            return False
        return True

    def _specs_of(self, loaded: Iterable[_Loaded]) -> dict[str, Spec]:
        own = {name: spec for each in loaded for name, spec in each.specs.items()}
        return {**own, **self._specs}

    def _check_own_specs(self, each: _Loaded, others: Iterable[_Loaded]) -> None:
        for name in each.specs:
            if name in self._specs:
                raise PluginError(f"its hook point {name!r} is one of hookline's own: choose another name")
            for other in others:
                if other is not each and name in other.specs:
                    raise PluginError(f"its hook point {name!r} is also one of plugin {other.info.name!r}")

    def _register(self, each: _Loaded) -> None:
        name = each.info.name
        try:
            for namespace in each.namespaces:
                self.manager.add_hookspecs(namespace)
            self.manager.register(each.plugin, name=name)
        except Exception as error:  # noqa: BLE001 - the border to plugins
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            each.info.hooks = []
            self._set(each.info, PluginState.REFUSED, error_text(error), error)
            return
        self._specs.update(each.specs)
        for hook, provided in each.provided.items():
            self._providers.add(name, hook, provided)

    # what there is

    @property
    def plugins(self) -> list[PluginInfo]:
        """All plugins that were found, active or not, by name."""
        return sorted(self._infos, key=lambda info: (info.name, info.state is not PluginState.ACTIVE))

    def implementations(self, hook: str) -> list[Implementation]:
        """The functions of active plugins for one point, in the order of their calls.

        Raises:
            ConfigurationError: the plugins' wishes for an order form a circle.
            PluginError: there is no such point.
        """
        if hook not in self._ordered:
            if hook not in self._specs:
                raise PluginError(f"there is no hook {hook!r}{meant(hook, self._specs)}")
            found = getattr(self.manager.hook, hook).get_hookimpls()
            self._ordered[hook] = in_order(
                Implementation(each.function, each.plugin_name, hook, each.trylast - each.tryfirst) for each in found
            )
        return self._ordered[hook]

    def storage(self, name: str) -> Callable[[str], Database]:
        """What makes a database of the setting `database`.

        Raises:
            ConfigurationError: no plugin provides that name, or two do.
        """
        factory: Callable[[str], Database] = self._providers.get("storages", name, otherwise=self._broken())
        return factory

    def model(self, name: str) -> Callable[[str], Model]:
        """What makes a model of an id, for `Agent(model="name:id")`.

        Raises:
            ConfigurationError: no plugin provides that name, or two do.
        """
        factory: Callable[[str], Model] = self._providers.get("models", name, otherwise=self._broken())
        return factory

    def transport(self, name: str) -> Transport:
        """The transport of that name.

        Raises:
            ConfigurationError: no plugin provides that name, or two do.
        """
        transport: Transport = self._providers.get("transports", name, otherwise=self._broken())
        return transport

    def _broken(self) -> str:
        broken = [info for info in self.plugins if info.state is not PluginState.ACTIVE]
        return "".join(f"; plugin {info.name!r} is {info.state}: {info.reason}" for info in broken)

    def commands(self) -> list[tuple[str, click.Command]]:
        """The plugins' commands, each with its plugin's name; a plugin whose function raises is `failed`."""
        found: list[tuple[str, click.Command]] = []
        for each in self.implementations("commands"):
            try:
                found.extend((each.plugin, command) for command in each.function() or ())
            except Exception as error:  # noqa: BLE001 - the border to plugins
                self.set_failed(each.plugin, f"commands() raised {error_text(error)}", error)
        return found

    def lifespans(self, agent_os: AgentOS) -> list[tuple[str, AbstractAsyncContextManager[None]]]:
        """The plugins' lifespans with the plugins' names, to be entered in this order and left in reverse.

        One that raises makes its plugin `failed`; entering it raises `PluginError` only if the plugin is needed.
        """
        return [(each.plugin, PluginLifespan(each, agent_os, self)) for each in self.implementations("lifespan")]

    def set_failed(self, plugin: str, reason: str, error: BaseException | None = None) -> None:
        """Remember that an active plugin failed later on; what it implements stays in use."""
        for info in self._infos:
            if info.name == plugin and info.state is PluginState.ACTIVE:
                self._set(info, PluginState.FAILED, reason, error)


def _duplicate(name: str, others: Collection[Candidate]) -> str:
    owners = " and ".join(sorted(each.distribution or each.module for each in others))
    if any(each.is_bundled for each in others):
        return f"the name {name!r} belongs to a plugin that comes with hookline: it needs a name of its own"
    return f"the name {name!r} is also taken by {owners}: uninstall one of them, or give one another name"


def _import_failure(candidate: Candidate, error: ImportError) -> tuple[PluginState, str]:
    if not is_somebody_elses(candidate, error):
        return PluginState.FAILED, f"importing {candidate.module} raised {error_text(error)}"
    hint = install_hint(candidate, error)
    return PluginState.UNAVAILABLE, f"{error}: {hint}" if hint else str(error)


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]
