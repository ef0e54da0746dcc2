"""A state machine over a ledger and its model: runs, the passing of time, and what people do.

What the servers that work on deliveries do is `ledger_workers`.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hookline.deliveries import DeliveryStatus, HookKey
from hookline.runs import RunStatus
from hookline.storage import DeliveryFilter, FinishRun, NewDelivery, Prune, ReplayRecord, Storage
from hookline_sql import SqliteDb
from sql.builders import NOW, completed, new_run
from sql.ledger_model import UNFINISHED, LedgerModel, Row, Run

T = TypeVar("T")

SERVERS = ["server-1", "server-2", "server-3"]
HOOKS = ["a", "b", "c"]
KEYS = [HookKey("agent-1", "post", hook) for hook in HOOKS]
ALL = 1000

Line = list[tuple[str, float | None]]
"""The hooks of a run's deliveries; those with a delay are out of line."""

servers = st.sampled_from(SERVERS)
delays = st.sampled_from([None, None, None, 0.0, 5.0])
lines = st.lists(st.tuples(st.sampled_from(HOOKS), delays), max_size=4)
full_lines = st.lists(st.tuples(st.sampled_from(HOOKS), st.sampled_from([None, None, 0.0])), min_size=2, max_size=3)
numbers = st.integers(0, 999)
"""Choose among what there is, modulo how many there are."""


def pick(number: int, choices: Sequence[T]) -> T:
    """One of some."""
    return choices[number % len(choices)]


class LedgerMachine(RuleBasedStateMachine):
    """Runs are accepted and finished, time passes; people redrive, discard, replay and prune."""

    template: Path
    """An empty ledger, to be copied."""

    wrap: Callable[[Storage], Storage] = staticmethod(lambda storage: storage)
    """What the machine sees of the storage."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name) / "ledger.db"
        shutil.copy(self.template, file)
        self.runner = asyncio.Runner()
        self.storage = self.wrap(SqliteDb(file, synchronous="NORMAL").open())
        self.model = LedgerModel()
        self.now = NOW
        self.ended: dict[str, str] = {}
        self.made = 0
        self.steps = 0

    def teardown(self) -> None:
        self.do(self.storage.close())
        self.runner.close()
        self.folder.cleanup()

    def do(self, operation: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(operation)

    # runs

    @initialize(line=full_lines)
    def begin_with_work(self, line: Line) -> None:
        for server in SERVERS[:2]:
            self._finish(self._new_run(server), line, accepted=False)

    @rule(server=servers, line=lines, finishes=st.booleans())
    def accept(self, server: str, line: Line, finishes: bool) -> None:
        run = self._new_run(server)
        if finishes:
            self._finish(run, line, accepted=False)
        else:
            self.do(self.storage.accept_run(self._record(run), self._deliveries(run, line)))
            lost = FinishRun(self._record(Run(run.run_id, "nobody"), done=True), True, [], None, self.now)
            assert not self.do(self.storage.finish_run(lost)), "another server's run"

    @precondition(lambda self: self._open_runs())
    @rule(number=numbers, line=lines)
    def finish(self, number: int, line: Line) -> None:
        self._finish(pick(number, self._open_runs()), line, accepted=True)

    @precondition(lambda self: self._finished_runs())
    @rule(number=numbers)
    def release_line(self, number: int) -> None:
        run = pick(number, self._finished_runs())
        self.do(self.storage.release_line(run.run_id, self.now))
        for row in run.rows:
            if row.in_line and row.status == "pending":
                row.due_at = self.now

    def _open_runs(self) -> list[Run]:
        return [run for run in self.model.runs.values() if not run.is_finished]

    def _finished_runs(self) -> list[Run]:
        return [run for run in self.model.runs.values() if run.is_finished]

    def _new_run(self, server: str) -> Run:
        self.made += 1
        run = Run(f"run-{self.made}", server)
        self.model.runs[run.run_id] = run
        return run

    def _record(self, run: Run, *, done: bool = False) -> Any:
        record = new_run(run.run_id, server_id=run.server, session_id=run.run_id, created_at=self.now)
        return completed(record, finished_at=self.now) if done else record

    def _deliveries(self, run: Run, line: Line) -> list[NewDelivery]:
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

    def _finish(self, run: Run, line: Line, *, accepted: bool) -> None:
        deliveries = self._deliveries(run, line)
        request = FinishRun(self._record(run, done=True), accepted, deliveries, None, self.now)
        assert self.do(self.storage.finish_run(request))
        run.finish(self.now)

    @rule(seconds=st.sampled_from([0.5, 2.0, 4.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # people

    @precondition(lambda self: self.model.rows)
    @rule(
        number=numbers,
        wish=st.sampled_from(["dead", "parked", "running", "delivered", "discarded"]),
        many=st.booleans(),
    )
    def redrive(self, number: int, wish: str, many: bool) -> None:
        if many:
            redriven = self.do(self.storage.redrive_many(DeliveryFilter(status=wish), self.now, ALL))
            meant = [row for row in self.model.rows if row.status == wish]
        else:
            meant = [self._wished(number, wish)]
            redriven = int(self.do(self.storage.redrive(meant[0].delivery_id, self.now)) is not None)
        done = [row for row in meant if self.model.redrive(row, self.now)]
        assert redriven == len(done)
        for row in done:
            self.ended.pop(row.delivery_id, None)

    @precondition(lambda self: self.model.rows)
    @rule(number=numbers, wish=st.sampled_from(["waiting", "pending", "parked", "running", "delivered"]))
    def discard(self, number: int, wish: str) -> None:
        row = self._wished(number, wish)
        record = self.do(self.storage.discard(row.delivery_id, "not needed", self.now))
        assert (record is not None) == self.model.discard(row, self.now)

    def _wished(self, number: int, status: str) -> Row:
        """A delivery in that status, if there is one."""
        rows = self.model.rows
        return pick(number, [row for row in rows if row.status == status] or rows)

    @rule(hook=st.sampled_from(HOOKS))
    def replay(self, hook: str) -> None:
        """A hook over all finished runs: one more delivery of each, out of line."""
        self.made += 1
        replay_id = f"replay-{self.made}"
        finished = self._finished_runs()
        replay = ReplayRecord(replay_id, "post", hook, ["agent-1"], [RunStatus.COMPLETED], 4, self.now)
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
        """Looked at now and then: it takes longer than a step."""
        self.steps += 1
        if self.steps % 10:
            return
        counts: Mapping[str, int] = Counter(row.status for row in self.model.rows)
        assert self.do(self.storage.backlog(ALL)) == sum(counts.get(status, 0) for status in UNFINISHED)
        for status in DeliveryStatus:
            found = self.do(self.storage.count_deliveries(DeliveryFilter(status=status), ALL))
            assert found == counts.get(status, 0)
