"""`hookline serve`: serve an AgentOS."""

from __future__ import annotations

import os

import click

from hookline.cli.address import find_address_trouble
from hookline.cli.ledger_file import find_ledger_trouble
from hookline.cli.loading import check_reference, find_app, plugins_option
from hookline.cli.trouble import stop_for
from hookline.environment import APP_VARIABLE

RELOADED_APP = "hookline.cli.served:app"


@click.command()
@click.argument("reference", metavar="MODULE:AGENT_OS", callback=check_reference, envvar=APP_VARIABLE)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=7777, show_default=True, type=click.IntRange(0, 65_535), help="The port; 0: a free one."
)
@click.option("--reload", is_flag=True, help="Start anew whenever a Python file changes.")
@click.option(
    "--insecure", is_flag=True, help="Listen where others can reach it, although nobody is asked who they are."
)
@click.option("--root-path", default="", metavar="PATH", help="The prefix that a proxy takes off each path: /ai.")
@click.option("--strict-plugins", is_flag=True, help="Do not start if any plugin cannot be used.")
@plugins_option
def serve(
    reference: str, host: str, port: int, reload: bool, insecure: bool, root_path: str, strict_plugins: bool
) -> None:
    """Serve the AgentOS that MODULE:AGENT_OS names, until a signal."""
    if strict_plugins:  # through the environment, so that the processes of --reload are strict, too
        os.environ["HOOKLINE_STRICT_PLUGINS"] = "1"
    os.environ[APP_VARIABLE] = reference
    found = find_app(reference)
    agent_os = found.agent_os.load()
    stop_for(find_address_trouble(host, port))
    stop_for(find_ledger_trouble(agent_os.database))
    app = RELOADED_APP if reload else found.app or agent_os.get_app()
    agent_os.serve(app, host=host, port=port, reload=reload, insecure=insecure, root_path=root_path)
