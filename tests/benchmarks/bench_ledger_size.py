"""What a long history costs: `python tests/benchmarks/bench_ledger_size.py --help`.

The same operations on a ledger with a million finished deliveries and on a fresh one, by turns; the ratio of the two
medians is what the history costs. Then what people ask of the large one, and what three deliveries add to a commit.
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
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from hookline.deliveries import DeliveryStatus, HookKey
from hookline.runs import RunStatus
from hookline.storage import (
    ClaimedDelivery,
    DeliveryFilter,
    Exchange,
    FinishRun,
    NewDelivery,
    Prune,
    ReplayRecord,
    RunRecord,
    SessionLock,
    Settlement,
    Storage,
)
from hookline.uuids import uuid7
from hookline_sql import SqliteDb

SERVER = "server"
DOCUMENT = json.dumps({"messages": [{"role": "user", "content": "lorem ipsum " * 80}]})
HOOKS = 3
DAY = 86_400.0
AT_ONCE = 64
DRAINING = f"exchange: {AT_ONCE} settled, {AT_ONCE} claimed"
LATER = 3600.0
"""Claims are made this many seconds later, when no line is reserved for the server of its run any more."""

FILL = (
    """
    WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :runs)
    INSERT INTO hookline_runs (run_id, session_id, runnable_kind, runnable_id, server_id, created_at, status,
        finished_at, format_version, metadata, hook_calls, snapshot, document)
    SELECT uuid7(:start + n * :step), 'old session ' || (n / 10), 'agent', 'demo', 'gone', :start + n * :step,
        'completed', :start + n * :step + 1, 1, '{}', '[]', '{}', :document
    FROM numbers
    """,
    """
    INSERT INTO hookline_sessions (session_id, state, version, created_at, updated_at)
    SELECT session_id, '{}', 1, min(created_at), max(created_at) FROM hookline_runs GROUP BY session_id
    """,
    """
    WITH hooks(position) AS (VALUES (0), (1), (2))
    INSERT INTO hookline_deliveries (delivery_id, run_id, runnable_id, phase, hook, position, status, in_line, fence,
        attempt_count, max_attempts, interruptions, created_at, finished_at)
    SELECT uuid7(runs.finished_at), run_id, runnable_id, 'post', 'hook_' || position, position,
        iif(runs.seq % 100 = 0 AND position = 2, 'dead', 'delivered'), 0, 1, 1, 4, 0, runs.finished_at,
        runs.finished_at + 1 + position
    FROM hookline_runs AS runs CROSS JOIN hooks
    """,
    """
    INSERT INTO hookline_attempts (delivery_id, number, started_at, duration, outcome)
    SELECT delivery_id, 1, finished_at - 0.5, 0.5, iif(status = 'dead', 'failed', 'delivered')
    FROM hookline_deliveries ORDER BY delivery_id
    """,
)


def _uuid7_of(instant: float) -> str:
    """An id as if it had been made then."""
    return f"{uuid.UUID(int=int(instant * 1000) << 80)}"[:14] + uuid7()[14:]


def fill(file: Path, deliveries: int) -> None:
    """Write finished runs of the last 30 days, each with three deliveries that ended."""
    runs = deliveries // HOOKS
    values = {"runs": runs, "start": time.time() - 30 * DAY, "step": 30 * DAY / runs, "document": DOCUMENT}
    with closing(sqlite3.connect(file)) as connection:
        connection.create_function("uuid7", 1, _uuid7_of)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -500000")
        for statement in FILL:
            connection.execute(statement, values)
            connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class Bench:
    """Operations on one ledger; `seconds` has what each of them took, by case."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.is_drained = False
        self._settlements: Sequence[Settlement] = ()

    async def timed(self, case: str, operation: Callable[[], Awaitable[object]]) -> None:
        """Do something and note how long it took."""
        began = time.perf_counter()
        await operation()
        self.seconds[case].append(time.perf_counter() - began)

    async def commit_run(self, deliveries: int) -> None:
        """Lock, accept, and, timed, commit a run."""
        now, run_id = time.time(), uuid7()
        run = RunRecord(run_id, f"session of {run_id}", None, "agent", "demo", SERVER, now, input="a question")
        await self.storage.lock_session(SessionLock(run.session_id, None, run_id, SERVER, now, history_runs=3))
        await self.storage.accept_run(run, [])
        run.status, run.document, run.finished_at = RunStatus.COMPLETED, DOCUMENT, now
        rows = [NewDelivery(uuid7(), "post", f"hook_{n}", n, 4) for n in range(deliveries)]
        request = FinishRun(run, True, rows, '{"n":1}', now)
        await self.timed(f"commit of a run with {deliveries} deliveries", partial(self.storage.finish_run, request))

    async def drain_on(self) -> None:
        """Settle what was claimed last and claim the next, in one exchange."""
        runs = {settlement.run_id: None for settlement in self._settlements}
        now = time.time() + LATER
        request = Exchange(SERVER, now, (), self._settlements, tuple(runs), scan=True, limit=AT_ONCE)
        began = time.perf_counter()
        claimed = await self.storage.exchange(request)
        if len(claimed) == len(self._settlements) == AT_ONCE:
            self.seconds[DRAINING].append(time.perf_counter() - began)
        self._settlements = [_settlement(claim) for claim in claimed]
        self.is_drained = not claimed

    async def claim_and_give_back(self) -> None:
        """Claim 16 that are due, timed, once by the general scan and once leaving a hook apart; give them back."""
        apart = HookKey("demo", "post", "another")
        for case, left in (("claim of 16", ()), ("claim of 16, a hook apart", (apart,))):
            claimed: list[ClaimedDelivery] = []
            request = Exchange(SERVER, time.time() + LATER, scan=True, limit=16, apart=left)

            async def claim(request: Exchange = request, claimed: list[ClaimedDelivery] = claimed) -> None:
                claimed += await self.storage.exchange(request)

            await self.timed(case, claim)
            back = [_settlement(claim, DeliveryStatus.PENDING, released=True) for claim in claimed]
            await self.storage.exchange(Exchange(SERVER, time.time() - 10, settlements=back))

    async def count(self) -> None:
        """Count what is to be done, timed."""
        await self.timed("count of the backlog", partial(self.storage.backlog, 10_000))


