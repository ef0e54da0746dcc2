"""What a run costs as its session grows: server CPU per run early and late in one session, run by run in turn."""

from __future__ import annotations

import argparse
import asyncio
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from benchmarks.load import Connection, run_request
from benchmarks.rig import Rig, Server

HISTORY = 3
WARM_UP_RUNS = 100
FIRST = 6
"""The first run that is counted: by then the history is full."""
MESSAGE = "What does the fox do, and to whom does it do it? " * 4


@dataclass
class Growing:
    """A server whose one session grows; `cpu` in seconds at the end of each of its runs."""

    server: Server
    connection: Connection
    session_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    cpu: list[float] = field(default_factory=list)

    async def grow(self) -> None:
        """One more run."""
        await self.connection.request(run_request(MESSAGE, session_id=self.session_id))
        self.cpu.append(self.server.cpu_seconds())

    async def warm_up(self) -> None:
        """Runs on sessions of their own."""
        for _ in range(WARM_UP_RUNS):
            await self.connection.request(run_request(MESSAGE))

    def mean(self, first: int, last: int) -> float:
        """CPU milliseconds per run, from one run (counted from 1) to another."""
        return (self.cpu[last - 1] - self.cpu[first - 2]) / (last - first + 1) * 1000


async def run(options: argparse.Namespace) -> None:
    """Let a session grow on each server."""
    window = options.window
    async with Rig() as rig, AsyncExitStack() as stack:
        growing = []
        for app in ("floor", "hookline"):
            server = await rig.serve(app, history=HISTORY)
            growing.append(Growing(server, await stack.enter_async_context(Connection(server.port))))
            await growing[-1].warm_up()
        for number in range(options.runs):
            for each in growing if number % 2 == 0 else growing[::-1]:
                await each.grow()
    late = options.runs - window + 1
    early_runs, late_runs = f"runs {FIRST}-{FIRST + window - 1}", f"runs {late}-{options.runs}"
    print(f"{'CPU ms per run':<16}{early_runs:>16}{late_runs:>16}{'ratio':>8}")
    for each in growing:
        early, then = each.mean(FIRST, FIRST + window - 1), each.mean(late, options.runs)
        print(f"{each.server.name:<16}{early:>16.2f}{then:>16.2f}{then / early:>8.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="of the session (1000)")
    parser.add_argument("--window", type=int, default=50, help="how many runs a mean is taken of (50)")
    options = parser.parse_args()
    if options.runs < FIRST + 2 * options.window:
        parser.error(f"--runs must be at least {FIRST} and two windows: {FIRST + 2 * options.window}")
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
