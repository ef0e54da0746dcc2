"""What every storage must do, as a class of tests: `StorageContract`.

    from hookline.testing import StorageContract

    class TestMyDb(StorageContract):
        def make_database(self, tmp_path: Path) -> MyDb:
            return MyDb(tmp_path / "ledger")

Each test gets an empty database of its own, and uses nothing but the protocol `hookline.storage.Storage`. Some kill a
process that uses the database, open it again and look at what is there; see `CrashPoints` for what they ask of a
description.

`builders` has the runs, deliveries and requests that the tests are made of, for tests of a storage's own.
"""

# ruff: noqa: E402 - what explains its assertions must be registered before it is imported

from __future__ import annotations

import pkgutil

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))

from hookline.testing.storage_contract.careful_claims import CarefulClaims
from hookline.testing.storage_contract.claims import Claims
from hookline.testing.storage_contract.crash_points import CrashPoints
from hookline.testing.storage_contract.filters import Filters
from hookline.testing.storage_contract.hook_claims import HookClaims
from hookline.testing.storage_contract.lost_sessions import LostSessions
from hookline.testing.storage_contract.people import People
from hookline.testing.storage_contract.pruning import Pruning
from hookline.testing.storage_contract.replays import Replays
from hookline.testing.storage_contract.runs import Runs
from hookline.testing.storage_contract.sessions import Sessions
from hookline.testing.storage_contract.settlements import Settlements
from hookline.testing.storage_contract.statistics import Statistics
from hookline.testing.storage_contract.take_overs import TakeOvers

__all__ = ["StorageContract"]


class StorageContract(
    Runs,
    Sessions,
    LostSessions,
    Settlements,
    Claims,
    CarefulClaims,
    HookClaims,
    TakeOvers,
    People,
    Filters,
    Statistics,
    Pruning,
    Replays,
    CrashPoints,
):
    """The tests that every storage passes; subclass it as `Test...`, and override `make_database`.

    They run on asyncio, through the pytest plugin that anyio brings.
    """
