"""Resources: what is stored about runs, sessions and deliveries, read and steered."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from hookline import AgentOS, Principal, RunOutput, RunStatus, Session
from hookline.jsontext import dumps, loads, time_text
from hookline.storage import DeliveryFilter, DeliveryRecord, Page, RunRecord
from hookline_fastapi.access import caller_of
from hookline_fastapi.body import read_body
from hookline_fastapi.fields import FieldSpec, is_id, read_fields, read_text
from hookline_fastapi.problems import (
    DELIVERY_STATUS,
    RUN_ELSEWHERE,
    RUN_FINISHED,
    Problem,
    not_found,
)
from hookline_fastapi.queries import DeliveryQuery, PageQuery, SessionQuery, bad_cursor, listing
from hookline_fastapi.responses import JsonText

T = TypeVar("T")

DISCARD_FIELDS = {"reason": FieldSpec(read_text, required=True)}


class Runs:
    """Endpoints under `/runs`."""

    def __init__(self, agent_os: AgentOS) -> None:
        self._agent_os = agent_os

    async def get_run(self, run_id: str, request: Request) -> Response:
        """One run; while it is running, what its row tells."""
        return JsonText(run_document(await self._find(run_id, caller_of(request.scope))))

    async def list_run_hooks(self, run_id: str, request: Request) -> Response:
        """What each hook did for a run: inline calls in their order, then deliveries in the order of their line.

        What hooks raised, messages and tracebacks, is told to admins; others read its type.
        """
        principal = caller_of(request.scope)
        run = await self._find(run_id, principal)
        deliveries = await self._agent_os.storage.run_deliveries(run_id)
        calls = [*map(_inline_call, loads(run.hook_calls)), *map(_delivery_call, deliveries)]
        if not principal.is_admin:
            calls = [_without_messages(call) for call in calls]
        return JsonText(listing([dumps(call) for call in calls]))

    async def cancel_run(self, run_id: str, request: Request) -> Response:
        """Ask a run to end as cancelled; it ends in its own time."""
        await _read_no_fields(self._agent_os, request)
        principal = caller_of(request.scope)
        live = self._agent_os.live_runs.get(run_id)
        if live is not None and not principal.may_see(live.request.user_id):
            raise not_found("run", run_id)
        if live is not None and live.cancel():
            document = {"run_id": run_id, "session_id": live.session_id, "status": live.output.status.value}
            return JsonText(dumps(document), 202)
        run = await self._find(run_id, principal)
        if live is None and run.status in (RunStatus.RUNNING, RunStatus.PAUSED):
            detail = f"the run {run_id!r} is {run.status} on another server, which is the one to ask"
            raise Problem(RUN_ELSEWHERE, detail, run_id=run_id)
        raise Problem(RUN_FINISHED, f"the run {run_id!r} has ended, or is just being stored", run_id=run_id)

    async def _find(self, run_id: str, principal: Principal) -> RunRecord:
        storage = self._agent_os.storage
        run = await storage.get_run(run_id) if is_id(run_id) else None
        if run is None or not principal.may_see(run.user_id):
            raise not_found("run", run_id)
        if not principal.is_admin:  # a run that got into somebody else's session may hold what was said there
            session = await storage.get_session(run.session_id)
            if session is not None and not principal.may_see(session.user_id):
                raise not_found("run", run_id)
        return run


class Sessions:
    """Endpoints under `/sessions`."""

    def __init__(self, agent_os: AgentOS) -> None:
        self._agent_os = agent_os

    async def list_sessions(self, query: Annotated[SessionQuery, Query()], request: Request) -> Response:
        """Sessions, newest first; admins see everybody's."""
        principal, user_id = caller_of(request.scope), query.user_id
        if not principal.is_admin:
            if user_id not in (None, principal.user_id):
                return JsonText(listing([]))
            user_id = principal.user_id
        storage = self._agent_os.storage
        page = await _page(storage.list_sessions(user_id=user_id, limit=query.limit, cursor=query.cursor))
        return JsonText(listing([dumps(session.to_dict()) for session in page.items], page.next_cursor))

    async def get_session(self, session_id: str, request: Request) -> Response:
        """One session with its state."""
        session = await self._find(session_id, caller_of(request.scope))
        return JsonText(dumps(session.to_dict()))

    async def list_session_runs(
        self, session_id: str, query: Annotated[PageQuery, Query()], request: Request
    ) -> Response:
        """The runs of a session, newest first."""
        principal = caller_of(request.scope)
        await self._find(session_id, principal)
        page = await _page(self._agent_os.storage.list_runs(session_id, limit=query.limit, cursor=query.cursor))
        seen = [run_document(run) for run in page.items if principal.may_see(run.user_id)]
        return JsonText(listing(seen, page.next_cursor))

    async def _find(self, session_id: str, principal: Principal) -> Session:
        session = await self._agent_os.storage.get_session(session_id) if is_id(session_id) else None
        if session is None or not principal.may_see(session.user_id):
            raise not_found("session", session_id)
        return session


