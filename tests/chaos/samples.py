"""What a long load does to a server: samples, by intervals, and whether they stay flat."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.ledger import Ledger


@dataclass(frozen=True)
class Sample:
    """The server at one moment; sizes in MB."""

    memory: float
    threads: int
    files: int
    log: float
    backlog: int


def take_sample(pid: int, ledger: Ledger) -> Sample:
    """Look at a server and its ledger (Linux)."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    wal = Path(f"{ledger.file}-wal")
    return Sample(
        memory=int(status["VmRSS"].split()[0]) / 1024,
        threads=int(status["Threads"]),
        files=len(os.listdir(f"/proc/{pid}/fd")),
        log=wal.stat().st_size / 1e6 if wal.exists() else 0.0,
        backlog=ledger.count_open(),
    )


@dataclass
class Interval:
    """A part of the time: the answers' times in seconds, and samples."""

    times: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def percentile(self, percent: int) -> float:
        """Milliseconds within which so many percent of the runs were answered."""
        if len(self.times) < 2:
            return 0.0
        return statistics.quantiles(self.times, n=100, method="inclusive")[percent - 1] * 1000

    def median(self, of: Callable[[Sample], float]) -> float:
        """The median of one of the samples' values."""
        return statistics.median(map(of, self.samples)) if self.samples else 0.0


@dataclass(frozen=True)
class Measure:
    """A column of the table; flat is: late on at most `factor` times what it was early on, and `slack` more."""

    title: str
    of: Callable[[Interval], float]
    factor: float
    slack: float


MEASURES = (
    Measure("p50 ms", lambda interval: interval.percentile(50), 1.25, 2.0),
    Measure("p95 ms", lambda interval: interval.percentile(95), 1.5, 5.0),
    Measure("RSS MB", lambda interval: interval.median(lambda sample: sample.memory), 1.1, 5.0),
    Measure("threads", lambda interval: interval.median(lambda sample: sample.threads), 1.2, 5.0),
    Measure("files", lambda interval: interval.median(lambda sample: sample.files), 1.1, 3.0),
    Measure("WAL MB", lambda interval: interval.median(lambda sample: sample.log), 1.5, 2.0),
    Measure("backlog", lambda interval: interval.median(lambda sample: sample.backlog), 1.5, 30.0),
)


@dataclass(frozen=True)
class Trend:
    """One measure, early and late."""

    measure: Measure
    early: float
    late: float

    @property
    def is_flat(self) -> bool:
        """Whether it did not grow."""
        return self.late <= self.early * self.measure.factor + self.measure.slack


def trends(intervals: Sequence[Interval]) -> list[Trend]:
    """Each measure's median in the second fifth of the time, the first being the warm-up, and in the last fifth."""
    fifth = max(1, len(intervals) // 5)
    early, late = intervals[fifth : 2 * fifth], intervals[-fifth:]
    return [
        Trend(measure, statistics.median(map(measure.of, early)), statistics.median(map(measure.of, late)))
        for measure in MEASURES
    ]
