"""The plugins' hook points inside a run: model calls, tool calls, events."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hookline import hookspecs
from hookline.calling import Callee, read_callee
from hookline.events import RunEvent
from hookline.runnable import Runnable

logger = logging.getLogger("hookline.plugins")


POINTS = (
    "run_event",
    "pre_model",
    "post_model",
    "pre_tool",
    "post_tool",
    "schedule_background",
    "delivery_finished",
)


class Implementation(Protocol):
    """A plugin's function for one point."""

    @property
    def plugin(self) -> str:
        """The plugin's name."""
        ...

    @property
    def function(self) -> Callable[..., Any]:
        """What it gave for the point."""
        ...


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
            except BaseException:  # the border to plugins: not even SystemExit may end the loop
                logger.exception(
                    "run_event of plugin %r failed at %s",
                    hook.plugin,
                    event.event,
                    extra={"run_id": event.run_id, "hook": hook.callee.name},
                )


def read_points(implementations: Callable[[str], Iterable[Implementation]], *, timeout: float) -> Points:
    """Read the signatures of all implementations, once.

    Args:
        implementations: gives those of a point in the order of their calls.
        timeout: seconds for one call.
    """
    hooks: dict[str, list[PointHook]] = {}
    for point in POINTS:
        offered = inspect.signature(getattr(hookspecs, point)).parameters
        for each in implementations(point):
            name = f"{each.plugin}.{point}"
            callee = read_callee(each.function, name=name, offered=offered, what=f"{point} hook")
            hooks.setdefault(point, []).append(PointHook(each.plugin, callee, timeout))
    return Points(hooks)
