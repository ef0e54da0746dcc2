"""What ten background hooks that sleep 3 s cost the response, against the same ten that do nothing.

Runs come one after the other, each on a session of its own, to both servers in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics

from benchmarks.load import Connection, run_request
from benchmarks.rig import Rig, Server

HOOKS = 10
SLEEP_SECONDS = 3.0
WARM_UP_RUNS = 30
QUIET_WINDOW = 0.05


async def response_times(idle: Server, sleeping: Server, runs: int) -> tuple[list[float], list[float]]:
    """The response times of both in milliseconds; a run starts when both servers are quiet."""
    times: dict[int, list[float]] = {idle.port: [], sleeping.port: []}
    servers = [idle, sleeping]
    async with Connection(idle.port) as one, Connection(sleeping.port) as other:
        connections = {idle.port: one, sleeping.port: other}
        for number in range(runs):
            for server in servers if number % 2 == 0 else servers[::-1]:
                for each in servers:
                    await each.settled(window=QUIET_WINDOW)
                answer = await connections[server.port].request(run_request())
                times[server.port].append(answer.seconds * 1000)
    return times[idle.port], times[sleeping.port]


async def run(options: argparse.Namespace) -> None:
    """Measure both."""
    async with Rig() as rig:
        idle = await rig.serve("hookline", hooks=HOOKS)
        sleeping = await rig.serve("hookline", hooks=HOOKS, hook_seconds=SLEEP_SECONDS)
        await response_times(idle, sleeping, WARM_UP_RUNS)
        no_ops, sleeps = await response_times(idle, sleeping, options.runs)
    print(f"{'':<24}{'p50 ms':>10}{'mean ms':>10}")
    rows = {f"{HOOKS} hooks, no-op": no_ops, f"{HOOKS} hooks, {SLEEP_SECONDS:g} s each": sleeps}
    for name, times in rows.items():
        print(f"{name:<24}{statistics.median(times):>10.2f}{statistics.mean(times):>10.2f}")
    p50 = statistics.median(sleeps) / statistics.median(no_ops) - 1
    mean = statistics.mean(sleeps) / statistics.mean(no_ops) - 1
    print(f"{'difference':<24}{p50:>10.1%}{mean:>10.1%}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of each server (20)")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
