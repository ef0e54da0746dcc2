"""What an AgentOS is made of: its runnables and its one ledger, checked; its settings, plugins and plans, loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self

from hookline.agent import Agent
from hookline.clock import SYSTEM_CLOCK, Clock
from hookline.deliveries import HookKey
from hookline.errors import ConfigurationError
from hookline.models import Model
from hookline.plan import GivenHook, Plan, PlanDefaults, build_plan
from hookline.plugins import PluginRegistry, PluginState
from hookline.replays import plan_replay
from hookline.restoring import restored
from hookline.runnable import Runnable, slug
from hookline.storage import Database, ReplayRecord
from hookline.transport import Transport

if TYPE_CHECKING:
    from hookline.settings import Settings

logger = logging.getLogger("hookline")

Key = tuple[str, str]


class Definition:
    """What is served, and by which settings, plugins and hooks; needs no event loop, and opens nothing.

    Making one validates, `load()` loads.

    Args:
        id: what it is called; default: the slug of `name`, or `agent-os`.
        name: what people call it.
        agents: what is served.
        db: the ledger, if it is named.
        pre_hooks: called before each run of every agent.
        post_hooks: called after each run of every agent.
        run_hooks_in_background: whether hooks that say nothing about it are durable deliveries.
        plugins: plugin objects or modules, besides the installed ones.
        settings: default: read at `load()`.
        clock: tells what is due.

    Raises:
        ConfigurationError: two agents of one id, two different databases, nothing to serve.
    """

    def __init__(
        self,
        id: str | None = None,
        *,
        name: str | None = None,
        agents: Sequence[Agent] | None = None,
        db: Database | None = None,
        pre_hooks: Sequence[Callable[..., Any]] | None = None,
        post_hooks: Sequence[Callable[..., Any]] | None = None,
        run_hooks_in_background: bool = False,
        plugins: Sequence[object] | None = None,
        settings: Settings | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.id = id or slug(name or "") or "agent-os"
        self.name = name or self.id
        self.runnables = runnables_by_key(agents or ())
        self.run_hooks_in_background = run_hooks_in_background
        self.clock = clock
        self._db = one_database(db, self.runnables.values())
        self._pre_hooks = tuple(pre_hooks or ())
        self._post_hooks = tuple(post_hooks or ())
        self._plugin_objects = tuple(plugins or ())
        self._settings = settings
        self._registry: PluginRegistry | None = None
        self._plans: dict[Key, Plan] = {}

    def load(self) -> Self:
        """Read the settings, load the plugins, look up models, and plan the hooks; a second time does nothing.

        Raises:
            ConfigurationError: with the culprit's name and the mend.
        """
        if self._registry is not None:
            return self
        if self._settings is None:
            from hookline.settings import load_settings  # pydantic-settings costs more than all of the core

            self._settings = load_settings()
        registry = PluginRegistry.from_settings(self._settings)
        registry.load(self._plugin_objects)
        registry.check()
        for runnable in self.runnables.values():
            if isinstance(runnable, Agent):
                runnable.resolve_model(lambda provider, model_id: _make_model(registry, provider, model_id))
            runnable.check()
        self._plans = {key: self._plan(runnable, registry) for key, runnable in self.runnables.items()}
        self._settings.hook_overrides.check_names(
            (HookKey(owner, item.phase, item.name) for (_, owner), plan in self._plans.items() for item in plan.items),
            absent_plugins={info.name for info in registry.plugins if info.state is not PluginState.ACTIVE},
        )
        self._registry = registry
        return self

    def _plan(self, runnable: Runnable, registry: PluginRegistry) -> Plan:
        def of_plugins(point: str) -> list[GivenHook]:
            return [GivenHook(each.function, "plugin", each.plugin) for each in registry.implementations(point)]

        server_pre = [GivenHook(function, "server") for function in self._pre_hooks]
        server_post = [GivenHook(function, "server") for function in self._post_hooks]
        return build_plan(
            runnable,
            pre=[*of_plugins("pre_run"), *server_pre],
            post=[*server_post, *of_plugins("post_run")],
            defaults=PlanDefaults(**{each.name: getattr(self.settings, each.name) for each in fields(PlanDefaults)}),
            overrides=self.settings.hook_overrides,
            run_in_background=self.run_hooks_in_background,
        )

    @property
    def settings(self) -> Settings:
        """The settings; read at `load()` unless given."""
        if self._settings is None:
            raise ConfigurationError("the settings are read by load(): call it first")
        return self._settings

    @property
    def registry(self) -> PluginRegistry:
        """The plugins; loaded at `load()`."""
        if self._registry is None:
            raise ConfigurationError("the plugins are loaded by load(): call it first")
        return self._registry

    @property
    def database(self) -> Database:
        """The one ledger: what was given, else what the settings name."""
        if self._db is None:
            self._db = self.registry.storage(self.settings.storage)(self.settings.database)
            logger.warning("the app names no db: runs and deliveries are stored in %s", self._db.url)
        return self._db

    @property
    def _transport(self) -> Transport:
        return self.registry.transport(self.settings.transport)

    def plan_of(self, runnable: Runnable) -> Plan:
        """The hooks around a runnable's runs."""
        return self._plans[runnable.kind, runnable.id]

    def plan_replay(self, hook: str, **chosen: Any) -> ReplayRecord:
        """A replay of a background hook over stored runs, ready for `start_replay`; see `hookline.replays.plan_replay`.

        Raises:
            ReplayError: something of it has no meaning.
        """
        self.load()
        return plan_replay(self._plans, hook, now=self.clock.time(), **chosen)

    def _warn_of_unknown_settings(self) -> None:
        from hookline.settings import unknown_names  # pydantic-settings costs more than all of the core

        for unknown in unknown_names(self.registry.plugins):
            logger.warning("%s", unknown)

    @contextmanager
    def _redefined(
        self, *, db: Database, clock: Clock | None, model: Model | None, plugins: Sequence[object]
    ) -> Iterator[None]:
        """Be another definition for a while, one that is not loaded yet; None stands for what stays as it is."""
        with restored(self, *self.runnables.values()):
            for runnable in self.runnables.values():
                runnable.db = db
                if model is not None and isinstance(runnable, Agent):
                    runnable.replace_model(model)
            self._db = db
            self.clock = clock or self.clock
            self._plugin_objects += tuple(plugins)
            self._registry, self._plans = None, {}
            if self._settings is not None and not self._settings.given:
                self._settings = None
            yield


