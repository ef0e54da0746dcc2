"""Thirty faults, and every promise of the ledger kept; `python -m chaos --faults 300` for more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.driver import Options, cause_chaos
from chaos.summary import summary, told

FAULTS = 30
FEWEST = 10
SEED = 7
FAULT_SECONDS = 160.0
"""No fault begins later, so that the whole takes 4 minutes at most; a busy machine does with fewer of them."""
SETTLE_SECONDS = 80.0

pytestmark = pytest.mark.process


@pytest.mark.timeout(300)
async def test_no_fault_breaks_a_promise(tmp_path: Path) -> None:
    options = Options(
        tmp_path, FAULTS, SEED, seconds=FAULT_SECONDS, most_freezes=1, pause=1.0, settling=SETTLE_SECONDS, clients=8
    )
    report = await cause_chaos(options)
    print(summary(report))
    assert not report.violations, told(report)
    assert sum(report.seen.done.values()) >= FEWEST, f"this machine is too slow for {FEWEST} faults in time"
