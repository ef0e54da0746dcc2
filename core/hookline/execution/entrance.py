"""The entrance: what is attempted, looked up by today's definition, goes through its hook's gate."""

from __future__ import annotations

from collections.abc import Callable

from hookline.execution.attempt import Attempter, Verdict, broken
from hookline.execution.gates import Gates
from hookline.execution.lines import Pass, Row
from hookline.storage import RunRecord


class Entrance:
    """Lets deliveries in and out; `on_room` is told when others that wait in the ledger may be let in."""

    def __init__(self, attempter: Attempter, gates: Gates, *, on_room: Callable[[], None]) -> None:
        self._attempter = attempter
        self._gates = gates
        self._on_room = on_room

    def let_in(self, row: Row, run: RunRecord) -> Verdict | None:
        """Whether a row may be attempted now; the verdict if not, whatever goes wrong."""
        if row.let_in is not None:
            return None
        try:
            found = self._attempter.look_up(row.delivery, run)
        except Exception as error:  # noqa: BLE001 - one delivery that is odd keeps no other one up
            return broken(row.delivery, error)
        if isinstance(found, Verdict):
            return found
        gate = self._gates.of(row.delivery.key, found.hook)
        turn = gate.enter(claimed=row.taken)
        if turn is None:
            if gate.room > 0:  # for those that were there first
                self._on_room()
            return gate.postpone(row.delivery.due_at)
        row.let_in = Pass(found, gate, turn)
        return None

    def let_out(self, row: Row, *, failed: bool | None) -> None:
        """The attempt is over, or was never begun; `failed`: see `Verdict`."""
        if row.let_in is not None and row.let_in.gate.leave(row.let_in.turn, failed=failed):
            self._on_room()
        row.let_in = None
