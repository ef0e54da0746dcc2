"""`hookline plugins`: which plugins there are, and what became of each."""

from __future__ import annotations

import logging

import click

from hookline.cli.group import load_registry, one_line
from hookline.cli.ledgers import given_on_command_line
from hookline.cli.loading import check_reference, find_app, plugins_option
from hookline.cli.output import json_option, print_fields, print_listing
from hookline.environment import APP_VARIABLE
from hookline.errors import HooklineError, PluginError
from hookline.plugins import PluginInfo, PluginRegistry
from hookline.plugins.checking import meant

_COLUMNS = {
    "NAME": "name",
    "STATE": "state",
    "VERSION": "version",
    "DISTRIBUTION": "distribution",
    "HOOKS": "hooks",
    "REASON": "reason",
}


@click.command()
@click.argument("name", required=False)
@click.option(
    "--app",
    "reference",
    metavar="MODULE:AGENT_OS",
    callback=check_reference,
    envvar=APP_VARIABLE,
    show_envvar=True,
    help="Also the plugins given to this AgentOS in code.",
)
@plugins_option
@json_option
def plugins(name: str | None, reference: str | None, as_json: bool) -> None:
    """List the plugins, or tell all about one."""
    logging.getLogger("hookline.plugins").setLevel(logging.CRITICAL)  # the listing itself says what went wrong
    registry = _registry(reference)
    for sentence in registry.unknown_names():
        click.echo(f"Warning: {sentence}", err=True)
    found = registry.plugins if name is None else _named(registry, name)
    if name is None or as_json:
        print_listing([info.to_dict() for info in found], _COLUMNS, as_json=as_json, empty="plugins")
        return
    for info in found:
        print_fields(info.to_dict())


def _registry(reference: str | None) -> PluginRegistry:
    if reference is None:
        return load_registry()
    try:
        return find_app(reference).agent_os.load().registry
    except HooklineError as error:
        if given_on_command_line("reference"):
            raise
        click.echo(f"Warning: these are the installed plugins alone: {one_line(error)}", err=True)
        return load_registry()


def _named(registry: PluginRegistry, name: str) -> list[PluginInfo]:
    found = [info for info in registry.plugins if info.name == name]
    if not found:
        names = [info.name for info in registry.plugins]
        raise PluginError(f"no plugin is named {name!r}{meant(name, names)}")
    return found
