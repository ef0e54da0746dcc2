"""What `import hookline` costs, against `import pydantic`.

Processes of each kind take turns; the start of the interpreter itself is taken off. pydantic loads most of itself
when `BaseModel` is first asked for.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass, field

INTERPRETER = "pass"
HOOKLINE = "import hookline"
BASES = ("import pydantic", "from pydantic import BaseModel")


@dataclass
class Costs:
    """Milliseconds of each process: by the clock, and of CPU."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, statement: str) -> None:
        """Start one more process."""
        began = time.perf_counter()
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", statement], os.environ)
        _, status, usage = os.wait4(pid, 0)
        if status != 0:
            raise RuntimeError(f"{statement!r} failed")
        self.wall.append((time.perf_counter() - began) * 1000)
        self.cpu.append((usage.ru_utime + usage.ru_stime) * 1000)

    def without(self, base: Costs) -> Costs:
        """What is left of each when the base of its round is taken away."""
        return Costs(
            [mine - theirs for mine, theirs in zip(self.wall, base.wall, strict=True)],
            [mine - theirs for mine, theirs in zip(self.cpu, base.cpu, strict=True)],
        )


def median_ratio(mine: list[float], theirs: list[float]) -> float:
    """The median of the ratios of each round."""
    return statistics.median(one / other for one, other in zip(mine, theirs, strict=True))


def print_row(name: str, wall: float, cpu: float) -> None:
    """One line of the table."""
    print(f"{name:<34}{wall:>10.2f}{cpu:>10.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="processes of each kind (30)")
    options = parser.parse_args()
    statements = (INTERPRETER, *BASES, HOOKLINE)
    for statement in statements:  # fills the caches
        Costs().add(statement)
    costs = {statement: Costs() for statement in statements}
    for _ in range(options.rounds):
        for statement, cost in costs.items():
            cost.add(statement)
    hookline = costs[HOOKLINE].without(costs[INTERPRETER])
    print(f"{'':<34}{'wall ms':>10}{'CPU ms':>10}")
    print_row(HOOKLINE, statistics.median(hookline.wall), statistics.median(hookline.cpu))
    for statement in BASES:
        base = costs[statement].without(costs[INTERPRETER])
        print_row(statement, statistics.median(base.wall), statistics.median(base.cpu))
        print_row(
            "  hookline's ratio to it", median_ratio(hookline.wall, base.wall), median_ratio(hookline.cpu, base.cpu)
        )


if __name__ == "__main__":
    main()
