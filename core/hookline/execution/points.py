"""The plugins' hook points inside a run: model calls, tool calls, events."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hookline.calling import Callee
from hookline.events import RunEvent
from hookline.runnable import Runnable

logger = logging.getLogger("hookline.plugins")


@dataclass(frozen=True, slots=True)
class PointHook:
    """One plugin's implementation of a point."""

    plugin: str
    callee: Callee
    timeout: float


@dataclass(frozen=True, slots=True)
class Points:
    """All implementations, by point, in the order of their calls; empty where no plugin is."""

    hooks: Mapping[str, Sequence[PointHook]] = field(default_factory=dict)

    def of(self, point: str) -> Sequence[PointHook]:
        """The implementations of one point."""
        return self.hooks.get(point, ())

    def observe_event(self, event: RunEvent, runnable: Runnable) -> None:
        """Tell the `run_event` implementations; one that fails is logged, the run goes on."""
        offered: dict[str, Any] = {"event": event, "runnable": runnable}
        for hook in self.of("run_event"):
            args, kwargs = hook.callee.arguments(offered)
            try:
                hook.callee.function(*args, **kwargs)
            except Exception:
                logger.exception(
                    "run_event of plugin %r failed at %s",
                    hook.plugin,
                    event.event,
                    extra={"run_id": event.run_id, "hook": hook.callee.name},
                )
