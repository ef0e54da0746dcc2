"""A run as a row of the ledger: what is encoded, once, and what must not be kept."""

from __future__ import annotations

from typing import Any

from hookline.errors import HooklineError
from hookline.execution.live_run import LiveRun
from hookline.execution.record import message_of
from hookline.execution.snapshot import encode_snapshot
from hookline.jsontext import dumps
from hookline.runs import RunStatus
from hookline.storage import RunRecord


class NotStorableError(HooklineError):
    """A run holds something that cannot be stored."""


def encode_object(what: str, value: Any) -> str:
    """JSON text of an object.

    Raises:
        NotStorableError: it is no object, or JSON has no form for something in it.
    """
    if value == {}:
        return "{}"
    if not isinstance(value, dict):
        raise NotStorableError(f"{what} must be a dict, and a hook or a tool made it a {type(value).__name__}")
    try:
        return dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotStorableError(f"{what} cannot be stored as JSON: {message_of(error)}") from error


def record_of(run: LiveRun, server_id: str, *, store_rejected_input: bool) -> RunRecord:
    """The row of a run as it is now; only texts that were encoded before go in."""
    output = run.output
    if run.is_accepted or output.status is RunStatus.RUNNING or store_rejected_input:
        kept_input = run.accepted_input if run.is_accepted else run.run_input.input_content
    else:
        kept_input = None
    return RunRecord(
        run_id=run.run_id,
        session_id=run.session_id,
        user_id=run.request.user_id,
        runnable_kind=run.runnable.kind,
        runnable_id=run.runnable.id,
        server_id=run.server_id or server_id,
        created_at=output.created_at,
        status=output.status,
        reason=output.reason,
        parent_run_id=run.request.parent_run_id,
        input=kept_input,
        metadata=run.metadata_text,
        document=run.document or None,
        hook_calls=dumps([call.to_dict() for call in run.hook_calls]) if run.hook_calls else "[]",
        snapshot=_snapshot(run),
        finished_at=output.finished_at,
    )


def _snapshot(run: LiveRun) -> str:
    wanted = run.plan.stored_arguments
    if not wanted:
        return "{}"
    return encode_snapshot(wanted, run.session, run.state_text, run.run_context.dependencies, run.run_id)
