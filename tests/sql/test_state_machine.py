"""Any sequence of the ledger's operations, by several servers, against a small model.

More examples by hand, with longer sequences:

    HOOKLINE_EXAMPLES=5000 HOOKLINE_STEPS=100 pytest tests/sql/test_state_machine.py --timeout 0
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from hookline.deliveries import DeliveryStatus, HookKey
from hookline.runs import RunStatus
from hookline.storage import (
    DeliveryFilter,
    Exchange,
    FinishRun,
    NewDelivery,
    Prune,
    ReplayRecord,
    Start,
    Storage,
    TakeOver,
)
from hookline_sql import SqliteDb
from sql.builders import NOW, completed, new_run, server_of, settlement_of
from sql.ledger_model import UNFINISHED, LedgerModel, Row, Run

T = TypeVar("T")

EXAMPLES = int(os.environ.get("HOOKLINE_EXAMPLES", "100"))
STEPS = int(os.environ.get("HOOKLINE_STEPS", "50"))
SERVERS = ["server-1", "server-2", "server-3"]
HOOKS = ["a", "b", "c"]
KEYS = [HookKey("agent-1", "post", hook) for hook in HOOKS]
ALL = 1000

servers = st.sampled_from(SERVERS)
delays = st.sampled_from([None, None, None, 0.0, 5.0])
lines = st.lists(st.tuples(st.sampled_from(HOOKS), delays), max_size=4)
numbers = st.integers(0, 999)
"""Choose among what there is, modulo how many there are."""

OUTCOMES: dict[str, dict[str, Any]] = {
    "delivered": {"status": DeliveryStatus.DELIVERED},
    "dead": {"status": DeliveryStatus.DEAD, "outcome": "failed"},
    "parked": {"status": DeliveryStatus.PARKED, "outcome": "parked"},
    "discarded": {"status": DeliveryStatus.DISCARDED, "outcome": "failed"},
    "retry": {"status": DeliveryStatus.PENDING, "outcome": "failed"},
    "released": {"status": DeliveryStatus.PENDING, "outcome": "released"},
    "postponed": {"status": DeliveryStatus.PENDING, "outcome": "postponed"},
}
outcomes = st.sampled_from(["delivered", "delivered", *OUTCOMES])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger to be copied: making one takes longer than an example."""
    file = tmp_path_factory.mktemp("template") / "ledger.db"
    asyncio.run(SqliteDb(file).open().close())
    return file


