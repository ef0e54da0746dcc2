"""Options that choose deliveries, for commands on many of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from hookline.cli.output import print_json
from hookline.cli.times import read_span
from hookline.storage import DeliveryFilter

F = TypeVar("F", bound=Callable[..., Any])

_FILTERS = (
    click.option("--run", "run_id", metavar="RUN_ID", help="Only those of this run."),
    click.option("--hook", metavar="NAME", help="Only those of hooks with this name."),
    click.option("--runnable", metavar="ID", help="Only those of this agent."),
    click.option("--user", "user_id", metavar="ID", help="Only those of this user's runs."),
    click.option("--replay", "replay_id", metavar="REPLAY_ID", help="Only those that this replay made."),
    click.option("--older-than", callback=read_span, metavar="SPAN", help="Only those made before: 15m, 2h, 30d."),
    click.option("--newer-than", callback=read_span, metavar="SPAN", help="Only those made since: 15m, 2h, 30d."),
)


def filter_options(command: F) -> F:
    """`--run`, `--hook`, `--runnable`, `--user`, `--replay`, `--older-than`, `--newer-than`."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def many_options(command: F) -> F:
    """`--limit`, `--dry-run`."""
    dry_run = click.option("--dry-run", is_flag=True, help="Only count them.")
    limit = click.option(
        "--limit", default=1000, show_default=True, type=click.IntRange(1, 100_000), help="How many at most."
    )
    return limit(dry_run(command))


def filter_of(
    status: str | None, *, older_than: float | None, newer_than: float | None, **filters: str | None
) -> DeliveryFilter:
    """What the options choose."""
    now = time.time()
    return DeliveryFilter(
        status=status,
        created_before=None if older_than is None else now - older_than,
        created_after=None if newer_than is None else now - newer_than,
        **filters,
    )


def print_count(done: str, count: int, limit: int, *, dry_run: bool, as_json: bool) -> None:
    """Say how many were, or would be, `done`."""
    if as_json:
        print_json({done: 0 if dry_run else count, "matched": count, "dry_run": dry_run})
        return
    more = f"; there may be more than this --limit of {limit}" if count == limit else ""
    click.echo(f"{count} would be {done}{more}" if dry_run else f"{count} {done}{more}")