def _settlement(
    claim: ClaimedDelivery, status: DeliveryStatus = DeliveryStatus.DELIVERED, *, released: bool = False
) -> Settlement:
    return Settlement(
        delivery_id=claim.delivery.delivery_id,
        run_id=claim.delivery.run_id,
        fence=claim.fence,
        started=True,
        status=status,
        outcome="released" if released else "delivered",
        started_at=None if released else time.time(),
        duration=0.001,
    )


async def ask(storage: Storage) -> None:
    """Ask a large ledger what people ask."""
    bench, now = Bench(storage), time.time()
    replay = ReplayRecord("replay", "post", "hook_0", ["demo"], ["completed"], 4, now)
    month = 31 * DAY
    questions: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        (f"list {name}", partial(storage.list_deliveries, where, limit=50, cursor=None))
        for name, where in (
            ("all", DeliveryFilter()),
            ("dead", DeliveryFilter(status="dead")),
            ("a hook's", DeliveryFilter(hook="hook_1")),
            ("a hook's dead", DeliveryFilter(hook="hook_2", status="dead")),
            ("an unknown hook's", DeliveryFilter(hook="unknown")),
            ("a runnable's delivered", DeliveryFilter(runnable="demo", status="delivered")),
            ("older than 29 days", DeliveryFilter(created_before=now - 29 * DAY)),
            ("a hook's older than a day", DeliveryFilter(hook="hook_1", created_before=now - DAY)),
        )
    ]
    questions += [
        ("count delivered", partial(storage.count_deliveries, DeliveryFilter(status="delivered"), 10**9)),
        ("count a hook's", partial(storage.count_deliveries, DeliveryFilter(hook="hook_1"), 10**9)),
        ("statistics of an hour", partial(storage.hook_stats, now - 3600)),
        ("statistics of a day", partial(storage.hook_stats, now - DAY)),
        ("statistics of a month", partial(storage.hook_stats, now - month)),
        ("count of a replay's runs", partial(storage.count_replay, replay)),
        ("prune of 29 days, dry", partial(storage.prune, Prune(*[now - 29 * DAY] * 3), dry_run=True)),
    ]
    for name, question in questions:
        for _ in range(3):
            await bench.timed(name, question)
    print(f"\n{'asked of the large one':36} {'ms':>8}")
    for name, seconds in bench.seconds.items():
        print(f"{name:36} {1000 * statistics.median(seconds):>8.1f}")


