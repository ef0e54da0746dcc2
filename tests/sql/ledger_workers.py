"""The state machine's workers: servers that begin, claim and settle deliveries, fall silent, and wake up too late."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from hookline.deliveries import DeliveryStatus, HookKey
from hookline.storage import (
    LEASE_SECONDS,
    RESERVE_SECONDS,
    SILENT_SECONDS,
    ClaimedDelivery,
    Exchange,
    Settlement,
    Start,
    TakeOver,
)
from sql.builders import server_of, settlement_of
from sql.ledger_machine import ALL, KEYS, SERVERS, LedgerMachine, Line, numbers, pick, servers
from sql.ledger_model import Row, Run

OUTCOMES: dict[str, dict[str, Any]] = {
    "delivered": {"status": DeliveryStatus.DELIVERED},
    "dead": {"status": DeliveryStatus.DEAD, "outcome": "failed"},
    "parked": {"status": DeliveryStatus.PARKED, "outcome": "parked"},
    "discarded": {"status": DeliveryStatus.DISCARDED, "outcome": "failed"},
    "retry": {"status": DeliveryStatus.PENDING, "outcome": "failed"},
    "released": {"status": DeliveryStatus.PENDING, "outcome": "released"},
    "postponed": {"status": DeliveryStatus.PENDING, "outcome": "postponed"},
}
RETRY_SECONDS = 3.0
TWO: Line = [("a", None), ("b", None)]
TAKEN = ["waiting", "pending", "running", "parked", "delivered", "dead"]

outcomes = st.sampled_from(["delivered", "delivered", *OUTCOMES])
limits = st.sampled_from([1, 2, ALL, ALL])


class Hold(NamedTuple):
    """A server had a delivery at this fence, and may not know that it has lost it since."""

    server: str
    row: Row
    fence: int


class WorkerMachine(LedgerMachine):
    """Servers that work on the deliveries, and say what they have to say in time or late.

    The wrong words are said where they do most harm if anybody listens: on what is running again by now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.holds: list[Hold] = []
        self.first_starts: dict[str, list[int]] = {}

    # the short way: the server that ran a run starts its line without asking

    @rule(number=numbers, server=servers, outcome=outcomes, told_of_start=st.booleans())
    def begin_own_line(self, number: int, server: str, outcome: str, told_of_start: bool) -> None:
        if not self._own_lines():
            self.accept(server, TWO, True)
        run, row = pick(number, self._own_lines())
        if told_of_start:
            self.do(self.storage.exchange(Exchange(run.server, self.now, starts=[Start(row.delivery_id, row.fence)])))
            self._begin(row, run.server)
            return
        for _ in range(2):  # as after an exchange of which no answer came
            self._say(run.server, self._unstarted(row, row.fence, outcome))
        row.fence += 1
        row.attempts += 1
        self._started(row)
        self._settled(row, outcome)
        run.promote(self.now)
        self._check_attempts(row)

    def _own_lines(self) -> list[tuple[Run, Row]]:
        reserved = [run for run in self.model.runs.values() if self.now < run.reserved_until]
        return [(run, row) for run in reserved if (row := run.next_of_line()) is not None]

    @rule(number=numbers, server=servers, wish=st.sampled_from(TAKEN), outcome=outcomes, told_of_start=st.booleans())
    def begin_late(self, number: int, server: str, wish: str, outcome: str, told_of_start: bool) -> None:
        """A server begins what was taken, ended, discarded or redriven since it looked, or says it twice."""
        self._some_running(server)
        taken = [row for run in self._finished_runs() for row in run.rows if row.fence > 0]
        row = pick(number, [row for row in taken if row.status == wish] or taken)
        is_open = row.status in {"waiting", "pending", "running"}
        fence = max(0, row.fence - number % 2 - is_open)
        if told_of_start:
            self.do(self.storage.exchange(Exchange(server, self.now, starts=[Start(row.delivery_id, fence)])))
        else:
            self._say(server, self._unstarted(row, fence, outcome))
            self.model.runs[row.run_id].promote(self.now)
        self._check_attempts(row)

    # the long way: what is due is claimed

    @rule(server=servers, limit=limits, apart=st.just([]) | st.lists(st.sampled_from(KEYS), unique=True))
    def scan(self, server: str, limit: int, apart: list[HookKey]) -> None:
        expected = self.model.due(self.now, apart, {})
        request = Exchange(server, self.now, scan=True, limit=limit, apart=apart)
        self._claim(request, expected, exactly=limit == ALL or not apart)

    @rule(server=servers, few=st.integers(0, 2), suspect_after=st.none() | st.integers(1, 2))
    def scan_with_care(self, server: str, few: int, suspect_after: int | None) -> None:
        """Of what lost its lease a few are claimed, the earliest; what lost it often is claimed alone."""
        for row in self._some_running(server):
            self._take_from_its_owner(row)
        due = self.model.due(self.now, [], {})
        lost = sorted(row.due_at or 0.0 for row in due if row.interruptions)
        suspects = [row for row in due if suspect_after is not None and row.interruptions >= suspect_after]
        expected_lost = [min(row.due_at or 0.0 for row in suspects)] if suspects else lost[:few]
        expected = [] if suspects else [row for row in due if not row.interruptions]
        due_at = {row.delivery_id: row.due_at or 0.0 for row in due}
        request = Exchange(server, self.now, scan=True, limit=ALL, limit_interrupted=few, suspect_after=suspect_after)
        claimed = self._claim(request, due, exactly=False)
        assert sorted(due_at[row.delivery_id] for row in claimed if row.interruptions) == expected_lost
        assert [row for row in claimed if row.interruptions and suspects and row not in suspects] == []
        assert {row.delivery_id for row in claimed if not row.interruptions} == {row.delivery_id for row in expected}

    @rule(server=servers, rooms=st.dictionaries(st.sampled_from(KEYS), st.integers(0, 2), min_size=1))
    def scan_with_room(self, server: str, rooms: dict[HookKey, int]) -> None:
        may = {key: room for key, room in rooms.items() if room > 0}
        expected = self.model.due(self.now, list(rooms), may)
        candidates = Counter(row.hook for row in self.model.startable(self.now) if not row.in_line)
        is_enough = all(candidates[key] <= room for key, room in may.items())
        request = Exchange(server, self.now, scan=True, limit=ALL, apart=list(rooms), claim_hooks=rooms)
        claimed = self._claim(request, expected, exactly=is_enough)
        out_of_line = Counter(row.hook for row in claimed if not row.in_line)
        assert all(out_of_line[key] <= room for key, room in rooms.items())

    def _claim(self, request: Exchange, expected: list[Row], *, exactly: bool = True) -> list[Row]:
        claims = self.do(self.storage.exchange(request))
        rows = [self._row(claim) for claim in claims]
        assert len({row.run_id for row in rows}) == len(rows) <= request.limit
        if exactly:
            earliest = sorted(row.due_at or 0.0 for row in expected)[: request.limit]
            assert sorted(row.due_at or 0.0 for row in rows) == earliest
            assert {row.delivery_id for row in rows} <= {row.delivery_id for row in expected}
        for claim, row in zip(claims, rows, strict=True):
            run = self.model.runs[row.run_id]
            assert (run.is_finished, run.is_busy, row.status) == (True, False, "pending")
            assert (row.due_at or 0.0) <= request.now
            assert row.in_line or row.hook not in request.apart or request.claim_hooks.get(row.hook, 0) > 0
            self._begin(row, request.server_id)
            assert (claim.fence, claim.delivery.attempt_count) == (row.fence, row.attempts)
            assert claim.interruptions == row.interruptions
        return rows

    @rule(server=servers)
    def lose_the_answer_to_a_scan(self, server: str) -> None:
        """The server never hears of what it claimed; it says what it holds."""
        held = {row.delivery_id: row.fence for row in self.model.rows if row.owner == server}
        for claim in self.do(self.storage.exchange(Exchange(server, self.now, scan=True, limit=ALL))):
            row = self._row(claim)
            row.begin(server, self.now)
            self.holds.append(Hold(server, row, row.fence))
            row.give_back(self.now)
            row.fence += 1
        assert self.do(self.storage.exchange(Exchange(server, self.now, held=held))) == []

    @rule(number=numbers, server=servers)
    def forget_what_is_held(self, number: int, server: str) -> None:
        """The server knows its deliveries at older fences, or not at all: they are given back."""
        server = str(pick(number, self._some_running(server)).owner)
        theirs = [row for row in self._running() if row.owner == server]
        held = {row.delivery_id: row.fence - 1 for row in theirs[: number % 2]}
        self.do(self.storage.exchange(Exchange(server, self.now, held=held)))
        for row in theirs:
            row.give_back(self.now)
            row.fence += 1

    # settling

    @rule()
    def work(self) -> None:
        """The next server settles something with the next outcome; then somebody redrives, or begins too late.

        This is the simplest rule: it is chosen much more often than the others.
        """
        server, outcome = pick(self.steps, SERVERS), pick(self.steps, list(OUTCOMES))
        self.settle(self.steps, server, outcome, bool(self.steps % 2))
        if self.steps % 2:
            self.redrive(self.steps, "delivered", False)
        else:
            self.begin_late(self.steps, server, "pending", outcome, True)

    @rule(number=numbers, server=servers, outcome=outcomes, goes_on=st.booleans())
    def settle(self, number: int, server: str, outcome: str, goes_on: bool) -> None:
        row = pick(number, self._some_running(server))
        run, server = self.model.runs[row.run_id], str(row.owner)
        claims = self._say(server, self._settlement(row, row.fence, outcome), goes_on=goes_on)
        self._settled(row, outcome)
        run.promote(self.now)
        self._check_attempts(row)
        for claim in claims:
            following = self._row(claim)
            assert following.in_line
            assert following.status == "pending"
            assert not self.model.runs[following.run_id].is_busy
            self._begin(following, server)
            assert claim.fence == following.fence
        if row.status not in {"waiting", "pending"}:
            self.do(self.storage.exchange(Exchange(server, self.now, starts=[Start(row.delivery_id, row.fence)])))

    @precondition(lambda self: self._lost_holds())
    @rule(number=numbers, outcome=outcomes)
    def settle_late(self, number: int, outcome: str) -> None:
        """A server that has lost a delivery settles it all the same."""
        lost = self._lost_holds()
        again = [hold for hold in lost if hold.row.owner == hold.server]
        taken = [hold for hold in lost if hold.row.owner not in {None, hold.server}]
        hold = pick(number, [again, taken, lost][number % 3] or lost)
        self._say(hold.server, self._settlement(hold.row, hold.fence, outcome))
        self.model.runs[hold.row.run_id].promote(self.now)
        self._check_attempts(hold.row)

    @rule(number=numbers, server=servers, outcome=outcomes)
    def settle_what_others_hold(self, number: int, server: str, outcome: str) -> None:
        row = pick(number, self._some_running(server))
        other = pick(number, [server for server in SERVERS if server != row.owner])
        self._say(other, self._settlement(row, row.fence, outcome))
        self.model.runs[row.run_id].promote(self.now)
        self._check_attempts(row)

    def _running(self) -> list[Row]:
        return [row for row in self.model.rows if row.status == "running"]

    def _some_running(self, server: str) -> list[Row]:
        """What is running; if nothing is, the server scans, for what is due or else for work of its own."""
        if not self._running():
            self.scan(server, ALL, [])
        if not self._running():
            self.accept(server, TWO, True)
            self.now += RESERVE_SECONDS
            self.scan(server, ALL, [])
        return self._running()

    def _lost_holds(self) -> list[Hold]:
        known = {row.delivery_id for row in self.model.rows}
        return [
            hold
            for hold in self.holds
            if hold.row.delivery_id in known and (hold.row.owner, hold.row.fence) != (hold.server, hold.fence)
        ]

    def _say(self, server: str, settlement: Settlement, *, goes_on: bool = False) -> list[ClaimedDelivery]:
        claim_runs = [settlement.run_id] if goes_on else []
        request = Exchange(server, self.now, settlements=[settlement], claim_runs=claim_runs, limit=len(claim_runs))
        return self.do(self.storage.exchange(request))

    def _settlement(self, row: Row, fence: int, outcome: str) -> Settlement:
        due_at = self.now + RETRY_SECONDS if outcome in {"retry", "postponed"} else None
        said = {"outcome": "delivered", "started_at": self.now, "due_at": due_at, **OUTCOMES[outcome]}
        return settlement_of(row.delivery_id, fence, run_id=row.run_id, **said)

    def _unstarted(self, row: Row, fence: int, outcome: str) -> Settlement:
        settlement = self._settlement(row, fence, outcome)
        settlement.started = False
        return settlement

    def _settled(self, row: Row, outcome: str) -> None:
        if outcome == "released":
            row.give_back(self.now)
        elif outcome == "postponed":
            row.give_back(self.now + RETRY_SECONDS)
            row.in_line = False
        else:
            row.outcomes.append(OUTCOMES[outcome].get("outcome", outcome))
            due_at = self.now + RETRY_SECONDS if outcome == "retry" else None
            row.end(OUTCOMES[outcome]["status"].value, self.now, due_at=due_at)

    def _begin(self, row: Row, server: str) -> None:
        row.begin(server, self.now)
        self.holds.append(Hold(server, row, row.fence))
        self._started(row)

    def _started(self, row: Row) -> None:
        starts = self.first_starts.setdefault(row.run_id, [])
        if row.in_line and row.position not in starts:
            assert all(position < row.position for position in starts), "a line is begun in its order"
            starts.append(row.position)

    def _check_attempts(self, row: Row) -> None:
        record = self.do(self.storage.get_delivery(row.delivery_id))
        assert record is not None
        assert [attempt.outcome for attempt in record.attempts] == row.outcomes

    def _row(self, claim: ClaimedDelivery) -> Row:
        row = self.model.row(claim.delivery.delivery_id)
        assert row is not None, f"{claim.delivery.delivery_id} is unknown, or was pruned"
        return row

    # servers

    @rule(server=servers)
    def beat(self, server: str) -> None:
        self.do(self.storage.beat(server_of(server, self.now)))
        for row in self.model.rows:
            if row.owner == server:
                row.lease = self.now + LEASE_SECONDS

    @rule(by=servers, gone=st.sets(servers))
    def take_over(self, by: str, gone: set[str]) -> None:
        lost = self._running()
        taken = self.do(self.storage.take_over(TakeOver(by, sorted(gone - {by}), self.now)))
        assert taken == self.model.take_over(by, gone - {by}, self.now)
        for row in lost:
            self._check_attempts(row)

    @rule(number=numbers, by=servers, beaten_by=servers, late=st.sampled_from([-0.5, 0.5]))
    def lease_runs_out(self, number: int, by: str, beaten_by: str, late: float) -> None:
        """Somebody sweeps when a lease is about to be over for good, or just is; meanwhile a server beat."""
        row = pick(number, self._some_running(by))
        self.now += LEASE_SECONDS / 2
        self.beat(beaten_by)
        self.now = max(self.now, row.lease + SILENT_SECONDS - LEASE_SECONDS + late)
        self.take_over(by, set())

    @rule(number=numbers, next_by=servers, times=st.integers(0, 3), outcome=outcomes)
    def fall_silent(self, number: int, next_by: str, times: int, outcome: str) -> None:
        """A server is taken for dead; others, perhaps itself, have the delivery before it wakes up and settles.

        They may fall silent as well.
        """
        row = pick(number, self._some_running(next_by))
        hold = Hold(str(row.owner), row, row.fence)
        self._take_from_its_owner(row)
        for _ in range(times):
            self._take_from_its_owner(row)
            self.scan(next_by, ALL, [])
        self._say(hold.server, self._settlement(row, hold.fence, outcome))
        self.model.runs[row.run_id].promote(self.now)
        self._check_attempts(row)

    def _take_from_its_owner(self, row: Row) -> None:
        if row.owner is not None:
            by = next(server for server in SERVERS if server != row.owner)
            self.take_over(by, {row.owner})
