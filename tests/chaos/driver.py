"""The driver: traffic, faults, and the verdict at the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.far_end import FarEnd
from chaos.faults import Faults, Kind, NotRecoveredError, Seen, plan_faults
from chaos.fleet import FaultyEndError, Fleet
from chaos.journal import Entry, read_journal
from chaos.ledger import Contents
from chaos.traffic import LIMIT_SECONDS, Asked, Traffic
from chaos.verdict import Evidence, Violation, judge

NEVER_LOGGED = (
    "ended badly",
    "was never retrieved",
    "was never awaited",
    "IntegrityError",
    "ProgrammingError",
    "Task was destroyed",
    "Exception in ASGI application",
    "could not be executed",
)
"""What only a mistake in the servers makes them write."""


@dataclass(frozen=True)
class Options:
    """How much chaos; times in seconds.

    Attributes:
        seconds: when no further fault begins; None for as long as it takes.
        pause: how long it is at most until the next fault, on top of what it waits for.
        settling: how long everything may take to end after the last fault: backoffs, and deliveries that are carried
            one at a time because processes have died in them.
    """

    directory: Path
    faults: int
    seed: int
    seconds: float | None = None
    kinds: Collection[Kind] = tuple(Kind)
    most_freezes: int = 1_000_000
    pause: float = 2.0
    settling: float = 300.0
    clients: int = 14


@dataclass
class Report:
    """What came of it; times in seconds."""

    options: Options
    seen: Seen
    planned: int
    wall: float = 0.0
    settling: float = 0.0
    asked: Sequence[Asked] = ()
    journal: Sequence[Entry] = ()
    ledger: Contents | None = None
    violations: list[Violation] = field(default_factory=list)


async def cause_chaos(options: Options, say: Callable[[str], None] = print) -> Report:
    """Serve, ask, break, and judge."""
    rng = random.Random(options.seed)  # noqa: S311 - repeatable, not secret
    kinds = plan_faults(rng, options.faults, options.kinds, options.most_freezes)
    began = time.monotonic()
    async with FarEnd() as far_end, contextlib.AsyncExitStack() as stack:
        fleet = Fleet(options.directory, far_end.base_url)
        stack.callback(fleet.close)
        traffic = Traffic(fleet.targets, seed=options.seed, clients=options.clients)
        faults = Faults(fleet, rng, [far_end.called, traffic.answered], options.pause)
        report = Report(options, faults.seen, len(kinds))
        try:
            await fleet.start(fleet.main)
            asking = asyncio.create_task(traffic.run())
            stack.push_async_callback(_end, asking)
            await _bring_all(faults, kinds, None if options.seconds is None else began + options.seconds, say)
            traffic.stop()
            await asyncio.wait_for(asking, LIMIT_SECONDS)
            report.settling = await _settled(fleet, options.settling)
            await fleet.terminate(fleet.main)
        except (NotRecoveredError, FaultyEndError, AssertionError) as error:
            report.violations.append(Violation("", str(error)))
        report.wall = time.monotonic() - began
        _gather(report, fleet, traffic, far_end.calls_of)
    return report


async def _bring_all(faults: Faults, kinds: Sequence[Kind], ends_at: float | None, say: Callable[[str], None]) -> None:
    for number, kind in enumerate(kinds, 1):
        if ends_at is not None and time.monotonic() >= ends_at:
            return
        await faults.bring(kind)
        if number % 10 == 0:
            say(f"{number} of {len(kinds)} faults")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _settled(fleet: Fleet, limit: float) -> float:
    """Wait until every run and delivery has ended."""
    began = time.monotonic()
    while count := fleet.ledger.count_open():
        if time.monotonic() - began > limit:
            raise NotRecoveredError(f"{count} runs and deliveries have not ended after {limit:g} s of peace")
        await asyncio.sleep(0.1)
    return time.monotonic() - began


def _gather(report: Report, fleet: Fleet, traffic: Traffic, calls_of: Counter[str]) -> None:
    report.asked = traffic.asked
    report.journal = read_journal(fleet.journal_file)
    report.ledger = fleet.ledger.read()
    if (found := fleet.ledger.integrity()) != ["ok"]:
        report.violations.append(Violation("", f"the file is broken: {found[0]}"))
    log = fleet.main.log()
    report.violations += [Violation("", f"the log says {text!r}") for text in NEVER_LOGGED if text in log]
    report.violations += judge(Evidence(report.asked, report.journal, report.ledger, calls_of))
