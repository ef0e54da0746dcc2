"""Statistics of hooks: what became of their deliveries."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Subquery, Table, bindparam, func, literal_column, select

from hookline.deliveries import DeliveryStatus, HookKey
from hookline.storage import HookStats
from hookline_sql.hookkeys import is_hook, key_params
from hookline_sql.schema import Tables
from hookline_sql.statements import DEAD, DELIVERED, DISCARDED, Prepared

SAMPLE = 5_000
"""Percentiles are those of so many of a hook's latest deliveries."""


@dataclass(slots=True)
class _Seen:
    """What was found of one hook; `counts` by status."""

    counts: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    waits: list[float] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)


class Statistics:
    """The statistics of hooks, a function of a connection in a transaction.

    Counts are exact, percentiles (by nearest rank) those of the latest `SAMPLE` delivered and the latest `SAMPLE` dead
    deliveries of a hook, and of the latest `SAMPLE` failed attempts of deliveries that have not ended yet.
    """

    def __init__(self, tables: Tables) -> None:
        deliveries = tables.deliveries
        what = (deliveries.c.runnable_id, deliveries.c.phase, deliveries.c.hook, deliveries.c.status)
        self._counts = Prepared(
            select(*what, func.count())
            .where(
                deliveries.c.status.in_([DELIVERED, DEAD, DISCARDED]), deliveries.c.finished_at >= bindparam("since")
            )
            .group_by(*what)
        )
        self._write_samples(tables)
        self._write_failures(tables)

    def _write_samples(self, tables: Tables) -> None:
        deliveries, runs, attempts = tables.deliveries, tables.runs, tables.attempts
        ended = _latest_that_ended(deliveries)
        # What was accepted with its run waits from the run's end.
        committed_at = func.max(deliveries.c.created_at, func.coalesce(runs.c.finished_at, deliveries.c.created_at))
        first_start = (
            select(func.min(attempts.c.started_at))
            .where(attempts.c.delivery_id == deliveries.c.delivery_id)
            .correlate(deliveries)
            .scalar_subquery()
        )
        self._waits = Prepared(
            select(first_start - committed_at)
            .select_from(ended)
            .join(deliveries, deliveries.c.seq == ended.c.seq)
            .join(runs, runs.c.run_id == deliveries.c.run_id)
        )
        self._durations = Prepared(
            select(attempts.c.duration)
            .select_from(ended)
            .join(deliveries, deliveries.c.seq == ended.c.seq)
            .join(attempts, attempts.c.delivery_id == deliveries.c.delivery_id)
            .where(attempts.c.outcome.in_(_words("delivered", "failed", "timeout")))
        )

    def _write_failures(self, tables: Tables) -> None:
        deliveries, attempts = tables.deliveries, tables.attempts
        ended_at = attempts.c.started_at + attempts.c.duration
        key = (deliveries.c.runnable_id, deliveries.c.phase, deliveries.c.hook)
        failed = (
            select(*key)
            .select_from(attempts)
            .join(deliveries, deliveries.c.delivery_id == attempts.c.delivery_id)
            .where(attempts.c.outcome.in_(_words("failed", "timeout")), ended_at >= bindparam("since"))
        )
        self._failed = Prepared(failed.add_columns(func.count()).group_by(*key))
        self._durations_of_open = Prepared(
            failed.add_columns(attempts.c.duration)
            .where(deliveries.c.finished_at.is_(None))
            .order_by(ended_at.desc())
            .limit(bindparam("sample"))
        )

    def hooks(self, connection: Connection, since: float) -> list[HookStats]:
        """What became of each hook's deliveries since then, sorted by hook."""
        seen: dict[HookKey, _Seen] = defaultdict(_Seen)
        for runnable, phase, hook, status, count in self._counts.rows(connection, {"since": since}):
            seen[HookKey(runnable, phase, hook)].counts[status] = count
        for key, found in seen.items():
            self._sample(connection, {**key_params(key), "since": since, "sample": SAMPLE}, found)
        params = {"since": since, "sample": SAMPLE}
        for runnable, phase, hook, failed in self._failed.rows(connection, params):
            seen[HookKey(runnable, phase, hook)].failed = failed
        for runnable, phase, hook, duration in self._durations_of_open.rows(connection, params):
            seen[HookKey(runnable, phase, hook)].durations.append(duration)
        return [_stats(key, seen[key]) for key in sorted(seen)]

    def _sample(self, connection: Connection, params: dict[str, Any], found: _Seen) -> None:
        for status in (DeliveryStatus.DELIVERED, DeliveryStatus.DEAD):
            if status in found.counts:
                ended = {**params, "ended_as": str(status)}
                found.durations += [duration for (duration,) in self._durations.rows(connection, ended)]
                if status == DeliveryStatus.DELIVERED:
                    found.waits = [
                        max(0.0, wait) for (wait,) in self._waits.rows(connection, ended) if wait is not None
                    ]


def _latest_that_ended(deliveries: Table) -> Subquery:
    return (
        select(deliveries.c.seq)
        .where(
            is_hook(deliveries),
            deliveries.c.status == bindparam("ended_as"),
            deliveries.c.finished_at >= bindparam("since"),
        )
        .order_by(deliveries.c.finished_at.desc())
        .limit(bindparam("sample"))
        .subquery()
    )


def _words(*outcomes: str) -> list[Any]:
    """Written out, as the condition of the index has them."""
    return [literal_column(f"'{outcome}'") for outcome in outcomes]


def _stats(key: HookKey, seen: _Seen) -> HookStats:
    seen.waits.sort()
    seen.durations.sort()
    delivered, dead, discarded = (
        seen.counts.get(str(status), 0)
        for status in (DeliveryStatus.DELIVERED, DeliveryStatus.DEAD, DeliveryStatus.DISCARDED)
    )
    return HookStats(
        key=key,
        count=delivered + dead + discarded,
        delivered=delivered,
        dead=dead,
        discarded=discarded,
        failed=seen.failed,
        wait_p50=_percentile(seen.waits, 0.5),
        wait_p95=_percentile(seen.waits, 0.95),
        duration_p50=_percentile(seen.durations, 0.5),
        duration_p95=_percentile(seen.durations, 0.95),
    )


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    """The least value that at least this share of all does not exceed; None of nothing."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None
