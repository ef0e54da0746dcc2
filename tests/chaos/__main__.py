"""`python -m chaos --faults 300 --seed 7`, from tests/: break servers, see that every promise is kept."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from chaos.driver import Options, cause_chaos
from chaos.faults import Kind
from chaos.summary import summary, told


def main() -> None:
    """Drive, print, and keep the files if a promise was not kept."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=30, help="how many (30)")
    parser.add_argument("--seed", type=int, help="of the plan; the moments are the machine's (default: a new one)")
    parser.add_argument("--seconds", type=float, help="begin no further fault after so long")
    names = {kind.name.lower().replace("_", "-"): kind for kind in Kind}
    parser.add_argument("--only", nargs="+", choices=names, default=list(names), help="these kinds of faults")
    parser.add_argument("--freezes", type=int, default=1_000_000, help="at most so many freezes; each takes 20 s")
    parser.add_argument("--settling", type=float, default=300.0, help="seconds until all must have ended (300)")
    parser.add_argument("--clients", type=int, default=14, help="how many ask at once (14)")
    parser.add_argument("--keep", action="store_true", help="keep ledger, journal and log also if all is well")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"seed {seed}, in {directory}", flush=True)
    options = Options(
        directory,
        given.faults,
        seed,
        seconds=given.seconds,
        kinds=[names[name] for name in given.only],
        most_freezes=given.freezes,
        clients=given.clients,
        settling=given.settling,
    )
    report = asyncio.run(cause_chaos(options, lambda text: print(text, flush=True)))
    print(summary(report))
    if report.violations:
        print(told(report))
        sys.exit(1)
    if not given.keep:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
