"""The examination: one check after the other, as far as each allows the next."""

from __future__ import annotations

from collections.abc import Iterator

from hookline.agent_os import AgentOS
from hookline.cli.address import find_address_trouble
from hookline.cli.doctor.application import examine_app, examine_plugins
from hookline.cli.doctor.environment import examine_environment
from hookline.cli.doctor.finding import Finding, fail, ok
from hookline.cli.doctor.ledger import examine_ledger
from hookline.cli.group import load_registry, one_line
from hookline.cli.loading import find_app
from hookline.errors import HooklineError
from hookline.plugins import PluginRegistry
from hookline.settings import Settings, load_settings

HOST = "127.0.0.1"


def examine(reference: str | None, port: int) -> Iterator[Finding]:
    """All findings, in the order in which a start would meet them.

    Args:
        reference: `module:agent_os`, if there is one to examine.
        port: the port of loopback that would be served on.
    """
    yield from examine_environment()
    yield _port_finding(port)
    try:
        settings = load_settings()
    except HooklineError as error:
        yield fail("settings", one_line(error), "correct it: without its settings nothing else can be examined")
        return
    yield ok("settings", "hookline's own settings can be read")
    agent_os: AgentOS | None = None
    if reference is not None:
        try:
            agent_os = find_app(reference).agent_os.load()
        except HooklineError as error:
            yield fail("app", f"{reference}: {one_line(error)}", "correct it, or name another one with --app")
    if agent_os is None:
        registry = load_registry()
        yield from examine_plugins(registry, settings)
        if reference is None:  # what a broken app would store in is not known
            yield from _ledger_of_settings(registry, settings)
        return
    yield from examine_plugins(agent_os.registry, agent_os.settings)
    yield from examine_app(reference or "", agent_os)
    try:
        database = agent_os.database
    except HooklineError:  # no such storage: said above
        return
    yield from examine_ledger(database)


def _ledger_of_settings(registry: PluginRegistry, settings: Settings) -> Iterator[Finding]:
    try:
        database = registry.storage(settings.storage)(settings.database)
    except HooklineError as error:
        yield fail("database", one_line(error), "correct HOOKLINE_DATABASE or HOOKLINE_STORAGE")
        return
    yield from examine_ledger(database)


def _port_finding(port: int) -> Finding:
    trouble = find_address_trouble(HOST, port)
    if trouble is None:
        return ok("port", f"{HOST}:{port} is free")
    return fail("port", trouble.reason, trouble.mend)
