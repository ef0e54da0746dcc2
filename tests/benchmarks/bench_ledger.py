"""How fast the ledger is, and what it costs: `python tests/benchmarks/bench_ledger.py --help`.

Each case prints operations per second and CPU time (all threads of the process, user and system) per operation,
where an operation is a whole run (lock_session, accept_run, finish_run) or one exchange.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from hookline.deliveries import DeliveryStatus
from hookline.runs import RunStatus
from hookline.storage import (
    Exchange,
    FinishRun,
    NewDelivery,
    RunRecord,
    SessionLock,
    Settlement,
    Start,
    Storage,
)
from hookline_sql import SqliteDb

SERVER = "server"
DOCUMENT = json.dumps({"messages": [{"role": "user", "content": "lorem ipsum " * 80}]})


@dataclass
class Measured:
    """One case: `cpu_us` is CPU time per operation, `p99_ms` the latency that 1 in 100 exceeds."""

    case: str
    callers: int
    per_second: float
    cpu_us: float
    p99_ms: float


def _run_record(run_id: str, now: float) -> RunRecord:
    return RunRecord(run_id, f"session of {run_id}", None, "agent", "demo", SERVER, now, input="a question")


def _rows(count: int) -> list[NewDelivery]:
    return [NewDelivery(str(uuid.uuid4()), "post", f"hook_{n}", n, 4) for n in range(count)]


async def _whole_run(storage: Storage, deliveries: list[NewDelivery]) -> str:
    now, run_id = time.time(), str(uuid.uuid4())
    run = _run_record(run_id, now)
    await storage.lock_session(SessionLock(run.session_id, None, run_id, SERVER, now, history_runs=3))
    await storage.accept_run(run, [])
    run.status, run.document, run.finished_at = RunStatus.COMPLETED, DOCUMENT, now
    if not await storage.finish_run(FinishRun(run, True, deliveries, '{"n":1}', now)):
        raise RuntimeError("the run was lost")
    return run_id


def _settlement(row: NewDelivery, run_id: str, *, started: bool) -> Settlement:
    return Settlement(
        delivery_id=row.delivery_id,
        run_id=run_id,
        fence=int(started),
        started=started,
        status=DeliveryStatus.DELIVERED,
        outcome="delivered",
        started_at=time.time(),
        duration=0.001,
    )


async def _measure(case: str, callers: int, operations: Sequence[Callable[[], Awaitable[object]]]) -> Measured:
    waiting = list(reversed(operations))
    latencies: list[float] = []

    async def call() -> None:
        while waiting:
            operation = waiting.pop()
            began = time.perf_counter()
            await operation()
            latencies.append(time.perf_counter() - began)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(call() for _ in range(callers)))
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    count = len(operations)
    p99 = statistics.quantiles(latencies, n=100)[-1] * 1000
    return Measured(case, callers, count / wall, cpu / count * 1e6, p99)


async def _bench_runs(storage: Storage, count: int, callers: int, deliveries: int) -> Measured:
    lines = [_rows(deliveries) for _ in range(count)]
    operations = [partial(_whole_run, storage, rows) for rows in lines]
    return await _measure(f"run, {deliveries} deliveries", callers, operations)


async def _bench_exchanges(storage: Storage, count: int, callers: int, *, started: bool) -> Measured:
    requests = []
    for _ in range(count):
        rows = _rows(5)
        run_id = await _whole_run(storage, rows)
        if started:
            starts = [Start(row.delivery_id, 0) for row in rows]
            await storage.exchange(Exchange(SERVER, time.time(), starts=starts))
        settlements = [_settlement(row, run_id, started=started) for row in rows]
        requests.append(Exchange(SERVER, time.time(), settlements=settlements))
    kind = "started" if started else "unstarted"
    operations = [partial(storage.exchange, request) for request in requests]
    return await _measure(f"exchange, 5 {kind} settlements", callers, operations)


async def _bench_scans(storage: Storage, count: int) -> Measured:
    requests = [Exchange(SERVER, time.time() - 3600, scan=True, limit=64) for _ in range(count)]
    return await _measure(
        "exchange, scan that finds nothing", 1, [partial(storage.exchange, request) for request in requests]
    )


def _bench_floor(file: Path, count: int, synchronous: str) -> Measured:
    """One insert and its commit by the driver alone, in the calling thread."""
    latencies = []
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("CREATE TABLE runs (run_id TEXT PRIMARY KEY, document TEXT)")
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            start = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO runs VALUES (?, ?)", (str(uuid.uuid4()), DOCUMENT))
            connection.execute("COMMIT")
            latencies.append(time.perf_counter() - start)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    p99 = statistics.quantiles(latencies, n=100)[-1] * 1000
    return Measured("floor: sqlite3, 1 insert + commit", 1, count / wall, cpu / count * 1e6, p99)


async def _bench_all(folder: Path, count: int, synchronous: str) -> list[Measured]:
    measured = [_bench_floor(folder / "floor.db", count, synchronous)]
    database = SqliteDb(folder / "ledger.db", synchronous="NORMAL" if synchronous == "NORMAL" else "FULL")
    storage = await asyncio.to_thread(database.open)
    try:
        await _bench_runs(storage, 200, 4, 1)  # to fill the caches
        for callers in (1, 16):
            measured += [await _bench_runs(storage, count, callers, deliveries) for deliveries in (0, 1, 5)]
        for callers in (1, 16):
            measured.append(await _bench_exchanges(storage, count, callers, started=False))
        measured.append(await _bench_exchanges(storage, count, 1, started=True))
        measured.append(await _bench_scans(storage, count))
    finally:
        await storage.close()
    return measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the ledger against SQLite alone.")
    parser.add_argument("--count", type=int, default=2000, help="operations in each case (default 2000)")
    parser.add_argument("--synchronous", choices=("FULL", "NORMAL"), default="FULL")
    parser.add_argument("--folder", type=Path, help="where the databases are made (default: a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measured = asyncio.run(_bench_all(Path(folder), options.count, options.synchronous))
    if options.json:
        print(json.dumps([asdict(case) for case in measured]))
        return
    print(f"{'case':36} {'callers':>7} {'ops/s':>8} {'CPU us':>8} {'p99 ms':>8}")
    for case in measured:
        print(f"{case.case:36} {case.callers:>7} {case.per_second:>8.0f} {case.cpu_us:>8.0f} {case.p99_ms:>8.2f}")


if __name__ == "__main__":
    main()
