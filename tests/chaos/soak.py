"""`python -m chaos.soak --minutes 30`, from tests/: half of the full rate for long, and whether anything grows.

Of the attempts of three background hooks, one in a hundred fails and one hangs past its timeout. The server has a core
of its own; the clients and the model's stub share another.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load import Connection, put_load, run_request
from chaos.ledger import Ledger
from chaos.samples import MEASURES, Interval, take_sample, trends
from server_process import ServerProcess
from stub_openai import StubProcess

APP = Path(__file__).parent / "soak_app.py"
TESTS = Path(__file__).parents[1]
SERVER_CORE, CLIENT_CORE = 0, 1
RAMP = (4, 8, 16, 32)
"""Connections; the best of their rates, deliveries included, is the full rate."""
RAMP_SECONDS = 8.0
CONNECTIONS = 32
SAMPLE_SECONDS = 1.0
INTERVALS = 30


async def drained(ledger: Ledger) -> None:
    """Wait until next to nothing is left to do: what backs off takes seconds of its own."""
    while ledger.count_open() > 20:  # noqa: ASYNC110 - the ledger is a file
        await asyncio.sleep(0.05)


async def full_rate(port: int, ledger: Ledger) -> float:
    """Runs per second with all their deliveries, at the best of the ramp."""
    best = 0.0
    for connections in RAMP:
        began = time.perf_counter()
        load = await put_load(port, connections=connections, seconds=RAMP_SECONDS)
        await drained(ledger)
        rate = len(load.times) / (time.perf_counter() - began)
        print(
            f"{connections:>4} connections: {load.requests_per_second:.0f} runs/s, with deliveries {rate:.0f}",
            flush=True,
        )
        best = max(best, rate)
    return best


class Soak:
    """A load at a fixed rate, however slow the answers are, in intervals of equal length."""

    def __init__(self, port: int, rate: float, seconds: float) -> None:
        self.intervals = [Interval() for _ in range(INTERVALS)]
        self._port = port
        self._rate = rate
        self._seconds = seconds
        self._began = 0.0
        self._due: asyncio.Queue[float | None] = asyncio.Queue()

    async def put(self, pid: int, ledger: Ledger) -> None:
        """Put the load, take samples, print each interval when it is over."""
        self._began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(self._ask())
            group.create_task(self._sample(pid, ledger))
            await self._schedule()

    @property
    def _present(self) -> int:
        return min(INTERVALS - 1, int((time.perf_counter() - self._began) / self._seconds * INTERVALS))

    async def _schedule(self) -> None:
        for number in range(int(self._rate * self._seconds)):
            due = self._began + number / self._rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self._due.put_nowait(due)
        for _ in range(CONNECTIONS):
            self._due.put_nowait(None)

    async def _ask(self) -> None:
        async with Connection(self._port) as connection:
            while (due := await self._due.get()) is not None:
                await connection.request(run_request())
                self.intervals[self._present].times.append(time.perf_counter() - due)

    async def _sample(self, pid: int, ledger: Ledger) -> None:
        for number in range(INTERVALS):
            while self._present == number and time.perf_counter() - self._began < self._seconds:
                self.intervals[number].samples.append(take_sample(pid, ledger))
                await asyncio.sleep(SAMPLE_SECONDS)
            print_interval((number + 1) * self._seconds / INTERVALS, self.intervals[number])


def print_head() -> None:
    """The table's first line."""
    print(f"{'minute':>7}{'runs':>8}" + "".join(f"{measure.title:>10}" for measure in MEASURES), flush=True)


def print_interval(ends_at: float, interval: Interval) -> None:
    """One line of the table."""
    cells = "".join(f"{measure.of(interval):>10.1f}" for measure in MEASURES)
    print(f"{ends_at / 60:>7.1f}{len(interval.times):>8}{cells}", flush=True)


def print_verdict(intervals: Sequence[Interval]) -> bool:
    """Each measure early and late; returns whether all are flat."""
    found = trends(intervals)
    for trend in found:
        word = "flat" if trend.is_flat else "NOT FLAT"
        print(f"{trend.measure.title:>10}: {trend.early:>8.1f} early, {trend.late:>8.1f} late: {word}")
    return all(trend.is_flat for trend in found)


def stay_on(core: int) -> None:
    """Keep this thread, and the processes that it starts from now on, on a core, where there are two."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


async def soak(minutes: float, rate: float | None, directory: Path) -> bool:
    """Serve, find the full rate, load, judge."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    stay_on(CLIENT_CORE)
    with StubProcess() as stub:
        stay_on(SERVER_CORE)
        env = {"STUB_URL": stub.base_url, "PYTHONPATH": os.pathsep.join(paths)}
        with ServerProcess(directory, env=env, arguments=[str(APP)]) as server:
            stay_on(CLIENT_CORE)
            ledger = Ledger(directory / "ledger.db")
            half = rate or await full_rate(server.port, ledger) / 2
            await drained(ledger)
            print(f"{half:.0f} runs/s for {minutes:g} minutes")
            print_head()
            load = Soak(server.port, half, minutes * 60)
            await load.put(server.pid, ledger)
            ledger.close()
            return print_verdict(load.intervals)


def main() -> None:
    """Soak, print, and fail unless all is flat."""
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (30)")
    parser.add_argument("--rate", type=float, help="runs per second (default: half of what is measured first)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        is_flat = asyncio.run(soak(options.minutes, options.rate, Path(directory)))
    print("flat" if is_flat else "not flat")
    sys.exit(0 if is_flat else 1)


if __name__ == "__main__":
    main()
