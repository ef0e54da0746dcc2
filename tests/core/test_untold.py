"""What the ledger was not told yet: told again in order, with all that is held here, whatever failed."""

from __future__ import annotations

import time

from hookline import DeliveryStatus, RunStatus
from hookline.execution.attempt import RELEASED, Verdict
from hookline.execution.lines import Line, Row, delivery_of
from hookline.execution.untold import MOST_PER_EXCHANGE, Untold
from hookline.storage import NewDelivery, RunRecord

DELIVERED = Verdict(DeliveryStatus.DELIVERED, "delivered", 1.0, 0.1)


def line_of(run_id: str, *, rows: int = 1, fence: int = 0, taken: bool = False) -> Line:
    run = RunRecord(run_id, "s", None, "agent", "a", "me", time.time(), RunStatus.COMPLETED)
    new = [NewDelivery(f"{run_id}:{position}", "post", "h", position, 4) for position in range(rows)]
    return Line(run, [Row(delivery_of(run, each), fence=fence, taken=taken) for each in new], 0.0)


def settle(untold: Untold, line: Line, verdict: Verdict = DELIVERED, position: int = 0) -> None:
    row = line.rows[position]
    row.verdict = verdict
    untold.settle(line, row)


def told(untold: Untold) -> list[str]:
    """The settlements of the next exchange, which succeeds."""
    batch = untold.take()
    untold.told(batch)
    return [each.delivery_id for each in batch.settlements]


def test_what_failed_is_told_again_in_order() -> None:
    untold = Untold()
    for number in range(4):
        settle(untold, line_of(f"r{number}"))
    untold.put_back(untold.take(), with_claims=False)
    assert told(untold) + told(untold) == ["r0:0", "r1:0", "r2:0", "r3:0"]


def test_starts_that_failed_are_told_alone() -> None:
    untold, line, other = Untold(), line_of("r"), line_of("other")
    untold.begin(line.rows[0])
    untold.put_back(untold.take(), with_claims=False)
    settle(untold, other)
    batch = untold.take()
    assert (len(batch.starts), batch.settled) == (1, [])
    untold.told(batch)
    assert (line.rows[0].taken, line.rows[0].fence) == (True, 1)
    assert told(untold) == ["other:0"]


def test_an_exchange_that_told_nothing_makes_no_batch_smaller() -> None:
    untold = Untold()
    untold.put_back(untold.take(), with_claims=True)
    for number in range(MOST_PER_EXCHANGE + 1):
        settle(untold, line_of(f"r{number}"))
    assert len(told(untold)) == MOST_PER_EXCHANGE


def test_claims_are_in_doubt_until_an_exchange_succeeds() -> None:
    untold = Untold()
    untold.put_back(untold.take(), with_claims=True)
    untold.put_back(untold.take(), with_claims=False)
    assert untold.take().claims_in_doubt, "the one before may have claimed"
    told(untold)
    assert not untold.take().claims_in_doubt
    untold.doubt_claims()
    assert untold.take().claims_in_doubt


def test_held_is_all_that_is_on_its_way_here() -> None:
    """At the fence that it has in the ledger while it runs: one more, where the start is not stored yet."""
    untold = Untold()
    claimed, fresh = line_of("claimed", fence=5, taken=True), line_of("fresh", rows=2)
    begun, settled, left = line_of("begun"), line_of("settled", fence=7, taken=True), line_of("left")
    untold.begin(begun.rows[0])
    settle(untold, settled)
    batch = untold.take()
    settle(untold, left)
    assert untold.held(batch, [claimed, fresh]) == {
        "claimed:0": 5,
        "fresh:0": 1,
        "fresh:1": 1,
        "begun:0": 1,
        "settled:0": 7,
        "left:0": 1,
    }


def test_a_line_ends_with_its_last_row_unless_that_is_given_back() -> None:
    untold = Untold()
    lines = {run_id: line_of(run_id, rows=2) for run_id in ("half", "whole", "released")}
    settle(untold, lines["half"])
    settle(untold, lines["whole"], position=1)
    settle(untold, lines["released"], RELEASED, position=1)
    assert untold.take().ended == [lines["whole"]]


def test_a_line_goes_on_when_all_its_verdicts_are_stored() -> None:
    untold, line = Untold(), line_of("r", rows=2)
    settle(untold, line)
    first = untold.take()
    settle(untold, line, position=1)
    untold.told(first)
    assert not line.settled.is_set()
    untold.told(untold.take())
    assert line.settled.is_set()
