"""The ledger seen from outside: plain SQLite, without hookline."""

from __future__ import annotations

import sqlite3
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_HELD = """
    SELECT held.server_id, server.pid
    FROM (
        SELECT DISTINCT server_id FROM hookline_runs WHERE status = 'running'
        UNION SELECT DISTINCT server_id FROM hookline_deliveries WHERE status = 'running'
        UNION SELECT DISTINCT active_server_id FROM hookline_sessions WHERE active_server_id IS NOT NULL
    ) AS held
    LEFT JOIN hookline_servers AS server ON server.server_id = held.server_id
"""
_OPEN = """
    SELECT (SELECT count(*) FROM hookline_runs WHERE status = 'running')
        + (SELECT count(*) FROM hookline_deliveries
           WHERE status != 'delivered' AND status IN ('waiting', 'pending', 'running'))
"""


@dataclass(frozen=True)
class Contents:
    """All rows of the tables, as dictionaries."""

    runs: list[Row]
    deliveries: list[Row]
    attempts: list[Row]
    sessions: list[Row]
    servers: list[Row]


class Ledger:
    """A reader of the file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._connection: sqlite3.Connection | None = None

    def held_by_others(self, pids: AbstractSet[int]) -> bool:
        """Whether a process that is none of these holds a run, a delivery or a session."""
        return any(pid not in pids for _, pid in self._connect().execute(_HELD))

    def count_open(self) -> int:
        """How many runs and deliveries have not ended."""
        [(count,)] = self._connect().execute(_OPEN)
        return int(count)

    def is_locked(self, seconds: float) -> bool:
        """Whether somebody holds the write lock for so long."""
        with closing(sqlite3.connect(self.file, timeout=seconds, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.execute("ROLLBACK")
            return False

    def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file; `["ok"]` is nothing."""
        return [text for (text,) in self._connect().execute("PRAGMA integrity_check")]

    def read(self) -> Contents:
        """Everything."""
        return Contents(
            runs=self._rows("SELECT * FROM hookline_runs ORDER BY seq"),
            deliveries=self._rows("SELECT * FROM hookline_deliveries ORDER BY run_id, position, seq"),
            attempts=self._rows("SELECT * FROM hookline_attempts ORDER BY delivery_id, number"),
            sessions=self._rows("SELECT * FROM hookline_sessions"),
            servers=self._rows("SELECT * FROM hookline_servers"),
        )

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, statement: str) -> list[Row]:
        cursor = self._connect().execute(statement)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=10, isolation_level=None)
        return self._connection
