"""Throughput, latency and CPU of `POST /agents/{id}/runs`: hookline against the floor, round by round.

CPU is the server's, user and system, per request, counted until it has nothing left to do: deliveries are in it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from benchmarks.load import put_load
from benchmarks.rig import Rig, Server

WARM_UP_SECONDS = 1.0
APPS = ("floor", "hookline")
HEADINGS = ("requests/s", "p50 ms", "p95 ms", "1st text ms", "CPU ms")
"""Of the table, in the order of the fields of `Figures`."""


@dataclass(frozen=True)
class Figures:
    """One round of one server, or the medians or ratios of several; times in milliseconds."""

    per_second: float
    p50: float
    p95: float
    first_content: float
    cpu: float

    def over(self, base: Figures) -> Figures:
        """The ratio of each to another's."""
        pairs = zip(astuple(self), astuple(base), strict=True)
        return Figures(*(mine / theirs if theirs else 0.0 for mine, theirs in pairs))


def median(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    return Figures(*(statistics.median(column) for column in zip(*map(astuple, rounds), strict=True)))


async def measure(server: Server, connections: int, seconds: float, *, stream: bool) -> Figures:
    """One round."""
    cpu = await server.settled()
    load = await put_load(server.port, connections=connections, seconds=seconds, stream=stream)
    cpu = await server.settled() - cpu
    return Figures(
        per_second=load.requests_per_second,
        p50=load.percentile(50) * 1000,
        p95=load.percentile(95) * 1000,
        first_content=statistics.median(load.first_content or [0.0]) * 1000,
        cpu=cpu / len(load.times) * 1000,
    )


async def compare(servers: Sequence[Server], connections: int, options: argparse.Namespace) -> list[list[Figures]]:
    """The rounds of each server; which one comes first alternates."""
    rounds: dict[str, list[Figures]] = {server.name: [] for server in servers}
    for number in range(options.rounds):
        for server in servers if number % 2 == 0 else reversed(servers):
            figures = await measure(server, connections, options.seconds, stream=options.stream)
            rounds[server.name].append(figures)
    return [rounds[server.name] for server in servers]


def print_row(hooks: int, connections: int, name: str, figures: Figures) -> None:
    """One line of the table."""
    cells = "".join(f"{value:>12.2f}" for value in astuple(figures))
    print(f"{hooks:>5} {connections:>5} {name:<9}{cells}", flush=True)


async def run(options: argparse.Namespace) -> None:
    """All cells of the table."""
    print(f"{'hooks':>5} {'conns':>5} {'':<9}" + "".join(f"{heading:>12}" for heading in HEADINGS))
    async with Rig() as rig:
        for hooks in options.hooks:
            servers = [await rig.serve(app, hooks=hooks) for app in APPS]
            for server in servers:
                await put_load(server.port, connections=4, seconds=WARM_UP_SECONDS, stream=options.stream)
            for connections in options.connections:
                floor, hookline = await compare(servers, connections, options)
                ratios = [mine.over(base) for mine, base in zip(hookline, floor, strict=True)]
                print_row(hooks, connections, "floor", median(floor))
                print_row(hooks, connections, "hookline", median(hookline))
                print_row(hooks, connections, "ratio", median(ratios))
            for server in servers:
                server.kill()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hooks", type=int, nargs="+", default=[0, 1, 5], help="no-op background hooks (0 1 5)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16], help="(1 16)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one round (5)")
    parser.add_argument("--rounds", type=int, default=5, help="of each server, of which the median is taken (5)")
    parser.add_argument("--stream", action="store_true", help="ask for a stream of 64 events with content")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
