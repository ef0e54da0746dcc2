"""One attempt of a delivery: find the hook, call it with fresh snapshots under its time limit, judge the result.

Policy is today's: what the hook's definition and the settings say now, whatever was stored with the row.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from hookline.calling import Caller
from hookline.clock import Clock
from hookline.deliveries import Delivery, DeliveryStatus
from hookline.errors import CheckError, GiveUp, HookTimeoutError, RetryAfter
from hookline.execution.record import describe_error, message_of, worth_tracing
from hookline.execution.snapshot import snapshot_arguments
from hookline.jsontext import dumps
from hookline.plan import PlannedHook
from hookline.policy import Policy
from hookline.runnable import Runnable
from hookline.storage import AttemptOutcome, RunRecord
from hookline.threads import DaemonThreads

logger = logging.getLogger("hookline.deliveries")

RETRY_AFTER_CAP_SECONDS = 7 * 86_400.0
"""The longest wait that a hook can ask for with `RetryAfter`."""


class Found(NamedTuple):
    """What a delivery is about, as it is defined today."""

    runnable: Runnable
    hook: PlannedHook


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt came to; the fields are those of `hookline.storage.Settlement`.

    `failed` says what it tells about the hook: True and False count for its circuit, None tells nothing.
    """

    status: DeliveryStatus
    outcome: AttemptOutcome
    started_at: float | None
    duration: float
    due_at: float | None = None
    error: str | None = None
    message: str | None = None
    max_attempts: int | None = None
    failed: bool | None = None


RELEASED = Verdict(DeliveryStatus.PENDING, "released", None, 0.0)
"""The delivery is given back, its attempt not counted."""


class Attempter:
    """Makes attempts. `find` gives the runnable and the hook of a delivery, None for what is no longer there."""

    def __init__(
        self,
        find: Callable[[RunRecord, Delivery], Found | None],
        caller: Caller,
        threads: DaemonThreads,
        clock: Clock,
    ) -> None:
        self._find = find
        self._caller = caller
        self._threads = threads
        self._clock = clock

    def look_up(self, delivery: Delivery, run: RunRecord) -> Found | Verdict:
        """What is to be attempted; or the verdict, where no attempt is to be made."""
        found = self._find(run, delivery)
        if found is None:
            return _parked(delivery, run)
        gives_up_at = _gives_up_at(delivery, run, found.hook.policy)
        if gives_up_at is not None and self._clock.time() >= gives_up_at and not _is_redriven(delivery):
            return _too_old(delivery, found.hook.policy)
        return found

    async def attempt(self, delivery: Delivery, run: RunRecord, found: Found) -> Verdict:
        """Make one attempt; whatever the hook does, there is a verdict.

        Raises:
            asyncio.CancelledError: this process gives up the attempt.
        """
        runnable, hook = found
        started_at, clock = self._clock.time(), time.perf_counter()
        try:
            arguments = snapshot_arguments(run, delivery, runnable, hook.wanted(runnable.kind))
            await self._caller.call(hook.callee, arguments, timeout=hook.policy.timeout, threads=self._threads)
        except Exception as error:  # noqa: BLE001 - the border to hooks: it becomes the verdict
            return self._failed(delivery, run, hook, error, started_at, time.perf_counter() - clock)
        return Verdict(
            DeliveryStatus.DELIVERED,
            "delivered",
            started_at,
            time.perf_counter() - clock,
            max_attempts=_changed_attempts(delivery, hook.policy),
            failed=False,
        )

    def _failed(
        self,
        delivery: Delivery,
        run: RunRecord,
        hook: PlannedHook,
        error: Exception,
        started_at: float,
        duration: float,
    ) -> Verdict:
        policy = hook.policy
        message = f"{type(error).__name__}: {message_of(error)}"
        due_at: float | None = None
        if isinstance(error, CheckError):
            message = f"a guard ran in the background: mark it @guardrail ({message})"
        elif not isinstance(error, GiveUp) and delivery.attempt_count < policy.max_attempts:
            due_at = self._clock.time() + _wait(error, delivery, policy)
            gives_up_at = _gives_up_at(delivery, run, policy)
            if gives_up_at is not None and due_at >= gives_up_at:
                due_at = None
                message += f" (no further attempt: it would come more than max_age={policy.max_age:g} s after the run)"
        _log_failure(delivery, policy, error, message, is_dead=due_at is None)
        return Verdict(
            status=DeliveryStatus.DEAD if due_at is None else DeliveryStatus.PENDING,
            outcome="timeout" if isinstance(error, HookTimeoutError) else "failed",
            started_at=started_at,
            duration=duration,
            due_at=due_at,
            error=dumps(describe_error(error)),
            message=message,
            max_attempts=_changed_attempts(delivery, policy),
            failed=None if isinstance(error, RetryAfter) else not isinstance(error, CheckError | GiveUp),
        )


