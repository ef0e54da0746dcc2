"""Endpoints under `/deliveries`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from hookline import AgentOS, Principal
from hookline.ids import is_id
from hookline.jsontext import dumps
from hookline.mending import DISCARDABLE, REDRIVABLE, count_in
from hookline.storage import DeliveryFilter, DeliveryRecord
from hookline_fastapi.access import caller_of
from hookline_fastapi.fields import (
    FieldSpec,
    read_bool,
    read_count,
    read_instant,
    read_text,
    read_values,
    read_word,
)
from hookline_fastapi.problems import DELIVERY_STATUS, FieldError, Problem, invalid, not_found
from hookline_fastapi.queries import DeliveryQuery, listing, page_of
from hookline_fastapi.responses import JsonText

MOST_AT_ONCE = 1000
"""Deliveries that are redriven or discarded by one request, unless it says how many."""

MOST_EVER = 100_000

_TEXT, _INSTANT = FieldSpec(read_text), FieldSpec(read_instant)

DISCARD_FIELDS = {"reason": FieldSpec(read_text, required=True)}

FILTERS = {
    "run_id": _TEXT,
    "hook": _TEXT,
    "runnable": _TEXT,
    "user_id": _TEXT,
    "replay_id": _TEXT,
    "created_after": _INSTANT,
    "created_before": _INSTANT,
    "dry_run": FieldSpec(read_bool),
    "limit": FieldSpec(read_count(MOST_EVER)),
}

REDRIVE_MANY = {"status": FieldSpec(read_word(*REDRIVABLE)), **FILTERS}

DISCARD_MANY = {**DISCARD_FIELDS, "status": FieldSpec(read_word(*DISCARDABLE)), **FILTERS}


class Deliveries:
    """Endpoints under `/deliveries`."""

    def __init__(self, agent_os: AgentOS) -> None:
        self._agent_os = agent_os

    async def list_deliveries(self, query: Annotated[DeliveryQuery, Query()], request: Request) -> Response:
        """Deliveries, newest first; admins see everybody's, and what was raised."""
        principal, where = caller_of(request.scope), query.where()
        if not principal.is_admin:
            if where.user_id not in (None, principal.user_id):
                return JsonText(listing([]))
            where.user_id = principal.user_id
        page = await page_of(self._agent_os.storage.list_deliveries(where, limit=query.limit, cursor=query.cursor))
        return JsonText(listing([_delivery_text(record, principal) for record in page.items], page.next_cursor))

    async def get_delivery(self, delivery_id: str, request: Request) -> Response:
        """One delivery; what was raised is told to admins."""
        principal = caller_of(request.scope)
        record = await self._find(delivery_id)
        if not principal.may_see(record.user_id):
            raise not_found("delivery", delivery_id)
        return JsonText(_delivery_text(record, principal))

    async def redrive_delivery(self, delivery_id: str, request: Request) -> Response:
        """Give a dead or parked delivery fresh attempts, due now."""
        await self._read(request, {})
        found = await self._find(delivery_id)
        record = await self._agent_os.storage.redrive(delivery_id, self._agent_os.clock.time())
        if record is None:
            raise _wrong_status(found, "only a dead or parked delivery can be redriven")
        self._agent_os.wake_deliveries()
        return JsonText(_delivery_text(record, caller_of(request.scope)))

    async def discard_delivery(self, delivery_id: str, request: Request) -> Response:
        """Give a delivery up; its `reason` is kept."""
        values = await self._read(request, DISCARD_FIELDS)
        found = await self._find(delivery_id)
        record = await self._agent_os.storage.discard(delivery_id, values["reason"], self._agent_os.clock.time())
        if record is None:
            raise _wrong_status(found, "a delivery that is running or at its end cannot be discarded")
        self._agent_os.wake_deliveries()  # the next in its line may start
        return JsonText(_delivery_text(record, caller_of(request.scope)))

    async def redrive_deliveries(self, request: Request) -> Response:
        """Give the oldest dead and parked deliveries that the fields let through fresh attempts, due now."""
        values = await self._read(request, REDRIVE_MANY)
        where, limit = _chosen(values)
        matched = await count_in(self._agent_os.storage, where, REDRIVABLE, limit)
        changed = 0
        if not values["dry_run"]:
            changed = await self._agent_os.storage.redrive_many(where, self._agent_os.clock.time(), limit)
            self._agent_os.wake_deliveries()
        return _outcome(matched, changed, values)

    async def discard_deliveries(self, request: Request) -> Response:
        """Give up the oldest deliveries that the fields let through and that wait; the `reason` is kept with each."""
        values = await self._read(request, DISCARD_MANY)
        where, limit = _chosen(values)
        matched = await count_in(self._agent_os.storage, where, DISCARDABLE, limit)
        changed = 0
        if not values["dry_run"]:
            storage, now = self._agent_os.storage, self._agent_os.clock.time()
            changed = await storage.discard_many(where, values["reason"], now, limit)
            self._agent_os.wake_deliveries()
        return _outcome(matched, changed, values)

    async def _read(self, request: Request, specs: Mapping[str, FieldSpec]) -> dict[str, Any]:
        return await read_values(request, specs, self._agent_os.settings.max_body_size)

    async def _find(self, delivery_id: str) -> DeliveryRecord:
        record = await self._agent_os.storage.get_delivery(delivery_id) if is_id(delivery_id) else None
        if record is None:
            raise not_found("delivery", delivery_id)
        return record


def _delivery_text(record: DeliveryRecord, principal: Principal) -> str:
    data = record.delivery.to_dict()
    return dumps(data if principal.is_admin else {**data, "last_error": None})


def _wrong_status(record: DeliveryRecord, rule: str) -> Problem:
    delivery = record.delivery
    return Problem(DELIVERY_STATUS, f"{rule}; {delivery.delivery_id!r} was {delivery.status}", run_id=delivery.run_id)


def _chosen(values: Mapping[str, Any]) -> tuple[DeliveryFilter, int]:
    """Which deliveries are meant, and how many at most.

    Raises:
        Problem: no filter is given.
    """
    where = DeliveryFilter(**{field.name: values[field.name] for field in fields(DeliveryFilter)})
    if where == DeliveryFilter():
        raise invalid([FieldError("body", "must say which deliveries: give at least one filter, such as hook")])
    return where, values["limit"] or MOST_AT_ONCE


def _outcome(matched: int, changed: int, values: Mapping[str, Any]) -> Response:
    return JsonText(dumps({"matched": matched, "changed": changed, "dry_run": bool(values["dry_run"])}))
