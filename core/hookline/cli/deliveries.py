"""`hookline deliveries`: look at background hooks, try dead ones again, give some up."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from hookline.cli.ledgers import ask, find_ledger, ledger_options
from hookline.cli.misspelt import warn_of_unknown_names
from hookline.cli.output import json_option, print_fields, print_json, print_listing
from hookline.cli.selection import filter_of, filter_options, many_options, print_count
from hookline.deliveries import DeliveryStatus
from hookline.errors import ConfigurationError
from hookline.jsontext import loads, optional_time_text, time_text
from hookline.mending import DISCARDABLE, REDRIVABLE, count_in
from hookline.storage import Attempt, DeliveryFilter, DeliveryRecord, Storage

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = {
    "DELIVERY": "delivery_id",
    "STATUS": "status",
    "HOOK": "hook",
    "RUNNABLE": "runnable",
    "RUN": "run_id",
    "ATTEMPTS": "attempt_count",
    "DUE": "due",
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
    rows = items if as_json else [{**item, "due": _due(item)} for item in items]
    print_listing(rows, _COLUMNS, as_json=as_json, next_cursor=page.next_cursor, empty="deliveries")
    if not items:
        warn_of_unknown_names(ledger, where, reference if database is None else None)


def _due(item: Mapping[str, Any]) -> str | None:
    """Not before when it starts; of others than pending ones the instant means nothing to people."""
    due_at: str | None = item["due_at"]
    return due_at if item["status"] == DeliveryStatus.PENDING else None


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


def _mending_command(statuses: Sequence[DeliveryStatus]) -> Callable[[F], F]:
    """A command on one delivery or many: which, and what all such commands are told besides."""

    def make(command: F) -> F:
        for add in (json_option, ledger_options, many_options, filter_options):
            command = add(command)
        command = click.option("--status", type=click.Choice([status.value for status in statuses]))(command)
        return click.argument("delivery_id", required=False)(command)

    return make


@deliveries.command()
@_mending_command(REDRIVABLE)
def redrive(**options: Any) -> None:
    """Give a dead or parked delivery fresh attempts, due now; or all that the options choose, the oldest first."""
    _mend(_REDRIVING, **options)


@deliveries.command()
@click.option("--reason", required=True, help="Why; it is kept with the delivery.")
@_mending_command(DISCARDABLE)
def discard(reason: str, **options: Any) -> None:
    """Give a delivery up, and the next one in the line of its run takes its place; or all that the options choose."""
    if not reason.strip():
        raise click.BadParameter("say why", param_hint="--reason")
    _mend(_discarding(reason), **options)


@dataclass(frozen=True, slots=True)
class _Mending:
    """What can be done about deliveries: to one of them, or to the oldest ones that a filter lets through.

    Attributes:
        done: what a delivery is afterwards, as the output says it.
        statuses: of those that it can be done to; `refusal` says so of another one.
        one, many: the storage's operation; the floats are the present instant, the int a limit.
    """

    done: str
    statuses: Sequence[DeliveryStatus]
    refusal: str
    one: Callable[[Storage, str, float], Awaitable[DeliveryRecord | None]]
    many: Callable[[Storage, DeliveryFilter, float, int], Awaitable[int]]


_REDRIVING = _Mending(
    done="redriven",
    statuses=REDRIVABLE,
    refusal="only a dead or parked one can be redriven",
    one=lambda storage, delivery_id, now: storage.redrive(delivery_id, now),
    many=lambda storage, where, now, limit: storage.redrive_many(where, now, limit),
)


def _discarding(reason: str) -> _Mending:
    return _Mending(
        done="discarded",
        statuses=DISCARDABLE,
        refusal="what is running or at its end cannot be discarded",
        one=lambda storage, delivery_id, now: storage.discard(delivery_id, reason, now),
        many=lambda storage, where, now, limit: storage.discard_many(where, reason, now, limit),
    )


def _mend(
    mending: _Mending,
    *,
    delivery_id: str | None,
    status: str | None,
    limit: int,
    dry_run: bool,
    reference: str | None,
    database: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    where = filter_of(status, **chosen)
    _choose_one_or_many(delivery_id, where, dry_run=dry_run)
    ledger = find_ledger(reference, database)
    if delivery_id is not None:
        _print_changed(ask(ledger, lambda storage: _mend_one(storage, mending, delivery_id)), as_json)
        return
    count = ask(ledger, lambda storage: _mend_many(storage, mending, where, limit, dry_run=dry_run))
    print_count(mending.done, count, limit, dry_run=dry_run, as_json=as_json)
    if not count:
        warn_of_unknown_names(ledger, where, reference if database is None else None)


async def _mend_one(storage: Storage, mending: _Mending, delivery_id: str) -> DeliveryRecord:
    found = await _get(storage, delivery_id)
    record = await mending.one(storage, delivery_id, time.time())
    if record is None:
        raise ConfigurationError(f"delivery {delivery_id} is {found.delivery.status}: {mending.refusal}")
    return record


async def _mend_many(storage: Storage, mending: _Mending, where: DeliveryFilter, limit: int, *, dry_run: bool) -> int:
    if dry_run:
        return await count_in(storage, where, mending.statuses, limit)
    return await mending.many(storage, where, time.time(), limit)


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
