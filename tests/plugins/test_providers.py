"""What plugins provide: storages, models, transports, commands, lifespans, points of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import click
import pytest

from fake_distributions import FakeSite
from hookline import Agent, AgentOS, ConfigurationError, PluginError, hookimpl, hookspec
from hookline.plugins import PluginRegistry
from hookline.testing import ScriptedModel


class Provider:
    """Provides one model."""

    def __init__(self, plugin_name: str, model: str = "parrot") -> None:
        self.plugin_name = plugin_name
        self._model = model

    @hookimpl
    def models(self) -> Mapping[str, Callable[[str], Any]]:
        return {self._model: lambda model_id: (self.plugin_name, model_id)}


def load(*plugins: object, **options: Any) -> PluginRegistry:
    registry = PluginRegistry(allowed=[], **options)
    registry.load(plugins)
    return registry


def state(registry: PluginRegistry, name: str) -> tuple[str, str | None]:
    return next((each.state.value, each.reason) for each in registry.plugins if each.name == name)


def test_a_provider_is_found_by_name() -> None:
    registry = load(Provider("a"), Provider("b", "macaw"))

    made: Any = registry.model("macaw")("blue")
    assert made == ("b", "blue")


def test_an_unknown_name_lists_what_there_is_and_whose() -> None:
    registry = load(Provider("a"), Provider("b", "macaw"))

    with pytest.raises(ConfigurationError) as raised:
        registry.model("parot")
    assert str(raised.value).startswith(
        "no plugin provides the model 'parot'; did you mean 'parrot'?: "
        "there is 'macaw' (plugin 'b'), 'parrot' (plugin 'a')"
    )
    with pytest.raises(ConfigurationError, match="no plugin provides the storage 'sqlite': there is none"):
        registry.storage("sqlite")
    with pytest.raises(ConfigurationError, match="no plugin provides the transport 'fastapi': there is none"):
        registry.transport("fastapi")


def test_a_name_that_two_plugins_provide_names_both() -> None:
    registry = load(Provider("a"), Provider("b"))

    registry.check()
    with pytest.raises(ConfigurationError, match="model 'parrot' is provided by the plugins 'a' and 'b'"):
        registry.model("parrot")


# commands


class Commands:
    plugin_name = "commands"

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        return [click.Command("greet")]


class BrokenCommands:
    plugin_name = "broken"

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        raise RuntimeError("no luck")


def test_commands_come_with_their_plugins_and_a_broken_one_stops_nobody() -> None:
    registry = load(BrokenCommands(), Commands())

    assert [(plugin, command.name) for plugin, command in registry.commands()] == [("commands", "greet")]
    assert state(registry, "broken") == ("failed", "commands() raised RuntimeError: no luck")


# lifespans


class Lifespan:
    def __init__(self, plugin_name: str, journal: list[str], *, fails: str = "") -> None:
        self.plugin_name = plugin_name
        self.journal = journal
        self.fails = fails

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, agent_os: AgentOS) -> AsyncIterator[None]:
        if self.fails == "start":
            raise RuntimeError("no luck")
        self.journal.append(f"{self.plugin_name} in {agent_os.id}")
        try:
            yield
        finally:
            self.journal.append(f"{self.plugin_name} out")
            if self.fails == "end":
                raise RuntimeError("no luck")


class NoLifespan:
    plugin_name = "none"

    @hookimpl
    def lifespan(self) -> None: ...


def some_os() -> AgentOS:
    return AgentOS("os", agents=[Agent("a", model=ScriptedModel())])


async def live(registry: PluginRegistry) -> None:
    async with AsyncExitStack() as stack:
        for _, context in registry.lifespans(some_os()):
            await stack.enter_async_context(context)


async def test_lifespans_are_entered_in_order_and_left_in_reverse() -> None:
    journal: list[str] = []

    await live(load(Lifespan("b", journal), NoLifespan(), Lifespan("a", journal)))

    assert journal == ["a in os", "b in os", "b out", "a out"]


async def test_a_lifespan_that_fails_harms_no_other(site: FakeSite) -> None:
    source = """
        from hookline import hookimpl

        @hookimpl
        def lifespan(agent_os):
            raise RuntimeError("no luck")
    """
    site.install("b", source)
    journal: list[str] = []
    registry = PluginRegistry(allowed=["b"])
    registry.load([Lifespan("a", journal), Lifespan("c", journal)])

    await live(registry)

    assert journal == ["a in os", "c in os", "c out", "a out"]
    assert state(registry, "b") == ("failed", "lifespan raised RuntimeError: no luck")


async def test_a_lifespan_that_is_needed_stops_the_start() -> None:
    journal: list[str] = []
    registry = load(Lifespan("a", journal), Lifespan("b", journal, fails="start"))

    with pytest.raises(PluginError, match="plugin 'b' is failed: lifespan raised RuntimeError: no luck"):
        await live(registry)

    assert journal == ["a in os", "a out"]


async def test_a_lifespan_that_fails_at_its_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    journal: list[str] = []

    await live(load(Lifespan("a", journal, fails="end"), Lifespan("b", journal)))

    assert journal == ["a in os", "b in os", "b out", "a out"]
    assert "the lifespan of plugin a failed at its end" in caplog.text


# points of a plugin's own


class Points:
    @hookspec
    def parcel_sent(self, parcel: str) -> None:
        """Called when a parcel has left."""


class Owner:
    plugin_name = "owner"

    @hookimpl
    def hookspecs(self) -> Sequence[object]:
        return [Points]


class Listener:
    plugin_name = "listener"

    @hookimpl
    def parcel_sent(self, parcel: str) -> str:
        return parcel.upper()


class Misreader:
    plugin_name = "misreader"

    @hookimpl
    def parcel_sent(self, parcle: str) -> None: ...


def test_a_plugin_adds_points_for_others() -> None:
    registry = load(Listener(), Misreader(), Owner())

    assert [each.function(parcel="p") for each in registry.implementations("parcel_sent")] == ["P"]
    assert state(registry, "misreader")[1] == (
        "parcel_sent has no argument 'parcle'; did you mean 'parcel'? (it offers parcel)"
    )


def test_points_go_with_their_plugin() -> None:
    registry = load(Listener(), Owner(), disabled=["owner"])

    assert state(registry, "listener")[0] == "refused"


def test_points_of_a_refused_plugin_do_not_exist() -> None:
    class Half(Owner):
        plugin_name = "half"

        @hookimpl
        def pre_rum(self) -> None: ...

    registry = load(Listener(), Half())

    assert state(registry, "half")[0] == "refused"
    assert state(registry, "listener") == ("refused", "there is no hook 'parcel_sent'")


def test_a_point_that_two_plugins_add_is_refused() -> None:
    class Second(Owner):
        plugin_name = "second"

    class Core:
        plugin_name = "core"

        @hookimpl
        def hookspecs(self) -> Sequence[object]:
            class Taken:
                @hookspec
                def pre_run(self) -> None: ...

            return [Taken]

    registry = load(Owner(), Second(), Core())

    assert state(registry, "owner") == ("refused", "its hook point 'parcel_sent' is also one of plugin 'second'")
    assert state(registry, "second") == ("refused", "its hook point 'parcel_sent' is also one of plugin 'owner'")
    assert "'pre_run' is one of hookline's own" in (state(registry, "core")[1] or "")
