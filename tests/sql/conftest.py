"""Ledgers in files of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hookline.storage import Storage
from hookline_sql import SqliteDb

pytest.register_assert_rewrite("sql.ledger_machine", "sql.ledger_workers")  # so that a failure tells the values


@pytest.fixture
def database(tmp_path: Path) -> SqliteDb:
    """A database that is not made yet; commits need not outlive a power loss here."""
    return SqliteDb(tmp_path / "ledger.db", synchronous="NORMAL")


@pytest.fixture
async def storage(database: SqliteDb) -> AsyncIterator[Storage]:
    """A fresh ledger."""
    opened = database.open()
    yield opened
    await opened.close()
