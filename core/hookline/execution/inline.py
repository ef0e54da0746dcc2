"""Inline hooks: called one after the other within the run, each call written down."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from hookline.calling import Callee, Caller
from hookline.deliveries import Delivery, DeliveryStatus
from hookline.errors import CheckError, HookError, HooklineError
from hookline.events import EventName
from hookline.execution.live_run import LiveRun
from hookline.execution.record import CallStatus, HookCall, describe_error, details_of, message_of, worth_tracing
from hookline.execution.snapshot import snapshot_arguments
from hookline.hook_options import GuardrailMode
from hookline.plan import PlannedHook
from hookline.storage import RunRecord
from hookline.threads import DaemonThreads

logger = logging.getLogger("hookline.hooks")

MAX_GUARD_ROUNDS = 3

_EVENTS = {
    "pre": (EventName.PRE_HOOK_STARTED, EventName.PRE_HOOK_COMPLETED, EventName.PRE_HOOK_FAILED),
    "post": (EventName.POST_HOOK_STARTED, EventName.POST_HOOK_COMPLETED, EventName.POST_HOOK_FAILED),
}


class RunRejectedError(HooklineError):
    """An inline hook raised a check error; `hook` is its name."""

    def __init__(self, hook: str, check: CheckError) -> None:
        super().__init__(f"rejected by the hook {hook!r}")
        self.hook = hook
        self.check = check


class HookFailedError(HookError):
    """A hook whose failure fails the run failed."""

    def __init__(self, hook: str, *, guardrail: bool, cause: BaseException) -> None:
        what = "guardrail" if guardrail else "hook"
        super().__init__(f"the {what} {hook!r} failed: {type(cause).__name__}")
        self.guardrail = guardrail


@dataclass(frozen=True, slots=True)
class InlineHooks:
    """Calls inline hooks. `record_of` gives the row that a run would be stored as, for decoded snapshots."""

    caller: Caller
    threads: DaemonThreads
    record_of: Callable[[LiveRun], RunRecord]

    async def run_pre_hooks(self, run: LiveRun) -> None:
        """All inline pre-hooks; a guardrail is called again if a later hook changed the input.

        Raises:
            RunRejectedError: a hook raised a check error.
            HookFailedError: a guardrail, or a hook with `on_error="fail"`, failed.
        """
        seen: dict[str, str] = {}
        hooks = [hook for hook in run.plan.pre_inline if run.wants(hook)]
        for hook in hooks:
            if hook.guardrail:
                seen[hook.name] = run.run_input.input_content
            await self.call(hook, run)
        guardrails = [hook for hook in hooks if hook.guardrail]
        for _ in range(MAX_GUARD_ROUNDS):
            stale = [hook for hook in guardrails if seen[hook.name] != run.run_input.input_content]
            if not stale:
                return
            for hook in stale:
                seen[hook.name] = run.run_input.input_content
                await self.call(hook, run)
        for hook in reversed(guardrails):
            if hook.enforces:
                raise HookFailedError(hook.name, guardrail=True, cause=HookError("guardrails keep changing the input"))

    async def run_post_hooks(self, hooks: Iterable[PlannedHook], run: LiveRun) -> None:
        """The given post-hooks that want the run's present status; raises as `run_pre_hooks` does."""
        for hook in hooks:
            if run.wants(hook) and (hook.guardrail or run.output.status in hook.on):
                await self.call(hook, run)

    async def call(self, hook: PlannedHook, run: LiveRun) -> None:
        """Call one hook and write it down; raises as `run_pre_hooks` does, unless it is a guardrail that observes."""
        started, completed, failed = _EVENTS[hook.phase]
        observes = hook.guardrail_mode == "observe"
        run.emit(started, hook=hook.name)
        with _undone(run) if observes else nullcontext():
            error = await self.call_recorded(
                run,
                hook.callee,
                hook.phase,
                hook.plugin,
                lambda: self._offered(hook, run),
                hook.timeout,
                guardrail_mode=hook.guardrail_mode,
            )
        if error is None:
            run.emit(completed, hook=hook.name)
            return
        observed = {"guardrail_mode": "observe"} if observes else {}
        run.emit(failed, hook=hook.name, error={"type": type(error).__name__}, **observed)
        if observes:
            if isinstance(error, CheckError):  # its other failures are logged as those of any hook
                _log_observed(hook, run, error)
            return
        if isinstance(error, CheckError):
            raise RunRejectedError(hook.name, error)
        if hook.fails_run:
            raise HookFailedError(hook.name, guardrail=hook.guardrail, cause=error) from error

    async def call_recorded(
        self,
        run: LiveRun,
        callee: Callee,
        phase: str,
        plugin: str | None,
        offered: Callable[[], Mapping[str, Any]],
        timeout: float,
        *,
        guardrail_mode: GuardrailMode | None = None,
    ) -> Exception | None:
        """Call something of a plugin's or user's and write it down; returns what it raised."""
        started_at, clock = run.clock.time(), time.perf_counter()
        error: Exception | None = None
        status: CallStatus = "completed"
        try:
            await self.caller.call(callee, offered(), timeout=timeout, threads=self.threads)
        except CheckError as check:
            error, status = check, "rejected"
        except Exception as failure:
            error, status = failure, "failed"
            logger.warning(
                "%s-hook %r failed: %s: %s",
                phase,
                callee.name,
                type(failure).__name__,
                message_of(failure),
                exc_info=failure if worth_tracing(failure) else None,
                extra={"run_id": run.run_id, "session_id": run.session_id, "hook": callee.name},
            )
        run.hook_calls.append(
            HookCall(
                hook=callee.name,
                phase=phase,
                plugin=plugin,
                status=status,
                started_at=started_at,
                duration=time.perf_counter() - clock,
                error=describe_error(error) if error is not None else None,
                details=details_of(error) if error is not None else {},
                guardrail_mode=guardrail_mode,
            )
        )
        return error

    def _offered(self, hook: PlannedHook, run: LiveRun) -> dict[str, Any]:
        names = hook.callee.names
        if hook.detached:
            return snapshot_arguments(
                self.record_of(run), _first_attempt(hook, run), run.runnable, hook.wanted(run.runnable.kind)
            )
        offered = {
            "run_input": run.run_input,
            "run_context": run.run_context,
            "runnable": run.runnable,
            run.runnable.kind: run.runnable,
            "session": run.session,
            "user_id": run.run_context.user_id,
            "metadata": run.run_context.metadata,
            "session_state": run.run_context.session_state,
            "dependencies": run.run_context.dependencies,
            "debug_mode": run.request.debug_mode,
        }
        if hook.phase == "post":
            offered["run_output"] = run.output
        if hook.callee.takes_all or "delivery" in names:
            offered["delivery"] = _first_attempt(hook, run)
        return offered


def _log_observed(hook: PlannedHook, run: LiveRun, check: CheckError) -> None:
    """Tell what a guardrail that observes would have done."""
    logger.warning(
        "guardrail %r only observes: it would have rejected run %s%s",
        hook.name,
        run.run_id,
        f" ({check.check_trigger})" if check.check_trigger else "",
        extra={"run_id": run.run_id, "session_id": run.session_id, "hook": hook.name},
    )


@contextmanager
def _undone(run: LiveRun) -> Iterator[None]:
    """What is changed in the run's input or content meanwhile is undone."""
    text, content = run.run_input.input_content, run.output.content
    try:
        yield
    finally:
        run.run_input.input_content, run.output.content = text, content


def _first_attempt(hook: PlannedHook, run: LiveRun) -> Delivery:
    return Delivery(
        delivery_id=f"{run.run_id}/{hook.phase}/{hook.name}",
        run_id=run.run_id,
        runnable=run.runnable.id,
        phase=hook.phase,
        hook=hook.name,
        position=hook.position,
        status=DeliveryStatus.RUNNING,
        attempt_count=1,
        max_attempts=1,
    )
