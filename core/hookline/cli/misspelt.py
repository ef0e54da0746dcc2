"""Filters that name what is not there: most often it is misspelt."""

from __future__ import annotations

from collections.abc import Collection

import click

from hookline.cli.ledgers import ask
from hookline.cli.loading import find_app
from hookline.deliveries import HookKey
from hookline.plugins.checking import meant
from hookline.storage import Database, DeliveryFilter, Storage

_NEWEST = 200
"""In so many of the newest deliveries names are looked for that the statistics of hooks do not have yet."""


def warn_of_unknown_names(ledger: Database, where: DeliveryFilter, reference: str | None) -> None:
    """Say on stderr what a filter, which let nothing through, names that neither the ledger nor the app has.

    Args:
        ledger: where nothing was found.
        where: the filter.
        reference: the app, `module:attribute`, whose hooks and runnables are known, too.
    """
    if (where.hook, where.runnable, where.run_id, where.replay_id) == (None, None, None, None):
        return
    planned = [] if reference is None else _keys_of_app(reference)
    for sentence in ask(ledger, lambda storage: _unknown(storage, where, planned)):
        click.echo(f"Warning: {sentence}", err=True)


def _keys_of_app(reference: str) -> list[HookKey]:
    agent_os = find_app(reference).agent_os.load()
    return [
        HookKey(runnable.id, item.phase, item.name)
        for runnable in agent_os.runnables.values()
        for item in agent_os.plan_of(runnable).items
    ]


async def _unknown(storage: Storage, where: DeliveryFilter, planned: Collection[HookKey]) -> list[str]:
    """A sentence for each name that is unknown."""
    found = []
    for field in ("hook", "runnable"):
        name = getattr(where, field)
        known = {getattr(key, field) for key in planned}
        if name is None or name in known or await storage.count_deliveries(DeliveryFilter(**{field: name}), 1):
            continue
        known |= {getattr(key, field) for key in await _keys_in(storage)}
        found.append(f"there is no {field} {name!r} in {storage.description}{meant(name, known)}")
    if where.run_id is not None and await storage.get_run(where.run_id) is None:
        found.append(f"there is no run {where.run_id} in {storage.description}")
    if where.replay_id is not None and await storage.get_replay(where.replay_id) is None:
        found.append(f"there is no replay {where.replay_id} in {storage.description}")
    return found


async def _keys_in(storage: Storage) -> set[HookKey]:
    """The hooks that the ledger's deliveries are of."""
    page = await storage.list_deliveries(DeliveryFilter(), limit=_NEWEST, cursor=None)
    return {stats.key for stats in await storage.hook_stats(0.0)} | {record.delivery.key for record in page.items}
