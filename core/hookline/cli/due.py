"""What is due in a ledger: a process that opens the AgentOS for a while executes that, too, and says so before."""

from __future__ import annotations

import logging
import time

import click

from hookline.cli.ledgers import ask, is_there
from hookline.deliveries import DeliveryStatus
from hookline.storage import Database, DeliveryFilter, Storage

MOST_COUNTED = 1000
"""So many of the newest pending deliveries are looked at."""


def announce_due(ledger: Database, *, replay_id: str | None = None) -> None:
    """Say on stderr how many deliveries are due, but for those of the replay that is gone on with.

    That another server uses the ledger is not said from here on: it is what a command beside a server expects.
    """
    logging.getLogger("hookline.servers").setLevel(logging.ERROR)
    count, is_all = ask(ledger, lambda storage: _count(storage, replay_id)) if is_there(ledger) else (0, True)
    if count:
        what = "delivery is due and runs" if count == 1 else "deliveries are due and run"
        click.echo(f"{'' if is_all else 'at least '}{count} other {what} here, too", err=True)


async def _count(storage: Storage, replay_id: str | None) -> tuple[int, bool]:
    where = DeliveryFilter(status=DeliveryStatus.PENDING.value)
    page = await storage.list_deliveries(where, limit=MOST_COUNTED, cursor=None)
    now = time.time()
    count = sum(
        (each.delivery.due_at or 0.0) <= now and (replay_id is None or each.delivery.replay_id != replay_id)
        for each in page.items
    )
    return count, page.next_cursor is None
