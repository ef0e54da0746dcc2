"""`hookline deliveries`: look at background hooks, try dead ones again, give some up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hookline.cli.group import load_registry
from hookline.cli.loading import app_option, find_app
from hookline.cli.output import json_option, print_fields, print_json, print_listing
from hookline.deliveries import DeliveryStatus
from hookline.errors import ConfigurationError
from hookline.jsontext import loads, optional_time_text, time_text
from hookline.storage import Attempt, Database, DeliveryFilter, DeliveryRecord, Storage

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_COLUMNS = {
    "DELIVERY": "delivery_id",
    "STATUS": "status",
    "HOOK": "hook",
    "RUNNABLE": "runnable",
    "RUN": "run_id",
    "ATTEMPTS": "attempt_count",
    "LAST ERROR": "last_error",
}


@click.group()
def deliveries() -> None:
    """Look at deliveries: the background hooks of runs.

    The ledger is that of --app, the file --db, or else the one that the settings name (hookline.db).
    """


def _ledger_options(command: F) -> F:
    return app_option(
        click.option("--db", "database", metavar="FILE", help="The ledger itself: its file, or its URL.")(command)
    )


@deliveries.command("list")
@click.option("--status", type=click.Choice([status.value for status in DeliveryStatus]))
@click.option("--run", "run_id", metavar="RUN_ID")
@click.option("--hook", metavar="NAME")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 200))
@click.option("--cursor", help="Where a listing before ended.")
@_ledger_options
@json_option
def list_deliveries(
    status: str | None,
    run_id: str | None,
    hook: str | None,
    limit: int,
    cursor: str | None,
    reference: str | None,
    database: str | None,
    as_json: bool,
) -> None:
    """List deliveries, newest first."""
    where = DeliveryFilter(status=status, run_id=run_id, hook=hook)
    ledger = _find_ledger(reference, database)
    try:
        page = _ask(ledger, lambda storage: storage.list_deliveries(where, limit=limit, cursor=cursor))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--cursor") from None
    items = [record.delivery.to_dict() for record in page.items]
    print_listing(items, _COLUMNS, as_json=as_json, next_cursor=page.next_cursor, empty="deliveries")


@deliveries.command()
@click.argument("delivery_id")
@_ledger_options
@json_option
def show(delivery_id: str, reference: str | None, database: str | None, as_json: bool) -> None:
    """Tell all about one delivery, with its attempts and their tracebacks."""
    record = _ask(_find_ledger(reference, database), lambda storage: _get(storage, delivery_id))
    if as_json:
        print_json(_to_dict(record))
    else:
        _print(record)


@deliveries.command()
@click.argument("delivery_id")
@_ledger_options
@json_option
def redrive(delivery_id: str, reference: str | None, database: str | None, as_json: bool) -> None:
    """Give a dead or parked delivery fresh attempts, due now."""

    async def act(storage: Storage) -> DeliveryRecord:
        found = await _get(storage, delivery_id)
        record = await storage.redrive(delivery_id, time.time())
        if record is None:
            raise ConfigurationError(
                f"delivery {delivery_id} is {found.delivery.status}: only a dead or parked one can be redriven"
            )
        return record

    _print_changed(_ask(_find_ledger(reference, database), act), as_json)


@deliveries.command()
@click.argument("delivery_id")
@click.option("--reason", required=True, help="Why; it is kept with the delivery.")
@_ledger_options
@json_option
def discard(delivery_id: str, reason: str, reference: str | None, database: str | None, as_json: bool) -> None:
    """Give a delivery up; the next one in the line of its run takes its place."""
    if not reason.strip():
        raise click.BadParameter("say why", param_hint="--reason")

    async def act(storage: Storage) -> DeliveryRecord:
        found = await _get(storage, delivery_id)
        record = await storage.discard(delivery_id, reason, time.time())
        if record is None:
            raise ConfigurationError(
                f"delivery {delivery_id} is {found.delivery.status}: what is running or at its end cannot be discarded"
            )
        return record

    _print_changed(_ask(_find_ledger(reference, database), act), as_json)


def _find_ledger(reference: str | None, database: str | None) -> Database:
    if database is not None and _given_on_command_line("reference"):
        raise click.UsageError("give one of --app and --db")
    if database is None and reference is not None:
        return find_app(reference).agent_os.load().database
    return _named_ledger(database)


def _given_on_command_line(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is click.core.ParameterSource.COMMANDLINE


def _named_ledger(database: str | None) -> Database:
    from hookline.settings import load_settings  # pydantic-settings costs more than all of the core

    settings = load_settings()
    name = database or settings.database
    if ":" not in name and not Path(name).is_file():
        mend = "" if database else "; name another one with --db FILE or --app module:agent_os"
        raise ConfigurationError(f"there is no ledger {name}{mend}")
    return load_registry().storage(settings.storage)(name)


def _ask(ledger: Database, act: Callable[[Storage], Awaitable[T]]) -> T:
    """Open the ledger, do one thing with it, and close it."""

    async def run() -> T:
        storage = await asyncio.to_thread(ledger.open)
        try:
            return await act(storage)
        finally:
            await storage.close()

    return asyncio.run(run())


async def _get(storage: Storage, delivery_id: str) -> DeliveryRecord:
    record = await storage.get_delivery(delivery_id)
    if record is None:
        raise ConfigurationError(f"there is no delivery {delivery_id} in {storage.description}")
    return record


def _to_dict(record: DeliveryRecord) -> dict[str, Any]:
    return {
        **record.delivery.to_dict(),
        "plugin": record.plugin,
        "created_at": time_text(record.created_at),
        "finished_at": optional_time_text(record.finished_at),
        "interruptions": record.interruptions,
        "discard_reason": record.discard_reason,
        "attempts": [_attempt_to_dict(attempt) for attempt in record.attempts],
    }


def _attempt_to_dict(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "started_at": time_text(attempt.started_at),
        "duration": attempt.duration,
        "outcome": attempt.outcome,
        "error": loads(attempt.error) if attempt.error else None,
    }


def _print(record: DeliveryRecord) -> None:
    fields = _to_dict(record)
    attempts = fields.pop("attempts")
    print_fields(fields)
    for attempt in attempts:
        click.echo(
            f"\nattempt {attempt['number']}: {attempt['outcome']} after {attempt['duration']:.3f} s, "
            f"started {attempt['started_at']}"
        )
        error = attempt["error"]
        if error:
            click.echo((error.get("traceback") or f"{error['type']}: {error['message']}").rstrip())


def _print_changed(record: DeliveryRecord, as_json: bool) -> None:
    if as_json:
        print_json(record.delivery.to_dict())
    else:
        print_fields(record.delivery.to_dict())
