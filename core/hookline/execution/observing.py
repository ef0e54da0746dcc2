"""Telling plugins of deliveries that came to an end (`delivery_finished`): a few at a time, without holding them up."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from hookline.calling import Caller
from hookline.deliveries import Delivery
from hookline.execution.points import Points
from hookline.execution.record import message_of
from hookline.runnable import Runnable
from hookline.threads import DaemonThreads

logger = logging.getLogger("hookline.deliveries")

AT_ONCE = 8
"""Deliveries that plugins are told of side by side: fewer than there are threads, which are the deliveries' own."""
MOST_WAITING = 10_000
"""Deliveries that wait to be told of; of more than these the oldest are left out."""


class Observers:
    """The `delivery_finished` implementations, and what they are still to be told of."""

    def __init__(
        self, points: Points, caller: Caller, threads: DaemonThreads, runnable_of: Callable[[Delivery], Runnable | None]
    ) -> None:
        self._hooks = points.of("delivery_finished")
        self._caller = caller
        self._threads = threads
        self._runnable_of = runnable_of
        self._waiting: deque[Delivery] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._left_out = 0

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def tell(self, delivery: Delivery) -> None:
        """A delivery came to its end: the implementations are called soon, in this event loop."""
        self._waiting.append(delivery)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._left_out += 1
        if sum(not task.done() for task in self._tasks) < AT_ONCE:  # they leave the set only a moment later
            task = asyncio.get_running_loop().create_task(self._tell_all(), name="delivery_finished")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def wait(self, timeout: float | None = None) -> None:
        """Wait until nothing is left to be told, or for so many seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)

    async def _tell_all(self) -> None:
        while self._waiting:
            await self._tell(self._waiting.popleft())
        if self._left_out > 0:
            logger.error(
                "delivery_finished: plugins were not told of %d deliveries, because more than %d waited for them",
                self._left_out,
                MOST_WAITING,
            )
            self._left_out = 0

    async def _tell(self, delivery: Delivery) -> None:
        offered: dict[str, Any] = {"delivery": delivery, "runnable": self._runnable_of(delivery)}
        for hook in self._hooks:
            try:
                await self._caller.call(hook.callee, offered, timeout=hook.timeout, threads=self._threads)
            except Exception as error:
                logger.error(
                    "delivery_finished of plugin %r failed: %s",
                    hook.plugin,
                    message_of(error),
                    exc_info=error,
                    extra={"run_id": delivery.run_id, "hook": delivery.hook, "delivery_id": delivery.delivery_id},
                )
