"""`hookline deliveries`: look at background hooks, try dead ones again, give some up."""

from __future__ import annotations

import time
from typing import Any

import click

from hookline.cli.ledgers import ask, find_ledger, ledger_options
from hookline.cli.output import json_option, print_fields, print_json, print_listing
from hookline.cli.selection import filter_of, filter_options, many_options, print_count
from hookline.deliveries import DeliveryStatus
from hookline.errors import ConfigurationError
from hookline.jsontext import loads, optional_time_text, time_text
from hookline.mending import DISCARDABLE, REDRIVABLE, count_in
from hookline.storage import Attempt, DeliveryFilter, DeliveryRecord, Storage

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


@deliveries.command("list")
@click.option("--status", type=click.Choice([status.value for status in DeliveryStatus]))
@filter_options
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 200))
@click.option("--cursor", help="Where a listing before ended.")
@ledger_options
@json_option
def list_deliveries(
    status: str | None,
    limit: int,
    cursor: str | None,
    reference: str | None,
    database: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """List deliveries, newest first."""
    where = filter_of(status, **chosen)
    ledger = find_ledger(reference, database)
    try:
        page = ask(ledger, lambda storage: storage.list_deliveries(where, limit=limit, cursor=cursor))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--cursor") from None
    items = [record.delivery.to_dict() for record in page.items]
    print_listing(items, _COLUMNS, as_json=as_json, next_cursor=page.next_cursor, empty="deliveries")


@deliveries.command()
@click.argument("delivery_id")
@ledger_options
@json_option
def show(delivery_id: str, reference: str | None, database: str | None, as_json: bool) -> None:
    """Tell all about one delivery, with its attempts and their tracebacks."""
    record = ask(find_ledger(reference, database), lambda storage: _get(storage, delivery_id))
    if as_json:
        print_json(_to_dict(record))
    else:
        _print(record)


@deliveries.command()
@click.argument("delivery_id", required=False)
@click.option("--status", type=click.Choice([status.value for status in REDRIVABLE]))
@filter_options
@many_options
@ledger_options
@json_option
def redrive(
    delivery_id: str | None,
    status: str | None,
    limit: int,
    dry_run: bool,
    reference: str | None,
    database: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Give a dead or parked delivery fresh attempts, due now; or all that the options choose, the oldest first."""
    where = filter_of(status, **chosen)
    _choose_one_or_many(delivery_id, where, dry_run=dry_run)

    async def one(storage: Storage) -> DeliveryRecord:
        found = await _get(storage, str(delivery_id))
        record = await storage.redrive(str(delivery_id), time.time())
        if record is None:
            raise ConfigurationError(
                f"delivery {delivery_id} is {found.delivery.status}: only a dead or parked one can be redriven"
            )
        return record

    async def many(storage: Storage) -> int:
        if dry_run:
            return await count_in(storage, where, REDRIVABLE, limit)
        return await storage.redrive_many(where, time.time(), limit)

    ledger = find_ledger(reference, database)
    if delivery_id is not None:
        _print_changed(ask(ledger, one), as_json)
    else:
        print_count("redriven", ask(ledger, many), limit, dry_run=dry_run, as_json=as_json)


@deliveries.command()
@click.argument("delivery_id", required=False)
@click.option("--reason", required=True, help="Why; it is kept with the delivery.")
@click.option("--status", type=click.Choice([status.value for status in DISCARDABLE]))
@filter_options
@many_options
@ledger_options
@json_option
def discard(
    delivery_id: str | None,
    reason: str,
    status: str | None,
    limit: int,
    dry_run: bool,
    reference: str | None,
    database: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Give a delivery up, and the next one in the line of its run takes its place; or all that the options choose."""
    if not reason.strip():
        raise click.BadParameter("say why", param_hint="--reason")
    where = filter_of(status, **chosen)
    _choose_one_or_many(delivery_id, where, dry_run=dry_run)

    async def one(storage: Storage) -> DeliveryRecord:
        found = await _get(storage, str(delivery_id))
        record = await storage.discard(str(delivery_id), reason, time.time())
        if record is None:
            raise ConfigurationError(
                f"delivery {delivery_id} is {found.delivery.status}: what is running or at its end cannot be discarded"
            )
        return record

    async def many(storage: Storage) -> int:
        if dry_run:
            return await count_in(storage, where, DISCARDABLE, limit)
        return await storage.discard_many(where, reason, time.time(), limit)

    ledger = find_ledger(reference, database)
    if delivery_id is not None:
        _print_changed(ask(ledger, one), as_json)
    else:
        print_count("discarded", ask(ledger, many), limit, dry_run=dry_run, as_json=as_json)


def _choose_one_or_many(delivery_id: str | None, where: DeliveryFilter, *, dry_run: bool) -> None:
    if delivery_id is None and where == DeliveryFilter():
        raise click.UsageError("name a delivery, or choose some: --hook, --status, --runnable, --older-than, ...")
    if delivery_id is not None and (dry_run or where != DeliveryFilter()):
        raise click.UsageError("give either a delivery's id, or options that choose")


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
