"""`hookline doctor`: what is right and what is wrong with this installation, and the mend."""

from __future__ import annotations

import logging

import click

from hookline.cli.doctor.finding import Verdict
from hookline.cli.loading import app_option
from hookline.cli.output import json_option, print_listing

__all__ = ["doctor"]

_COLUMNS = {"CHECK": "check", "STATUS": "status", "DETAIL": "detail", "MEND": "mend"}


@click.command()
@app_option
@click.option(
    "--port", default=7777, show_default=True, type=click.IntRange(1, 65_535), help="The port that would be served on."
)
@json_option
@click.pass_context
def doctor(context: click.Context, reference: str | None, port: int, as_json: bool) -> None:
    """Examine Python, packages, plugins, settings, the database, the port and, with --app, the AgentOS.

    Nothing is changed and nothing is made. The exit status is 1 if any check fails; a warning is none.
    """
    from hookline.cli.doctor.examination import examine  # pydantic-settings costs more than all of the core

    logging.getLogger("hookline").setLevel(logging.CRITICAL)  # the findings say what went wrong
    findings = list(examine(reference, port))
    print_listing([finding.to_dict() for finding in findings], _COLUMNS, as_json=as_json)
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        context.exit(1)