class LedgerMachine(RuleBasedStateMachine):
    """Servers that accept, finish, claim, settle, fall silent and wake up; people who redrive, discard and replay."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name) / "ledger.db"
        shutil.copy(self.template, file)
        self.runner = asyncio.Runner()
        self.storage: Storage = SqliteDb(file, synchronous="NORMAL").open()
        self.model = LedgerModel()
        self.now = NOW
        self.held: list[tuple[str, Row, int]] = []
        self.first_starts: dict[str, list[int]] = {}
        self.ended: dict[str, str] = {}
        self.made = 0

    def teardown(self) -> None:
        self.do(self.storage.close())
        self.runner.close()
        self.folder.cleanup()

    def do(self, operation: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(operation)

    # runs

    @rule(server=servers, line=lines)
    def accept(self, server: str, line: list[tuple[str, float | None]]) -> None:
        run = self._new_run(server)
        self.do(self.storage.accept_run(self._record(run), self._deliveries(run, line)))

    @rule(number=numbers, line=lines, in_time=st.booleans())
    def finish(self, number: int, line: list[tuple[str, float | None]], in_time: bool) -> None:
        open_runs = [run for run in self.model.runs.values() if not run.is_finished]
        if not open_runs:
            return
        run = open_runs[number % len(open_runs)]
        if not in_time:
            wrong = Run(run.run_id, "nobody")
            assert not self.do(
                self.storage.finish_run(FinishRun(self._record(wrong, done=True), True, [], None, self.now))
            )
            return
        self._finish(run, line, accepted=True)

    @rule(server=servers, line=lines)
    def commit(self, server: str, line: list[tuple[str, float | None]]) -> None:
        self._finish(self._new_run(server), line, accepted=False)

    def _new_run(self, server: str) -> Run:
        self.made += 1
        run = Run(f"run-{self.made}", server)
        self.model.runs[run.run_id] = run
        return run

    def _record(self, run: Run, *, done: bool = False) -> Any:
        record = new_run(run.run_id, server_id=run.server, session_id=run.run_id, created_at=self.now)
        return completed(record, finished_at=self.now) if done else record

    def _deliveries(self, run: Run, line: list[tuple[str, float | None]]) -> list[NewDelivery]:
        made = []
        for hook, delay in line:
            position = run.made
            run.made += 1
            due_at = None if delay is None else self.now + delay
            new = NewDelivery(f"{run.run_id}:{position}", "post", hook, position, max_attempts=4, due_at=due_at)
            row = Row(new.delivery_id, run.run_id, HookKey("agent-1", "post", hook), position)
            if due_at is not None:
                row.status, row.in_line, row.due_at = "pending", False, due_at
            run.rows.append(row)
            made.append(new)
        return made

    def _finish(self, run: Run, line: list[tuple[str, float | None]], *, accepted: bool) -> None:
        deliveries = self._deliveries(run, line)
        request = FinishRun(self._record(run, done=True), accepted, deliveries, None, self.now)
        assert self.do(self.storage.finish_run(request))
        run.finish(self.now)

    @rule(number=numbers)
    def release_line(self, number: int) -> None:
        run = self._choose(number)
        if run is not None and run.is_finished:
            self.do(self.storage.release_line(run.run_id, self.now))
            for row in run.rows:
                if row.in_line and row.status == "pending":
                    row.due_at = self.now

    # the short way: the server that ran a run starts its line without asking

    @rule(number=numbers, outcome=outcomes, told_of_start=st.booleans(), stale=st.integers(0, 4))
    def begin_own_line(self, number: int, outcome: str, told_of_start: bool, stale: int) -> None:
        run = self._choose(number)
        row = run.next_of_line() if run is not None else None
        if run is None or row is None or self.now >= run.reserved_until:
            return
        fence = row.fence - (stale == 0)
        if told_of_start:
            self.do(self.storage.exchange(Exchange(run.server, self.now, starts=[Start(row.delivery_id, fence)])))
            if fence == row.fence:
                self._begin(row, run.server)
            return
        settlement = settlement_of(row.delivery_id, fence, started=False, **self._said(outcome))
        self.do(self.storage.exchange(Exchange(run.server, self.now, settlements=[settlement])))
        if fence == row.fence:
            row.begin(run.server, self.now)
            self._started(row)
            self._settled(row, outcome)
        run.promote(self.now)

    # the long way: what is due is claimed

    @rule(server=servers, limit=st.sampled_from([1, 2, ALL, ALL]), apart=st.lists(st.sampled_from(KEYS), unique=True))
    def scan(self, server: str, limit: int, apart: list[HookKey]) -> None:
        expected = self.model.due(self.now, apart, {})
        request = Exchange(server, self.now, scan=True, limit=limit, apart=apart)
        self._claim(request, expected, exactly=limit == ALL or not apart)

    @rule(server=servers, rooms=st.dictionaries(st.sampled_from(KEYS), st.integers(0, 2), min_size=1))
    def scan_with_room(self, server: str, rooms: dict[HookKey, int]) -> None:
        may = {key: room for key, room in rooms.items() if room > 0}
        expected = self.model.due(self.now, list(rooms), may)
        request = Exchange(server, self.now, scan=True, limit=ALL, apart=list(rooms), claim_hooks=rooms)
        claimed = self._claim(request, expected, exactly=False)
        out_of_line = Counter(row.hook for row in claimed if not row.in_line)
        assert all(out_of_line[key] <= room for key, room in rooms.items())

    def _claim(self, request: Exchange, expected: list[Row], *, exactly: bool = True) -> list[Row]:
        claims = self.do(self.storage.exchange(request))
        rows = [self._row(claim.delivery.delivery_id) for claim in claims]
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
            row = self._row(claim.delivery.delivery_id)
            row.begin(server, self.now)
            row.give_back(self.now)
            row.fence += 1
        assert self.do(self.storage.exchange(Exchange(server, self.now, held=held))) == []

    @precondition(lambda self: self.held)
    @rule(number=numbers, outcome=outcomes, goes_on=st.booleans(), by=st.none() | servers)
    def settle(self, number: int, outcome: str, goes_on: bool, by: str | None) -> None:
        """Settle what was once begun, perhaps long lost, perhaps by a server that never had it."""
        server, row, fence = self.held[number % len(self.held)]
        server, run = by or server, self.model.runs[row.run_id]
        is_held = self.model.is_held(row.delivery_id, server, fence)
        settlement = settlement_of(row.delivery_id, fence, run_id=run.run_id, **self._said(outcome))
        claim_runs = [run.run_id] if goes_on else []
        request = Exchange(server, self.now, settlements=[settlement], claim_runs=claim_runs, limit=len(claim_runs))
        claims = self.do(self.storage.exchange(request))
        if is_held:
            self._settled(row, outcome)
        run.promote(self.now)
        for claim in claims:
            row = self._row(claim.delivery.delivery_id)
            assert row.in_line
            assert row.status == "pending"
            assert not self.model.runs[row.run_id].is_busy
            self._begin(row, server)
            assert claim.fence == row.fence

    def _said(self, outcome: str) -> dict[str, Any]:
        due_at = self.now + 3 if outcome in {"retry", "postponed"} else None
        return {"outcome": "delivered", "started_at": self.now, "due_at": due_at, **OUTCOMES[outcome]}

    def _settled(self, row: Row, outcome: str) -> None:
        if outcome == "released":
            row.give_back(self.now)
        elif outcome == "postponed":
            row.give_back(self.now + 3)
            row.in_line = False
        else:
            row.attempted = True
            due_at = self.now + 3 if outcome == "retry" else None
            row.end(OUTCOMES[outcome]["status"].value, self.now, due_at=due_at)

    def _begin(self, row: Row, server: str) -> None:
        row.begin(server, self.now)
        self.held.append((server, row, row.fence))
        self._started(row)

    def _started(self, row: Row) -> None:
        starts = self.first_starts.setdefault(row.run_id, [])
        if row.in_line and row.position not in starts:
            assert all(position < row.position for position in starts), "a line is begun in its order"
            starts.append(row.position)

    # servers

    @rule(seconds=st.sampled_from([0.5, 2.0, 4.0, 11.0, 16.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(server=servers)
    def beat(self, server: str) -> None:
        self.do(self.storage.beat(server_of(server, self.now)))
        for row in self.model.rows:
            if row.owner == server:
                row.lease = self.now + 10.0

    @rule(by=servers, gone=st.sets(servers))
    def take_over(self, by: str, gone: set[str]) -> None:
        taken = self.do(self.storage.take_over(TakeOver(by, sorted(gone - {by}), self.now)))
        assert taken == self.model.take_over(by, gone - {by}, self.now)

    # people

    @rule(number=numbers)
    def redrive(self, number: int) -> None:
        if (row := self._any_row(number)) is not None:
            record = self.do(self.storage.redrive(row.delivery_id, self.now))
            assert (record is not None) == self.model.redrive(row, self.now)
            self.ended.pop(row.delivery_id, None)

    @rule(number=numbers)
    def discard(self, number: int) -> None:
        if (row := self._any_row(number)) is not None:
            record = self.do(self.storage.discard(row.delivery_id, "not needed", self.now))
            assert (record is not None) == self.model.discard(row, self.now)

    @rule(status=st.sampled_from(["dead", "parked"]))
    def redrive_many(self, status: str) -> None:
        meant = [row for row in self.model.rows if row.status == status]
        assert self.do(self.storage.redrive_many(DeliveryFilter(status=status), self.now, ALL)) == len(meant)
        for row in meant:
            self.model.redrive(row, self.now)
            self.ended.pop(row.delivery_id, None)

    @rule()
    def replay(self) -> None:
        """A hook over all finished runs: one more delivery of each, out of line."""
        self.made += 1
        replay_id = f"replay-{self.made}"
        finished = [run for run in self.model.runs.values() if run.is_finished]
        replay = ReplayRecord(replay_id, "post", "c", ["agent-1"], [RunStatus.COMPLETED], 4, self.now)
        assert self.do(self.storage.create_replay(replay)).matched == len(finished)
        advanced = self.do(self.storage.advance_replay(replay_id, self.now, ALL))
        assert advanced is not None
        assert (advanced.made, advanced.status) == (len(finished), "completed")
        page = self.do(self.storage.list_deliveries(DeliveryFilter(replay_id=replay_id), limit=ALL, cursor=None))
        assert sorted(record.delivery.run_id for record in page.items) == sorted(run.run_id for run in finished)
        for record in page.items:
            made = record.delivery
            run = self.model.runs[made.run_id]
            assert made.position == max((row.position for row in run.rows), default=-1) + 1
            row = Row(made.delivery_id, made.run_id, made.key, made.position, "pending", in_line=False, due_at=self.now)
            run.rows.append(row)

    @rule(ago=st.sampled_from([0.0, 5.0]))
    def prune(self, ago: float) -> None:
        before = self.now - ago
        pruned = self.do(self.storage.prune(Prune(delivered_before=before, dead_before=before)))
        assert pruned.deliveries == self.model.prune(before)
        left = {row.delivery_id for row in self.model.rows}
        self.ended = {delivery_id: status for delivery_id, status in self.ended.items() if delivery_id in left}

    # what holds at any time

    @invariant()
    def ledger_is_as_the_model(self) -> None:
        page = self.do(self.storage.list_deliveries(DeliveryFilter(), limit=ALL, cursor=None))
        stored = {
            record.delivery.delivery_id: (
                record.delivery.status.value,
                record.delivery.position,
                record.delivery.due_at if record.delivery.status == DeliveryStatus.PENDING else None,
                record.delivery.attempt_count,
                record.interruptions,
                record.finished_at,
            )
            for record in page.items
        }
        assert stored == {
            row.delivery_id: (
                row.status,
                row.position,
                row.due_at if row.status == "pending" else None,
                row.attempts,
                row.interruptions,
                row.finished_at,
            )
            for row in self.model.rows
        }
        running = Counter(record.delivery.run_id for record in page.items if record.delivery.status == "running")
        assert all(count == 1 for count in running.values()), "one of a run at a time"
        for delivery_id, status in self.ended.items():
            assert stored[delivery_id][0] == status, "what is final stays so"
        self.ended |= {key: value[0] for key, value in stored.items() if value[0] in {"delivered", "dead", "discarded"}}

    @invariant()
    def counts_are_as_the_model(self) -> None:
        counts: Mapping[str, int] = Counter(row.status for row in self.model.rows)
        assert self.do(self.storage.backlog(ALL)) == sum(counts.get(status, 0) for status in UNFINISHED)
        for status in ("pending", "dead"):
            found = self.do(self.storage.count_deliveries(DeliveryFilter(status=status), ALL))
            assert found == counts.get(status, 0)

    # choosing

    def _choose(self, number: int) -> Run | None:
        runs = list(self.model.runs.values())
        return runs[number % len(runs)] if runs else None

    def _any_row(self, number: int) -> Row | None:
        rows = self.model.rows
        return rows[number % len(rows)] if rows else None

    def _row(self, delivery_id: str) -> Row:
        row = self.model.row(delivery_id)
        assert row is not None, f"{delivery_id} is unknown, or was pruned"
        return row


@pytest.mark.timeout(600)
def test_ledger_does_what_the_model_does(template: Path) -> None:
    machine = type("Machine", (LedgerMachine,), {"template": template})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
