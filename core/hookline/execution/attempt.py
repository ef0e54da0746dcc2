"""One attempt of a delivery: find the hook, call it with fresh snapshots under its time limit, judge the result."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from hookline.calling import Caller
from hookline.deliveries import Delivery, DeliveryStatus
from hookline.errors import CheckError, HookTimeoutError
from hookline.execution.record import describe_error, message_of
from hookline.execution.snapshot import snapshot_arguments
from hookline.jsontext import dumps
from hookline.plan import PlannedHook
from hookline.runnable import Runnable
from hookline.storage import AttemptOutcome, RunRecord
from hookline.threads import DaemonThreads

logger = logging.getLogger("hookline.deliveries")

BACKOFF_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt came to; the fields are those of `hookline.storage.Settlement`."""

    status: DeliveryStatus
    outcome: AttemptOutcome
    started_at: float | None
    duration: float
    due_at: float | None = None
    error: str | None = None
    message: str | None = None


RELEASED = Verdict(DeliveryStatus.PENDING, "released", None, 0.0)
"""The delivery is given back, its attempt not counted."""


def backoff(failures: int) -> float:
    """Seconds to wait after so many failed attempts: 1 s doubling with full jitter, at most 300 s."""
    longest = min(BACKOFF_CAP_SECONDS, BACKOFF_SECONDS * 2.0 ** min(failures - 1, 60))
    return random.uniform(0.0, longest)  # noqa: S311 - spreads load, guards nothing


class Attempter:
    """Makes attempts. `find` gives the runnable and the hook of a delivery, None for what is no longer there."""

    def __init__(
        self,
        find: Callable[[RunRecord, Delivery], tuple[Runnable, PlannedHook] | None],
        caller: Caller,
        threads: DaemonThreads,
    ) -> None:
        self._find = find
        self._caller = caller
        self._threads = threads

    async def attempt(self, delivery: Delivery, run: RunRecord) -> Verdict:
        """Make one attempt; whatever the hook does, there is a verdict.

        Raises:
            asyncio.CancelledError: this process gives up the attempt.
        """
        found = self._find(run, delivery)
        if found is None:
            return _parked(delivery, run)
        runnable, hook = found
        started_at, clock = time.time(), time.perf_counter()
        try:
            arguments = snapshot_arguments(run, replace(delivery), runnable, hook.wanted(runnable.kind))
            await self._caller.call(hook.callee, arguments, timeout=hook.timeout, threads=self._threads)
        except Exception as error:  # noqa: BLE001 - the border to hooks: it becomes the verdict
            return _failed(delivery, hook, error, started_at, time.perf_counter() - clock)
        return Verdict(DeliveryStatus.DELIVERED, "delivered", started_at, time.perf_counter() - clock)


def _parked(delivery: Delivery, run: RunRecord) -> Verdict:
    message = (
        f"no {delivery.phase}-hook {delivery.hook!r} in {run.runnable_kind} {run.runnable_id!r}: "
        f"bring the hook or its plugin back and redrive, or discard"
    )
    logger.error("delivery %s parked: %s", delivery.delivery_id, message, extra=_where(delivery))
    return Verdict(DeliveryStatus.PARKED, "parked", None, 0.0, message=message)


def _failed(delivery: Delivery, hook: PlannedHook, error: Exception, started_at: float, duration: float) -> Verdict:
    message = f"{type(error).__name__}: {message_of(error)}"
    status, due_at = DeliveryStatus.PENDING, None
    outcome: AttemptOutcome = "timeout" if isinstance(error, HookTimeoutError) else "failed"
    if isinstance(error, CheckError):
        message = f"a guard ran in the background: mark it @guardrail ({message})"
        status = DeliveryStatus.DEAD
    elif delivery.attempt_count > hook.retries:
        status = DeliveryStatus.DEAD
    else:
        due_at = time.time() + backoff(delivery.attempt_count)
    logger.error(
        "delivery of %r for run %s failed (attempt %d of %d), %s: %s",
        hook.name,
        delivery.run_id,
        delivery.attempt_count,
        hook.retries + 1,
        "it is dead" if status is DeliveryStatus.DEAD else "it will be tried again",
        message,
        exc_info=error,
        extra=_where(delivery),
    )
    return Verdict(status, outcome, started_at, duration, due_at, dumps(describe_error(error)), message)


def _where(delivery: Delivery) -> dict[str, str]:
    return {"run_id": delivery.run_id, "hook": delivery.hook, "delivery_id": delivery.delivery_id}