async def prune(storage: Storage) -> None:
    """Prune a day, and see how long commits take meanwhile."""
    bench = Bench(storage)
    for _ in range(200):
        await bench.commit_run(HOOKS)
    before = time.time() - 29 * DAY
    pruning = asyncio.create_task(storage.prune(Prune(before, before, before)))
    meanwhile = Bench(storage)
    began = time.perf_counter()
    while not pruning.done():
        await meanwhile.commit_run(HOOKS)
    print(f"\n{pruning.result()} in {time.perf_counter() - began:.1f} s")
    for name, seconds in (("before", bench.seconds), ("meanwhile", meanwhile.seconds)):
        taken = next(iter(seconds.values()))
        print(f"commit {name}: median {1000 * statistics.median(taken):.2f} ms, longest {1000 * max(taken):.2f} ms")


async def compare(small: Storage, large: Storage, rounds: int, runs: int) -> None:
    """Both ledgers, operation by operation in turn, so that what else the machine does befalls both alike."""
    fresh, full = Bench(small), Bench(large)
    both = (fresh, full)
    await _in_turn(both, 2 * runs, lambda bench: bench.commit_run(HOOKS))  # to fill the caches
    await _drain(both)
    fresh.seconds.clear()
    full.seconds.clear()
    for _ in range(rounds):
        await _in_turn(both, runs, lambda bench: bench.commit_run(0))
        await _in_turn(both, runs, lambda bench: bench.commit_run(HOOKS))
        await _in_turn(both, 50, lambda bench: bench.claim_and_give_back())
        await _in_turn(both, 50, lambda bench: bench.count())
        await _drain(both)
    print(f"{'case':36} {'fresh ms':>9} {'large ms':>9} {'ratio':>6}")
    for case in fresh.seconds:
        one, other = (1000 * statistics.median(bench.seconds[case]) for bench in (fresh, full))
        print(f"{case:36} {one:>9.3f} {other:>9.3f} {other / one:>6.2f}")
    for name, bench in (("fresh", fresh), ("large", full)):
        medians = [statistics.median(bench.seconds[f"commit of a run with {n} deliveries"]) for n in (0, HOOKS)]
        drained = AT_ONCE / statistics.median(bench.seconds[DRAINING])
        print(
            f"{name}: {HOOKS} deliveries add {1000 * (medians[1] - medians[0]):.3f} ms to a commit, "
            f"{drained:.0f} deliveries/s drained"
        )


async def _drain(benches: tuple[Bench, Bench]) -> None:
    for bench in benches:
        bench.is_drained = False
    while not all(bench.is_drained for bench in benches):
        await _in_turn(benches, 2, lambda bench: bench.drain_on())


async def _in_turn(benches: tuple[Bench, Bench], times: int, do: Callable[[Bench], Awaitable[object]]) -> None:
    for number in range(times):
        for bench in benches if number % 2 else reversed(benches):
            await do(bench)


async def _bench_all(folder: Path, ledger: Path | None, options: argparse.Namespace) -> None:
    file = ledger or folder / "large.db"
    is_made = file.exists()
    large = SqliteDb(file, synchronous=options.synchronous, busy_timeout=60).open()
    if not is_made:
        began = time.perf_counter()
        await asyncio.to_thread(fill, file, options.deliveries)
        size = file.stat().st_size / 1e6
        print(f"{options.deliveries} deliveries, {size:.0f} MB, made in {time.perf_counter() - began:.0f} s")
    small = SqliteDb(folder / "small.db", synchronous=options.synchronous).open()
    try:
        await compare(small, large, options.rounds, options.runs)
        await ask(large)
        await prune(large)
    finally:
        await small.close()
        await large.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure a ledger with a long history against a fresh one.")
    parser.add_argument("--deliveries", type=int, default=1_000_000, help="finished ones (default 1000000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds over both ledgers (default 5)")
    parser.add_argument("--runs", type=int, default=500, help="runs with deliveries in each round (default 500)")
    parser.add_argument("--synchronous", choices=("FULL", "NORMAL"), default="FULL")
    parser.add_argument("--ledger", type=Path, help="the large ledger: used if it is there, else made and kept")
    parser.add_argument("--folder", type=Path, help="where the databases are made (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        asyncio.run(_bench_all(Path(folder), options.ledger, options))


if __name__ == "__main__":
    main()
