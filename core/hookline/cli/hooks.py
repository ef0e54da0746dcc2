"""`hookline hooks`: the plan of hooks around each runnable."""

from __future__ import annotations

import click

from hookline.cli.loading import app_option, find_app, plugins_option, required_app
from hookline.cli.output import json_option, print_listing

_COLUMNS = {
    "RUNNABLE": "runnable",
    "PHASE": "phase",
    "POSITION": "position",
    "HOOK": "hook",
    "SOURCE": "source",
    "MODE": "mode",
    "GUARDRAIL": "guardrail",
    "TIMEOUT": "timeout",
    "RETRIES": "retries",
    "ON": "on",
}


@click.command()
@app_option
@plugins_option
@json_option
def hooks(reference: str | None, as_json: bool) -> None:
    """Print which hooks are called, in which order and how."""
    agent_os = find_app(required_app(reference)).agent_os.load()
    items = [
        hook.to_dict(runnable.id)
        for runnable in agent_os.runnables.values()
        for hook in agent_os.plan_of(runnable).items
    ]
    print_listing(items, _COLUMNS, as_json=as_json, empty="hooks")
