"""What all parts of the contract share: the database under test, opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hookline.storage import Database, Storage
from hookline.testing.storage_contract.builders import Server


class Basis:
    """The fixtures of the contract."""

    pytestmark = pytest.mark.anyio

    def make_database(self, tmp_path: Path) -> Database:
        """A description of an empty database; `tmp_path` is a folder of its own. To be overridden."""
        pytest.fail(f"{type(self).__name__} must override make_database(self, tmp_path)")

    @pytest.fixture
    def anyio_backend(self) -> str:
        """The only event loop that hookline runs on."""
        return "asyncio"

    @pytest.fixture
    def database(self, tmp_path: Path) -> Database:
        """A database that nobody has opened yet."""
        return self.make_database(tmp_path)

    @pytest.fixture
    async def storage(self, database: Database) -> AsyncIterator[Storage]:
        """A fresh ledger, closed in the end."""
        opened = await asyncio.to_thread(database.open)
        yield opened
        await opened.close()

    @pytest.fixture
    def server(self, storage: Storage) -> Server:
        """A server that uses it."""
        return Server(storage)
