"""The watchdog: names what blocks the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading

logger = logging.getLogger("hookline.watchdog")

LOOK_SECONDS = 0.5
BLOCKED_SECONDS = 1.0


class Watchdog:
    """A daemon thread that asks the loop for a sign of life; a loop that gives none is blocked by what it runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answered = threading.Event()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._watch, name="hookline-watchdog", daemon=True).start()

    def stop(self) -> None:
        """End at the next look."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self._answered.clear()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop is closed
                return
            if not self._answered.wait(BLOCKED_SECONDS) and not self._stopped.is_set():
                self._report()

    def _report(self) -> None:
        task = asyncio.current_task(self._loop)
        logger.error(
            "the event loop has been blocked for %g s by %s: use await there, or make it a plain function",
            BLOCKED_SECONDS,
            f"the {task.get_name()}" if task is not None else "something that is no task",
        )
        self._answered.wait()  # once for each time that it is blocked
