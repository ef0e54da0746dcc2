"""A ledger with something of everything: `python tests/sql/filled.py FILE` makes one, of the revision of this code."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from hookline.deliveries import DeliveryStatus
from hookline.runs import RunStatus
from hookline.storage import FinishRun, Settlement, Storage
from hookline_sql import SqliteDb
from sql.builders import (
    NOW,
    OTHER,
    Server,
    completed,
    failed,
    lock_of,
    new_deliveries,
    new_run,
    server_of,
    settlement_of,
)

RUNS = 12


async def fill(storage: Storage) -> None:
    """Store sessions, runs in every status but `paused`, deliveries in every status, attempts and servers."""
    await storage.beat(server_of())
    await storage.beat(server_of(OTHER, NOW + 1))
    for n in range(RUNS):
        await _store_run(storage, f"run-{n}", n)
    await _settle_some(Server(storage, now=NOW + 5))
    await storage.discard("run-3:0", "not needed", NOW + 6)
    await Server(storage, OTHER, NOW + 5).start(("run-4:0", 0))
    await storage.lock_session(lock_of("run-open", session_id="session-open"))
    await storage.accept_run(new_run("run-open", session_id="session-open"), new_deliveries(2, "run-open"))


async def _store_run(storage: Storage, run_id: str, n: int) -> None:
    session_id = f"session-{n % 4}"
    assert await storage.lock_session(lock_of(run_id, session_id=session_id)) is not None
    run = new_run(run_id, session_id=session_id, created_at=NOW + n, metadata='{"color":"blue"}')
    await storage.accept_run(run, [])
    status = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.REJECTED, RunStatus.CANCELLED)[n % 4 if n > 4 else 0]
    run = completed(run, status=status, finished_at=NOW + n + 0.5)
    assert await storage.finish_run(FinishRun(run, True, new_deliveries(3, run_id), f'{{"n":{n}}}', NOW + n))


async def _settle_some(server: Server) -> None:
    await server.settle(
        _unstarted("run-0:0"),
        replace(failed("run-1:0", 0, due_at=NOW + 9), started=False),
        _unstarted("run-1:1", status=DeliveryStatus.DEAD, outcome="failed", last_error="no"),
        _unstarted("run-2:0", status=DeliveryStatus.PARKED, outcome="parked", started_at=None),
    )
    await server.settle(*(_unstarted(f"run-{n}:{m}") for n in range(5, 9) for m in range(3)))


def _unstarted(delivery_id: str, **changes: Any) -> Settlement:
    return settlement_of(delivery_id, 0, started=False, **changes)


async def make(file: Path) -> None:
    """Make such a ledger in a file, as small as it can be."""
    storage = SqliteDb(file).open()
    await fill(storage)
    await storage.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")


if __name__ == "__main__":
    asyncio.run(make(Path(sys.argv[1])))
