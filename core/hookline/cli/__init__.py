"""The command line: `hookline`."""

from __future__ import annotations

import sys

import click

from hookline.cli.completion import completion
from hookline.cli.config import config
from hookline.cli.db import db
from hookline.cli.deliveries import deliveries
from hookline.cli.demo import demo
from hookline.cli.doctor import doctor
from hookline.cli.group import HooklineGroup
from hookline.cli.hooks import hooks
from hookline.cli.plugins import plugins
from hookline.cli.replay import replay, replays
from hookline.cli.run import run
from hookline.cli.serve import serve

__all__ = ["main"]


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    import importlib_metadata  # 50 ms, which only those who ask should wait for

    try:
        version = importlib_metadata.version("hookline")
    except importlib_metadata.PackageNotFoundError:
        version = "(not installed)"
    click.echo(f"hookline {version}")
    context.exit()


@click.group(cls=HooklineGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print the version."
)
def main() -> None:
    """Serve LLM agents over HTTP, with durable hooks around every run."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # what is printed is seen when it is printed, in a pipe too
            reconfigure(line_buffering=True)


for command in (demo, serve, run, plugins, hooks, deliveries, replay, replays, db, config, doctor, completion):
    main.add_command(command)
