"""Scheduling: which background hooks of a run become deliveries, and when."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from hookline.deliveries import Delivery
from hookline.execution.live_run import LiveRun
from hookline.execution.points import Points
from hookline.plan import PlannedHook
from hookline.scheduling import Refuse, Schedule
from hookline.storage import NewDelivery
from hookline.uuids import uuid7

logger = logging.getLogger("hookline.deliveries")


class Scheduler:
    """Makes deliveries of hooks; plugins' `schedule_background` may delay or refuse each."""

    def __init__(self, points: Points) -> None:
        self._points = points

    def schedule(self, run: LiveRun, hooks: Sequence[PlannedHook], *, first_position: int) -> list[NewDelivery]:
        """The rows to be stored for these hooks."""
        rows: list[NewDelivery] = []
        for position, hook in enumerate(hooks, first_position):
            if not run.wants(hook):
                continue
            row = NewDelivery(
                delivery_id=uuid7(),
                phase=hook.phase,
                hook=hook.name,
                position=position,
                max_attempts=hook.retries + 1,
                plugin=hook.plugin,
            )
            if self._ask_plugins(run, row):
                rows.append(row)
        return rows

    def _ask_plugins(self, run: LiveRun, row: NewDelivery) -> bool:
        for point in self._points.of("schedule_background"):
            delivery = Delivery(row.delivery_id, run.run_id, run.runnable.id, row.phase, row.hook, row.position)
            offered = {"delivery": delivery, "runnable": run.runnable, "run_output": run.output}
            args, kwargs = point.callee.arguments(offered)
            where = {"run_id": run.run_id, "hook": row.hook, "delivery_id": row.delivery_id}
            try:
                answer = point.callee.function(*args, **kwargs)
            except BaseException:  # the border to plugins: not even SystemExit may end the loop
                logger.exception("schedule_background of plugin %r failed", point.plugin, extra=where)
                continue
            if isinstance(answer, Refuse):
                logger.warning(
                    "plugin %r refused the delivery of %r: %s", point.plugin, row.hook, answer.reason, extra=where
                )
                return False
            if isinstance(answer, Schedule):
                row.due_at = max(row.due_at or 0.0, run.clock.time() + answer.delay)
            elif answer is not None:
                logger.error(
                    "schedule_background of plugin %r returned %r: return None, Schedule or Refuse",
                    point.plugin,
                    answer,
                    extra=where,
                )
        return True