def _wait(error: Exception, delivery: Delivery, policy: Policy) -> float:
    if isinstance(error, RetryAfter):
        return min(error.seconds, RETRY_AFTER_CAP_SECONDS)
    return policy.wait_after(delivery.attempt_count)


def _changed_attempts(delivery: Delivery, policy: Policy) -> int | None:
    return None if delivery.max_attempts == policy.max_attempts else policy.max_attempts


def _gives_up_at(delivery: Delivery, run: RunRecord, policy: Policy) -> float | None:
    """When no further attempt is begun, counted from the run's end; a replay is about old runs and has no such end."""
    if policy.max_age is None or delivery.replay_id is not None:
        return None
    return (run.finished_at or run.created_at) + policy.max_age


def _is_redriven(delivery: Delivery) -> bool:
    """Whether somebody wanted it to be attempted again: it has a past, and yet this is its first attempt."""
    return delivery.attempt_count <= 1 and delivery.last_error is not None


def _parked(delivery: Delivery, run: RunRecord) -> Verdict:
    message = (
        f"no {delivery.phase}-hook {delivery.hook!r} in {run.runnable_kind} {run.runnable_id!r}: "
        f"bring the hook or its plugin back and redrive, or discard"
    )
    logger.error("delivery %s parked: %s", delivery.delivery_id, message, extra=_where(delivery))
    return Verdict(DeliveryStatus.PARKED, "parked", None, 0.0, message=message)


def _too_old(delivery: Delivery, policy: Policy) -> Verdict:
    message = f"given up: more than max_age={policy.max_age:g} s have passed since its run ended"
    logger.error(
        "delivery of %r for run %s is dead, %s", delivery.hook, delivery.run_id, message, extra=_where(delivery)
    )
    return Verdict(DeliveryStatus.DEAD, "failed", None, 0.0, message=message)


def broken(delivery: Delivery, error: BaseException) -> Verdict:
    """The verdict where no attempt could be judged, by a mistake of hookline itself."""
    message = f"an error of hookline itself, please report it: {type(error).__name__}: {message_of(error)}"
    logger.error(
        "delivery of %r for run %s is dead, %s",
        *(delivery.hook, delivery.run_id, message),
        exc_info=error,
        extra=_where(delivery),
    )
    return Verdict(DeliveryStatus.DEAD, "failed", None, 0.0, message=message)


def _log_failure(delivery: Delivery, policy: Policy, error: Exception, message: str, *, is_dead: bool) -> None:
    told_by_hook = isinstance(error, RetryAfter | GiveUp)
    logger.log(
        logging.WARNING if isinstance(error, RetryAfter) and not is_dead else logging.ERROR,
        "delivery of %r for run %s failed (attempt %d of %d), %s: %s",
        delivery.hook,
        delivery.run_id,
        delivery.attempt_count,
        policy.max_attempts,
        "it is dead" if is_dead else "it will be tried again",
        message,
        exc_info=error if worth_tracing(error) and not told_by_hook else None,
        extra=_where(delivery),
    )


def _where(delivery: Delivery) -> dict[str, str]:
    return {"run_id": delivery.run_id, "hook": delivery.hook, "delivery_id": delivery.delivery_id}
