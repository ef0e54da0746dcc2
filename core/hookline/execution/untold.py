"""What the ledger was not told yet: attempts that were begun on the short way, and what came of attempts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from hookline.execution.attempt import RELEASED
from hookline.execution.lines import Line, Row, settlement_of
from hookline.storage import Settlement, Start

MOST_PER_EXCHANGE = 256


@dataclass(frozen=True, slots=True)
class Batch:
    """What is told in one exchange.

    `claims_in_doubt`: an exchange before it failed, and may have claimed what nobody heard of.
    """

    begun: list[Row]
    settled: list[tuple[Line, Row]]
    claims_in_doubt: bool

    def __bool__(self) -> bool:
        return bool(self.begun or self.settled)

    @property
    def starts(self) -> list[Start]:
        """As the ledger is told of them."""
        return [Start(row.delivery.delivery_id, row.fence) for row in self.begun]

    @property
    def settlements(self) -> list[Settlement]:
        """As the ledger is told of them."""
        return [settlement_of(row) for _, row in self.settled]

    @property
    def ended(self) -> list[Line]:
        """Lines of which nothing is left here but what comes next of them in the ledger."""
        return [line for line, row in self.settled if row is line.rows[-1] and row.verdict is not RELEASED]


class Untold:
    """Collects what there is to tell, and keeps it until the ledger has stored it."""

    def __init__(self) -> None:
        self._begun: dict[str, Row] = {}
        self._settled: deque[tuple[Line, Row]] = deque()
        self._most = MOST_PER_EXCHANGE
        self._starts_in_doubt = False
        self._claims_in_doubt = False

    def __bool__(self) -> bool:
        return bool(self._begun or self._settled)

    def begin(self, row: Row) -> None:
        """An attempt was begun."""
        self._begun[row.delivery.delivery_id] = row

    def settle(self, line: Line, row: Row) -> None:
        """An attempt has a verdict."""
        line.unsettled += 1
        self._settled.append((line, row))

    @property
    def has_settled(self) -> bool:
        """Whether there are verdicts to tell."""
        return bool(self._settled)

    @property
    def is_waited_for(self) -> bool:
        """Whether the line of a verdict was claimed: what comes next of it is known to the ledger alone."""
        return any(line.claimed for line, _ in self._settled)

    def take(self) -> Batch:
        """What is told next.

        After an exchange that failed with starts in it these come alone: they may be stored, and what came of them is
        told at a known fence.
        """
        most = 0 if self._starts_in_doubt else self._most
        settled = [self._settled.popleft() for _ in range(min(len(self._settled), most))]
        ids = {row.delivery.delivery_id for _, row in settled}
        begun = [row for id_, row in self._begun.items() if id_ not in ids]
        self._begun.clear()
        return Batch(begun, settled, self._claims_in_doubt)

    def put_back(self, batch: Batch, *, with_claims: bool) -> None:
        """The exchange failed; `with_claims`: it was to claim something, too.

        Fewer are told together then, so that one which cannot be stored is found; it comes after the others.
        """
        if len(batch.settled) == 1 and not batch.begun:
            self._settled.extend(batch.settled)
        else:
            self._settled.extendleft(reversed(batch.settled))
        if batch.settled:
            self._most = max(1, len(batch.settled) // 2)
        self._begun.update({row.delivery.delivery_id: row for row in batch.begun})
        self._starts_in_doubt = bool(batch.begun)
        self._claims_in_doubt |= with_claims

    def doubt_claims(self) -> None:
        """What was claimed may have got lost here: what is not `held` is given back."""
        self._claims_in_doubt = True

    def told(self, batch: Batch) -> None:
        """The ledger knows it: begun rows are its own now, and lines may go on."""
        self._starts_in_doubt = self._claims_in_doubt = False
        self._most = min(self._most * 2, MOST_PER_EXCHANGE)
        for row in batch.begun:
            row.taken = True
            row.fence += 1
        for line, _ in batch.settled:
            line.unsettled -= 1
            if line.unsettled <= 0:
                line.settled.set()

    def held(self, batch: Batch, lines: Iterable[Line]) -> dict[str, int]:
        """All deliveries that are on their way here, with the fences at which they would be running."""
        rows = [row for line in lines for row in line.rows]
        rows += [row for _, row in (*batch.settled, *self._settled)] + batch.begun
        return {row.delivery.delivery_id: row.fence if row.taken else row.fence + 1 for row in rows}
