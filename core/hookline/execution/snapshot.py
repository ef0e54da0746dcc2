"""Snapshots: what a background hook is given, decoded afresh for each call so that no reference is shared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from hookline.deliveries import Delivery
from hookline.jsontext import dumps, loads
from hookline.runnable import Runnable
from hookline.runs import Metrics, RunContext, RunError, RunInput, RunOutput
from hookline.sessions import Session
from hookline.storage import RunRecord

logger = logging.getLogger("hookline.runs")


def encode_snapshot(
    wanted: frozenset[str], session: Session, session_state: str, dependencies: dict[str, Any], run_id: str
) -> str:
    """JSON text of what the background hooks of a run need beyond the run itself.

    Only what one of them names (`wanted`) is kept; a dependency that JSON has no form for is left out with a warning.
    """
    parts: list[str] = []
    if not wanted.isdisjoint({"session_state", "run_context", "session"}):
        parts.append(f'"session_state":{session_state}')
    if "session" in wanted:
        times = {"user_id": session.user_id, "created_at": session.created_at, "updated_at": session.updated_at}
        parts.append(f'"session":{dumps(times)}')
    if "dependencies" in wanted and dependencies:
        parts.append(f'"dependencies":{_encode_dependencies(dependencies, run_id)}')
    return "{" + ",".join(parts) + "}"


def _encode_dependencies(dependencies: dict[str, Any], run_id: str) -> str:
    parts = []
    for key, value in dependencies.items():
        try:
            parts.append(f"{dumps(str(key))}:{dumps(value)}")
        except (TypeError, ValueError) as error:
            logger.warning(
                "dependency %r cannot be stored and is left out for background hooks: %s",
                key,
                error,
                extra={"run_id": run_id},
            )
    return "{" + ",".join(parts) + "}"


def output_of(run: RunRecord) -> RunOutput:
    """The run as it was stored; of a run that never ended properly, what its row tells."""
    if run.document is not None:
        return RunOutput.from_dict(loads(run.document))
    return RunOutput(
        run_id=run.run_id,
        session_id=run.session_id,
        runnable_kind=run.runnable_kind,
        runnable_id=run.runnable_id,
        user_id=run.user_id,
        status=run.status,
        reason=run.reason,
        metrics=Metrics(),
        error=RunError("Interrupted", run.reason) if run.reason else None,
        metadata=loads(run.metadata),
        created_at=run.created_at,
        finished_at=run.finished_at,
    )


def snapshot_arguments(
    run: RunRecord, delivery: Delivery, runnable: Runnable, names: Collection[str]
) -> dict[str, Any]:
    """The arguments of one call of a background hook, each an object of its own."""
    return {name: _MAKERS[name](run, delivery, runnable) for name in names if name in _MAKERS} | {
        name: runnable for name in names if name == runnable.kind
    }


def _extra(run: RunRecord) -> dict[str, Any]:
    extra: dict[str, Any] = loads(run.snapshot)
    return extra


def _context(run: RunRecord, _delivery: Delivery, _runnable: Runnable) -> RunContext:
    extra = _extra(run)
    return RunContext(
        run_id=run.run_id,
        session_id=run.session_id,
        user_id=run.user_id,
        session_state=extra.get("session_state", {}),
        dependencies=extra.get("dependencies", {}),
        metadata=loads(run.metadata),
    )


def _session(run: RunRecord, _delivery: Delivery, _runnable: Runnable) -> Session:
    extra = _extra(run)
    kept = extra.get("session", {"user_id": run.user_id})
    return Session(run.session_id, session_state=extra.get("session_state", {}), **kept)


_MAKERS: dict[str, Callable[[RunRecord, Delivery, Runnable], Any]] = {
    "run_input": lambda run, _delivery, _runnable: RunInput(run.input or ""),
    "run_output": lambda run, _delivery, _runnable: output_of(run),
    "run_context": _context,
    "session": _session,
    "session_state": lambda run, _delivery, _runnable: _extra(run).get("session_state", {}),
    "dependencies": lambda run, _delivery, _runnable: _extra(run).get("dependencies", {}),
    "metadata": lambda run, _delivery, _runnable: loads(run.metadata),
    "user_id": lambda run, _delivery, _runnable: run.user_id,
    "delivery": lambda _run, delivery, _runnable: replace(delivery),
    "runnable": lambda _run, _delivery, runnable: runnable,
    "debug_mode": lambda _run, _delivery, _runnable: False,
}
