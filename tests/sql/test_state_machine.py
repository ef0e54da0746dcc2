"""Any sequence of the ledger's operations, by several servers, against a small model.

More examples by hand, with longer sequences:

    HOOKLINE_EXAMPLES=5000 HOOKLINE_STEPS=100 pytest tests/sql/test_state_machine.py --timeout 0
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from hookline.storage import ClaimedDelivery, Exchange, Settlement, Storage
from hookline_sql import SqliteDb
from sql.ledger_workers import WorkerMachine

EXAMPLES = int(os.environ.get("HOOKLINE_EXAMPLES", "100"))
STEPS = int(os.environ.get("HOOKLINE_STEPS", "50"))
SETTINGS = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger to be copied: making one takes longer than an example."""
    file = tmp_path_factory.mktemp("template") / "ledger.db"
    asyncio.run(SqliteDb(file).open().close())
    return file


class Unfenced:
    """A storage that takes anybody's word for what is running, whoever holds it by now."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._holders: dict[str, tuple[str, int]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def exchange(self, request: Exchange) -> list[ClaimedDelivery]:
        for settlement in request.settlements:
            server, trusted = self._trust(request.server_id, settlement)
            request = replace(request, server_id=server, settlements=[trusted])
        claims = await self._storage.exchange(request)
        self._holders |= {claim.delivery.delivery_id: (request.server_id, claim.fence) for claim in claims}
        self._holders |= {start.delivery_id: (request.server_id, start.fence + 1) for start in request.starts}
        return claims

    def _trust(self, server: str, settlement: Settlement) -> tuple[str, Settlement]:
        if not settlement.started:
            return server, settlement
        holder, fence = self._holders.get(settlement.delivery_id, (server, settlement.fence))
        return holder, replace(settlement, fence=fence)


def run_machine(template: Path, settings: settings, wrap: Callable[[Any], Any] = lambda storage: storage) -> None:
    machine = type("Machine", (WorkerMachine,), {"template": template, "wrap": staticmethod(wrap)})
    run_state_machine_as_test(machine, settings=settings)


@pytest.mark.timeout(600)
def test_ledger_does_what_the_model_does(template: Path) -> None:
    run_machine(template, SETTINGS)


@pytest.mark.timeout(600)
def test_machine_notices_that_a_lost_delivery_is_settled(template: Path) -> None:
    once = settings(SETTINGS, phases=[Phase.generate], database=None, report_multiple_bugs=False)
    with pytest.raises(AssertionError):
        run_machine(template, once, Unfenced)
