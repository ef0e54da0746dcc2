"""What the core's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from core_support import FaultyDb
from hookline import policy
from hookline_sql import SqliteDb


@pytest.fixture
def db(tmp_path: Path) -> SqliteDb:
    """A ledger of this test's own."""
    return SqliteDb(db_file=tmp_path / "ledger.db")


@pytest.fixture
def faulty(db: SqliteDb) -> FaultyDb:
    """The same ledger, which can be told to fail."""
    return FaultyDb(db)


@pytest.fixture
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed delivery is tried again at once."""
    monkeypatch.setattr(policy, "BACKOFF_CAP_SECONDS", 0.01)
