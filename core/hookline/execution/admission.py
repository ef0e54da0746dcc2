"""Admission: whether one more run is taken, or turned away."""

from __future__ import annotations

from collections.abc import Sized

from hookline.errors import ServerBusyError
from hookline.execution.pressure import RETRY_SECONDS, Pressure


class Admission:
    """Turns runs away while there is too much to do.

    Args:
        live: the runs that are under way.
        max_concurrent_runs: how many of them are the limit.
        pressure: knows how many deliveries are not done, and how many are the limit.
    """

    def __init__(self, live: Sized, max_concurrent_runs: int, pressure: Pressure) -> None:
        self._live = live
        self._max_concurrent_runs = max_concurrent_runs
        self._pressure = pressure

    def check(self) -> None:
        """Take one more run, or not.

        Raises:
            ServerBusyError: too many runs at once, or too many deliveries not done; when to come again.
        """
        if len(self._live) >= self._max_concurrent_runs:
            raise ServerBusyError(
                f"{self._max_concurrent_runs} runs are under way, which is the limit (max_concurrent_runs)",
                retry_after=1.0,
            )
        if self._pressure.is_full:
            raise ServerBusyError(
                f"{self._pressure.undone} deliveries are not done, and {self._pressure.limit} are the limit "
                f"(max_waiting_deliveries)",
                retry_after=RETRY_SECONDS,
            )
