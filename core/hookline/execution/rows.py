"""A run as rows of the ledger: what is encoded, once, and what must not be kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hookline.errors import HooklineError
from hookline.execution.live_run import LiveRun
from hookline.execution.record import message_of
from hookline.execution.scheduling import Scheduler
from hookline.execution.snapshot import encode_snapshot
from hookline.jsontext import dumps
from hookline.runs import RunStatus
from hookline.storage import FinishRun, RunRecord


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


class Rows:
    """Makes rows of runs.

    Args:
        scheduler: makes the deliveries of an outcome.
        server_id: who executes the runs.
        store_rejected_input: whether the text of a rejected input is kept.
    """

    def __init__(self, scheduler: Scheduler, server_id: str, *, store_rejected_input: bool) -> None:
        self._scheduler = scheduler
        self._server_id = server_id
        self._store_rejected_input = store_rejected_input

    def record_of(self, run: LiveRun) -> RunRecord:
        """The row of a run as it is now; only texts that were encoded before go in."""
        output = run.output
        if run.is_accepted or output.status is RunStatus.RUNNING or self._store_rejected_input:
            kept_input = run.accepted_input if run.is_accepted else run.run_input.input_content
        else:
            kept_input = None
        return RunRecord(
            run_id=run.run_id,
            session_id=run.session_id,
            user_id=run.request.user_id,
            runnable_kind=run.runnable.kind,
            runnable_id=run.runnable.id,
            server_id=run.server_id or self._server_id,
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

    def present_record_of(self, run: LiveRun) -> RunRecord:
        """The row as it would be stored now: what a hook marked for the background sees where it is called inline.

        Raises:
            NotStorableError: the state or the metadata cannot be stored.
        """
        run.state_text = encode_object("session_state", run.run_context.session_state)
        run.metadata_text = encode_object("metadata", run.output.metadata)
        present = replace(self.record_of(run), document=dumps(run.output.to_dict()))
        return present if run.is_accepted else replace(present, input=run.run_input.input_content)

    def finish_request(self, run: LiveRun, *, accepted: bool) -> FinishRun:
        """What commit 2 stores; `accepted`: whether the run may be in the ledger already."""
        status, plan = run.output.status, run.plan
        hooks = [hook for hook in plan.post_background if status in hook.on]
        return FinishRun(
            run=self.record_of(run),
            accepted=accepted,
            deliveries=self._scheduler.schedule(run, hooks, first_position=len(plan.pre_background)),
            session_state=run.state_text if run.state_text != run.stored_state else None,
            now=run.clock.time(),
        )


def _snapshot(run: LiveRun) -> str:
    wanted = run.plan.stored_arguments
    if not wanted:
        return "{}"
    return encode_snapshot(wanted, run.session, run.state_text, run.run_context.dependencies, run.run_id)