def runnables_by_key(runnables: Sequence[Runnable]) -> dict[tuple[str, str], Runnable]:
    """What is served, by kind and id.

    Raises:
        ConfigurationError: there is nothing, something that is no runnable, or two of one id.
    """
    if not isinstance(runnables, Sequence):
        raise ConfigurationError(f"AgentOS: agents must be a list, not {runnables!r}")
    found: dict[tuple[str, str], Runnable] = {}
    for runnable in runnables:
        if not isinstance(runnable, Runnable):
            raise ConfigurationError(f"AgentOS: {runnable!r} is no agent")
        key = (runnable.kind, runnable.id)
        if key in found:
            raise ConfigurationError(
                f"AgentOS: two {runnable.kind}s have the id {runnable.id!r}: give one of them another id"
            )
        found[key] = runnable
    if not found:
        raise ConfigurationError("AgentOS: there is nothing to serve: give it agents=[...]")
    return found


def one_database(db: Database | None, runnables: Iterable[Runnable]) -> Database | None:
    """The one ledger that an AgentOS and its runnables name; None if they name none.

    Raises:
        ConfigurationError: they name two, or what is none.
    """
    named = {each.db.url: (each.db, f"{each.kind} {each.id!r}") for each in runnables if each.db is not None}
    if db is not None:
        if not isinstance(db, Database):
            raise ConfigurationError(f"AgentOS: db={db!r} is no database; SqliteDb(db_file=...) is one")
        named = {db.url: (db, "AgentOS"), **{url: one for url, one in named.items() if url != db.url}}
    if len(named) > 1:
        listing = ", ".join(f"{url} ({whose})" for url, (_, whose) in named.items())
        raise ConfigurationError(f"AgentOS has one ledger, but {len(named)} databases are named: {listing}; keep one")
    return next((one for one, _ in named.values()), None)


def _make_model(registry: PluginRegistry, provider: str, model_id: str) -> Model:
    return registry.model(provider)(model_id)
