"""Endpoints under `/runs`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hookline import AgentOS, Principal, RunOutput, RunStatus
from hookline.ids import is_id
from hookline.jsontext import dumps, loads, time_text
from hookline.storage import DeliveryRecord, RunRecord
from hookline_fastapi.access import caller_of
from hookline_fastapi.fields import read_values
from hookline_fastapi.problems import RUN_ELSEWHERE, RUN_FINISHED, Problem, not_found
from hookline_fastapi.queries import listing
from hookline_fastapi.responses import JsonText


class Runs:
    """Endpoints under `/runs`."""

    def __init__(self, agent_os: AgentOS) -> None:
        self._agent_os = agent_os

    async def get_run(self, run_id: str, request: Request) -> Response:
        """One run; while it is running, what its row tells."""
        return JsonText(run_document(await self._find(run_id, caller_of(request.scope))))

    async def list_run_hooks(self, run_id: str, request: Request) -> Response:
        """What each hook did for a run, on one time line: by the instant it was first begun; then what was not yet.

        What hooks raised, messages and tracebacks, is told to admins; others read its type.
        """
        principal = caller_of(request.scope)
        run = await self._find(run_id, principal)
        deliveries = await self._agent_os.storage.run_deliveries(run_id)
        calls = sorted([*map(_inline_call, loads(run.hook_calls)), *map(_delivery_call, deliveries)], key=_begun)
        if not principal.is_admin:
            calls = [_without_messages(call) for call in calls]
        return JsonText(listing([dumps(call) for call in calls]))

    async def cancel_run(self, run_id: str, request: Request) -> Response:
        """Ask a run to end as cancelled; it ends in its own time."""
        await read_values(request, {}, self._agent_os.settings.max_body_size)
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
    return {
        "kind": "inline",
        **{name: call[name] for name in names},
        "guardrail_mode": call.get("guardrail_mode"),
        "check_trigger": call["details"].get("check_trigger"),
        "delivery_id": None,
        "replay_id": None,
        "attempts": [],
    }


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
        "guardrail_mode": None,
        "check_trigger": None,
        "delivery_id": delivery.delivery_id,
        "replay_id": delivery.replay_id,
        "attempts": attempts,
    }


def _begun(call: dict[str, Any]) -> tuple[bool, str]:
    """Sorts by the first start; all instants are texts of one form."""
    return call["started_at"] is None, call["started_at"] or ""


def _without_messages(call: dict[str, Any]) -> dict[str, Any]:
    attempts = [{**attempt, "error": _only_type(attempt["error"])} for attempt in call["attempts"]]
    return {**call, "error": _only_type(call["error"]), "attempts": attempts}


def _only_type(error: dict[str, Any] | None) -> dict[str, Any] | None:
    return error and {"type": error["type"], "message": None, "traceback": None}
