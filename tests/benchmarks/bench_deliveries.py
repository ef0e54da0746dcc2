"""How fast deliveries are: `python -m benchmarks.bench_deliveries --help`, from `tests/`.

Three figures, each of a served AgentOS on an SQLite file of its own, in a process of its own:

* the rate at which no-op hooks are delivered from a backlog in the ledger, and the CPU time of each (all threads);
* the time from a run's commit to the start of its first hook, under light load;
* the memory that waiting deliveries take.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from hookline import Agent, AgentOS, RunInput, RunOutput, Settings, hook
from hookline.runs import RunStatus
from hookline.storage import FinishRun, NewDelivery, RunRecord, SessionLock, Storage
from hookline.testing import ScriptedModel
from hookline_sql import SqliteDb

Synchronous = Literal["FULL", "NORMAL"]

DOCUMENT = {"status": "completed", "content": "lorem ipsum " * 40, "messages": [], "metrics": {}, "metadata": {}}
ANOTHER_SERVER = "a server that is gone"
HOOKS = 3


def _document(run_id: str, session_id: str) -> str:
    told = {"run_id": run_id, "session_id": session_id, "agent_id": "a", "user_id": None}
    return json.dumps({**told, **DOCUMENT, "reason": None, "error": None, "created_at": None, "finished_at": None})


async def _store_run(storage: Storage, hooks: list[str], due_in: float = 0.0) -> None:
    """A run that another server has finished, none of its hooks begun."""
    run_id, session_id, now = str(uuid.uuid4()), str(uuid.uuid4()), time.time() - 60.0 + due_in
    run = RunRecord(run_id, session_id, None, "agent", "a", ANOTHER_SERVER, now, input="a question")
    await storage.lock_session(SessionLock(session_id, None, run_id, ANOTHER_SERVER, now))
    await storage.accept_run(run, [])
    run.status, run.document, run.finished_at = RunStatus.COMPLETED, _document(run_id, session_id), now
    rows = [NewDelivery(str(uuid.uuid4()), "post", name, position, 4) for position, name in enumerate(hooks)]
    if not await storage.finish_run(FinishRun(run, True, rows, None, now)):
        raise RuntimeError("the run was lost")


async def _store_backlog(database: SqliteDb, runs: int, hooks: list[str]) -> None:
    storage = await asyncio.to_thread(database.open)
    left = [None] * runs

    async def store() -> None:
        while left:
            left.pop()
            await _store_run(storage, hooks)

    await asyncio.gather(*(store() for _ in range(32)))
    await storage.close()


@asynccontextmanager
async def _serving(agent: Agent, database: SqliteDb, **settings: Any) -> AsyncIterator[AgentOS]:
    agent_os = AgentOS(agents=[agent], db=database, settings=Settings(plugins=[], shutdown_timeout=0.0, **settings))
    async with agent_os.lifespan():
        yield agent_os


def _agent(*hooks: Any) -> Agent:
    return Agent(id="a", model=ScriptedModel("fine", repeat=True), post_hooks=list(hooks))


async def bench_drain(folder: Path, synchronous: Synchronous, deliveries: int) -> dict[str, float]:
    """Deliver a backlog of runs with three no-op hooks each."""
    seen = 0
    ended = asyncio.Event()

    def make(name: str) -> Any:
        @hook(run_in_background=True, name=name)
        async def nothing(run_output: RunOutput) -> None:
            nonlocal seen
            seen += 1
            if seen == deliveries:
                ended.set()

        return nothing

    names = [f"hook {number}" for number in range(HOOKS)]
    database = SqliteDb(folder / "drain.db", synchronous=synchronous)
    deliveries -= deliveries % HOOKS
    await _store_backlog(database, deliveries // HOOKS, names)
    agent_os = AgentOS(
        agents=[_agent(*map(make, names))], db=database, settings=Settings(plugins=[], shutdown_timeout=0.0)
    )
    agent_os.load()
    began, cpu = time.perf_counter(), time.process_time()
    async with agent_os.lifespan():
        await ended.wait()
        await agent_os.drain()
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {"deliveries_per_second": seen / wall, "cpu_us_per_delivery": cpu / seen * 1e6}


async def bench_start(folder: Path, synchronous: Synchronous, runs: int) -> dict[str, float]:
    """The time from a run's commit to the start of its first hook, with one run at a time."""
    begun: asyncio.Queue[float] = asyncio.Queue()

    @hook(run_in_background=True)
    async def note(run_output: RunOutput, run_input: RunInput) -> None:
        begun.put_nowait(time.perf_counter())

    agent, waited = _agent(note), []
    async with _serving(agent, SqliteDb(folder / "start.db", synchronous=synchronous)) as agent_os:
        for _ in range(runs):
            run = agent_os.start_run(agent, "a question")
            await run.finished()
            committed = time.perf_counter()
            run.hand_over()
            waited.append(await begun.get() - committed)
            await asyncio.sleep(0.005)
    p95 = statistics.quantiles(waited, n=20)[-1]
    return {"start_p50_ms": statistics.median(waited) * 1e3, "start_p95_ms": p95 * 1e3}


def _resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def bench_memory(folder: Path, synchronous: Synchronous, deliveries: int) -> dict[str, float]:
    """The memory that deliveries take which cannot start: every place is taken by a hook that does not end."""
    go, answer = asyncio.Event(), "lorem ipsum " * 80

    @hook(run_in_background=True)
    async def wait(run_output: RunOutput) -> None:
        await go.wait()

    model = ScriptedModel(answer, repeat=True)
    agent = Agent(id="a", model=model, post_hooks=[wait])
    async with _serving(agent, SqliteDb(folder / "memory.db", synchronous=synchronous)) as agent_os:

        async def run(count: int) -> None:
            for _ in range(count):
                live = agent_os.start_run(agent, "a question")
                await live.finished()
                live.hand_over()
                model.requests.clear()

        await run(200)
        before = _resident()
        await asyncio.gather(*(run(deliveries // 16) for _ in range(16)))
        await asyncio.sleep(3.0)
        grown = _resident() - before
        go.set()
    return {"waiting": float(deliveries), "memory_mb": grown / 1e6}


CASES = {"drain": bench_drain, "start": bench_start, "memory": bench_memory}


def _in_own_process(case: str, count: int, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.bench_deliveries", "--case", case, "--count", str(count)]
    command += ["--synchronous", options.synchronous, *(["--folder", str(options.folder)] if options.folder else [])]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    measured: dict[str, float] = json.loads(answer.stdout)
    return measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure deliveries in one process on SQLite.")
    parser.add_argument("--case", choices=sorted(CASES), help="one case, printed as JSON (default: all)")
    parser.add_argument("--count", type=int, help="deliveries (runs, for start)")
    parser.add_argument("--synchronous", choices=("FULL", "NORMAL"), default="FULL")
    parser.add_argument("--folder", type=Path, help="where the databases are made (default: a temporary folder)")
    options = parser.parse_args()
    counts = {"drain": 15_000, "start": 400, "memory": 10_000}
    if options.case is None:
        for case, count in counts.items():
            figures = _in_own_process(case, options.count or count, options)
            print("  ".join(f"{name} {value:,.1f}" for name, value in figures.items()))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bench = CASES[options.case]
        print(json.dumps(asyncio.run(bench(Path(folder), options.synchronous, options.count or counts[options.case]))))


if __name__ == "__main__":
    main()
