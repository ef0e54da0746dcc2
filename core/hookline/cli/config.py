"""`hookline config`: the settings as they are in the end, and where each came from."""

from __future__ import annotations

import json
import logging
from typing import Any

import click

from hookline.cli.loading import app_option, find_app
from hookline.cli.output import json_option, print_listing

_COLUMNS = {"SETTING": "setting", "VALUE": "value", "SOURCE": "source"}


@click.command()
@app_option
@json_option
def config(reference: str | None, as_json: bool) -> None:
    """Print all settings, hookline's own and the plugins', with the source of each; secrets are masked.

    A source is a variable's name, hookline.toml, default, or code: what the AgentOS of --app was given.
    """
    from hookline.cli import settings_listing  # pydantic-settings costs more than all of the core

    logging.getLogger("hookline.plugins").setLevel(logging.CRITICAL)  # `hookline plugins` says what went wrong there
    listing = settings_listing.read(find_app(reference).agent_os if reference is not None else None)
    for trouble in listing.unknown:
        click.echo(f"Warning: {trouble}", err=True)
    rows = [each.to_dict() for each in listing.settings]
    if not as_json:
        rows = [{**row, "value": _text(row["value"])} for row in rows]
    print_listing(rows, _COLUMNS, as_json=as_json)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
