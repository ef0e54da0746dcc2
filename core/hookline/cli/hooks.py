"""`hookline hooks`: the plan of hooks around each runnable."""

from __future__ import annotations

from typing import Any

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
    "GUARDRAIL": "guardrail_mode",
    "SAMPLE": "sample",
    "TIMEOUT": "timeout",
    "RETRIES": "retries",
    "BACKOFF": "backoff",
    "MAX AGE": "max_age",
    "CONCURRENCY": "concurrency",
    "CIRCUIT": "circuit",
    "ON": "on",
    "FROM SETTINGS": "from_settings",
}

_OPTIONAL = frozenset(
    {"guardrail_mode", "sample", "backoff", "max_age", "concurrency", "circuit", "from_settings"},
)
"""Columns that are left out where no hook has anything to say."""


@click.command()
@app_option
@plugins_option
@json_option
def hooks(reference: str | None, as_json: bool) -> None:
    """Print which hooks are called, in which order and how.

    All values are those in force; FROM SETTINGS names the options that the settings overrode. CIRCUIT: after how many
    failures in a row a hook's deliveries are paused, and for how long. Times are in seconds.
    """
    agent_os = find_app(required_app(reference)).agent_os.load()
    items = [
        hook.to_dict(runnable.id)
        for runnable in agent_os.runnables.values()
        for hook in agent_os.plan_of(runnable).items
    ]
    if as_json:
        print_listing(items, _COLUMNS, as_json=True)
        return
    rows = [_row(item) for item in items]
    said = {key for row in rows for key, value in row.items() if value not in (None, [])}
    columns = {heading: key for heading, key in _COLUMNS.items() if key in said or key not in _OPTIONAL}
    print_listing(rows, columns, as_json=False, empty="hooks")


def _row(item: dict[str, Any]) -> dict[str, Any]:
    threshold = item["circuit_threshold"]
    return {
        **item,
        "sample": None if item["sample"] == 1 else item["sample"],
        "circuit": f"{threshold} / {item['circuit_cooldown']:g}" if threshold else None,
    }
