"""`hookline db`: bring a ledger up to date, delete what is old in it."""

from __future__ import annotations

import time
from dataclasses import asdict

import click

from hookline.cli.ledgers import ask, find_ledger, ledger_options
from hookline.cli.output import json_option, print_json
from hookline.cli.times import read_span
from hookline.errors import ConfigurationError
from hookline.storage import Prune, Upgradable


@click.group()
def db() -> None:
    """Look after the ledger: that of --app, the file --db, or else the one that the settings name (hookline.db)."""


@db.command()
@ledger_options
@json_option
def upgrade(reference: str | None, database: str | None, as_json: bool) -> None:
    """Bring the ledger's tables up to date, for one that is opened with migrate="check"."""
    ledger = find_ledger(reference, database)
    if not isinstance(ledger, Upgradable):
        raise ConfigurationError(f"{ledger.url} has no revisions: its storage keeps itself up to date")
    before, after = ledger.upgrade()
    if as_json:
        print_json({"database": ledger.url, "before": before, "after": after})
    elif before == after:
        click.echo(f"{ledger.url} is up to date: revision {after}")
    else:
        click.echo(f"{ledger.url}: revision {before or 'none'} is now {after}")


@db.command()
@click.option("--older-than", callback=read_span, metavar="SPAN", help="Delivered and discarded deliveries: 30d.")
@click.option("--dead-older-than", callback=read_span, metavar="SPAN", help="Dead deliveries: 90d.")
@click.option(
    "--runs-older-than", callback=read_span, metavar="SPAN", help="Runs, with their deliveries and sessions: 365d."
)
@click.option("--dry-run", is_flag=True, help="Only count them.")
@ledger_options
@json_option
def prune(
    older_than: float | None,
    dead_older_than: float | None,
    runs_older_than: float | None,
    dry_run: bool,
    reference: str | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Delete what finished longer ago than that; without an option, what the retention settings say.

    A run is kept as long as one of its deliveries is not done, or is dead and kept.
    """
    ledger = find_ledger(reference, database)
    if older_than is dead_older_than is runs_older_than is None:
        from hookline.settings import load_settings  # pydantic-settings costs more than all of the core

        request = load_settings().retention.before(time.time())
    else:
        now = time.time()
        request = Prune(
            delivered_before=None if older_than is None else now - older_than,
            dead_before=None if dead_older_than is None else now - dead_older_than,
            runs_before=None if runs_older_than is None else now - runs_older_than,
        )
    pruned = ask(ledger, lambda storage: storage.prune(request, dry_run=dry_run))
    if as_json:
        print_json({**asdict(pruned), "dry_run": dry_run})
    else:
        verb = "would be deleted" if dry_run else "deleted"
        click.echo(f"{pruned.deliveries} deliveries, {pruned.runs} runs and {pruned.sessions} sessions {verb}")
