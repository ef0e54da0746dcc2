"""SQLite keeps the contract of storages."""

from __future__ import annotations

from pathlib import Path

import pytest

from hookline.storage import Storage
from hookline.testing import StorageContract
from hookline_sql import SqliteDb


class TestSqliteDb(StorageContract):
    def make_database(self, tmp_path: Path) -> SqliteDb:
        return SqliteDb(tmp_path / "ledger.db", synchronous="NORMAL")


@pytest.mark.parametrize("cursor", ["-1", "AAAA", "MA==", "LTE=", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk="])
async def test_cursor_that_no_listing_gave_is_refused(storage: Storage, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        await storage.list_sessions(user_id=None, limit=2, cursor=cursor)
    with pytest.raises(ValueError, match="cursor"):
        await storage.list_runs("session-1", limit=2, cursor=cursor)