class Deliveries:
    """Endpoints under `/deliveries`."""

    def __init__(self, agent_os: AgentOS) -> None:
        self._agent_os = agent_os

    async def list_deliveries(self, query: Annotated[DeliveryQuery, Query()], request: Request) -> Response:
        """Deliveries, newest first; admins see everybody's, and what was raised."""
        principal = caller_of(request.scope)
        owner = None if principal.is_admin else principal.user_id
        where = DeliveryFilter(status=query.status, run_id=query.run_id, hook=query.hook, user_id=owner)
        page = await _page(self._agent_os.storage.list_deliveries(where, limit=query.limit, cursor=query.cursor))
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
        await _read_no_fields(self._agent_os, request)
        found = await self._find(delivery_id)
        record = await self._agent_os.storage.redrive(delivery_id, time.time())
        if record is None:
            raise _wrong_status(found, "only a dead or parked delivery can be redriven")
        self._agent_os.wake_deliveries()
        return JsonText(_delivery_text(record, caller_of(request.scope)))

    async def discard_delivery(self, delivery_id: str, request: Request) -> Response:
        """Give a delivery up; its `reason` is kept."""
        values = read_fields(await _read(self._agent_os, request), DISCARD_FIELDS)
        found = await self._find(delivery_id)
        record = await self._agent_os.storage.discard(delivery_id, values["reason"], time.time())
        if record is None:
            raise _wrong_status(found, "a delivery that is running or at its end cannot be discarded")
        self._agent_os.wake_deliveries()  # the next in its line may start
        return JsonText(_delivery_text(record, caller_of(request.scope)))

    async def _find(self, delivery_id: str) -> DeliveryRecord:
        record = await self._agent_os.storage.get_delivery(delivery_id) if is_id(delivery_id) else None
        if record is None:
            raise not_found("delivery", delivery_id)
        return record


def run_document(run: RunRecord) -> str:
    """The JSON text of a stored run; of one that is running, what its row tells."""
    if run.document is not None:
        return run.document
    output = RunOutput(
        run_id=run.run_id,
        session_id=run.session_id,
        runnable_kind=run.runnable_kind,
        runnable_id=run.runnable_id,
        user_id=run.user_id,
        status=run.status,
        reason=run.reason,
        metadata=loads(run.metadata),
        created_at=run.created_at,
        finished_at=run.finished_at,
    )
    return dumps(output.to_dict())


def _inline_call(call: dict[str, Any]) -> dict[str, Any]:
    names = ("hook", "phase", "plugin", "status", "started_at", "duration", "error")
    return {"kind": "inline", **{name: call[name] for name in names}, "delivery_id": None, "attempts": []}


def _delivery_call(record: DeliveryRecord) -> dict[str, Any]:
    delivery = record.delivery
    attempts = [
        {
            "number": attempt.number,
            "started_at": time_text(attempt.started_at),
            "duration": attempt.duration,
            "outcome": attempt.outcome,
            "error": loads(attempt.error) if attempt.error else None,
        }
        for attempt in record.attempts
    ]
    first, latest = (attempts[0], attempts[-1]) if attempts else ({}, {})
    return {
        "kind": "delivery",
        "hook": delivery.hook,
        "phase": delivery.phase,
        "plugin": record.plugin,
        "status": delivery.status.value,
        "started_at": first.get("started_at"),
        "duration": latest.get("duration"),
        "error": latest.get("error"),
        "delivery_id": delivery.delivery_id,
        "attempts": attempts,
    }


def _without_messages(call: dict[str, Any]) -> dict[str, Any]:
    attempts = [{**attempt, "error": _only_type(attempt["error"])} for attempt in call["attempts"]]
    return {**call, "error": _only_type(call["error"]), "attempts": attempts}


def _only_type(error: dict[str, Any] | None) -> dict[str, Any] | None:
    return error and {"type": error["type"], "message": None, "traceback": None}


def _delivery_text(record: DeliveryRecord, principal: Principal) -> str:
    data = record.delivery.to_dict()
    return dumps(data if principal.is_admin else {**data, "last_error": None})


def _wrong_status(record: DeliveryRecord, rule: str) -> Problem:
    delivery = record.delivery
    return Problem(DELIVERY_STATUS, f"{rule}; {delivery.delivery_id!r} was {delivery.status}", run_id=delivery.run_id)


async def _page(listing_: Awaitable[Page[T]]) -> Page[T]:
    try:
        return await listing_
    except ValueError:
        raise bad_cursor() from None


async def _read(agent_os: AgentOS, request: Request) -> Any:
    return await read_body(request.scope, request.receive, agent_os.settings.max_body_size)


async def _read_no_fields(agent_os: AgentOS, request: Request) -> None:
    read_fields(await _read(agent_os, request), {})
