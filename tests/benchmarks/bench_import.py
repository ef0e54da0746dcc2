"""What `import hookline` costs, against `import pydantic`.

Processes of each kind take turns; the start of the interpreter itself is taken off.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass, field

STATEMENTS = {"interpreter": "pass", "pydantic": "import pydantic", "hookline": "import hookline"}


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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="processes of each kind (30)")
    options = parser.parse_args()
    costs = {name: Costs() for name in STATEMENTS}
    for number in range(options.rounds + 1):
        for name, statement in STATEMENTS.items():
            (costs[name] if number else Costs()).add(statement)  # the first round fills the caches
    net = {name: costs[name].without(costs["interpreter"]) for name in ("pydantic", "hookline")}
    print(f"{'':<12}{'wall ms':>10}{'CPU ms':>10}")
    for name, cost in net.items():
        print(f"{name:<12}{statistics.median(cost.wall):>10.1f}{statistics.median(cost.cpu):>10.1f}")
    ratios = [
        statistics.median(mine / theirs for mine, theirs in zip(column, base, strict=True))
        for column, base in ((net["hookline"].wall, net["pydantic"].wall), (net["hookline"].cpu, net["pydantic"].cpu))
    ]
    print(f"{'ratio':<12}" + "".join(f"{ratio:>10.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
