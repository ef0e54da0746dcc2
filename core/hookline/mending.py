"""Mending many deliveries at once: which can be redriven or discarded, and how many a filter means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hookline.deliveries import DeliveryStatus
from hookline.storage import DeliveryFilter, Storage

REDRIVABLE = (DeliveryStatus.DEAD, DeliveryStatus.PARKED)
"""The statuses of deliveries that can be redriven."""

DISCARDABLE = (DeliveryStatus.WAITING, DeliveryStatus.PENDING, DeliveryStatus.PARKED)
"""The statuses of deliveries that can be discarded."""


async def count_in(storage: Storage, where: DeliveryFilter, statuses: Iterable[DeliveryStatus], limit: int) -> int:
    """How many deliveries in these statuses a filter lets through, counted up to `limit`."""
    counted = 0
    for status in statuses:
        if where.status in (None, status):
            counted += await storage.count_deliveries(replace(where, status=status), limit)
    return min(counted, limit)
