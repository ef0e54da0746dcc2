"""Deliveries in this process: lines of a run's background hooks, started after the response, settled in the ledger.

A run's deliveries form a line and are attempted one after the other; the lines of different runs side by side.

**The short way.** The line of a run that ended here is in memory and reserved for this server
(`RESERVE_SECONDS`): it starts at once when the response was handed over, and what was begun and what came of it is
told to the ledger behind it, many at a time (`Storage.exchange`). A process that dies in between leaves rows that were
never taken: the next one finds them.

**The long way.** Whatever is due and in nobody's memory (another server's line, a backoff, a redriven delivery, what
was interrupted) is claimed from the ledger first, one delivery of a run at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Protocol

from hookline.deliveries import FINAL_STATUSES, Delivery, DeliveryStatus
from hookline.errors import StorageError
from hookline.execution.attempt import RELEASED, Attempter, Verdict
from hookline.storage import (
    RESERVE_SECONDS,
    ClaimedDelivery,
    Exchange,
    NewDelivery,
    RunRecord,
    Settlement,
    Start,
)

logger = logging.getLogger("hookline.deliveries")

POLL_SECONDS = 1.0
CLOSE_SECONDS = 5.0
"""How long stopping waits for the ledger, once the hooks have had their time."""
MOST_PREPARED = 1000
"""Lines kept in memory until their turn comes; the others are found in the ledger."""
MOST_PER_EXCHANGE = 256
GATHER_SECONDS = 0.02
"""How long what was begun and settled on the short way is gathered before the ledger is told, many at a time."""
SUSPECT_AFTER = 2
"""A delivery that lost its lease so often may be what ends the process: it runs alone."""


class DeliveryStorage(Protocol):
    """What deliveries need of a storage."""

    async def exchange(self, request: Exchange) -> list[ClaimedDelivery]:
        """See `hookline.storage.Storage.exchange`."""
        ...


@dataclass(slots=True, eq=False)
class _Row:
    """One delivery on its way: `fence` as this server knows it, `taken` once the ledger knows that it was begun."""

    delivery: Delivery
    fence: int
    taken: bool
    verdict: Verdict | None = None


@dataclass(slots=True, eq=False)
class _Line:
    """Deliveries of one run, attempted one after the other.

    `claimed`: taken from the ledger, which knows what comes next; `alone`: nothing else may run meanwhile;
    `unsettled`: verdicts that the ledger does not know yet.
    """

    run: RunRecord
    rows: list[_Row]
    committed_at: float
    claimed: bool = False
    alone: bool = False
    unsettled: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Deliverer:
    """Carries deliveries in this process; at most `concurrency` lines at once."""

    def __init__(
        self,
        storage: DeliveryStorage,
        server_id: str,
        attempter: Attempter,
        *,
        concurrency: int,
        on_final: Callable[[Delivery], None] | None,
    ) -> None:
        self._storage = storage
        self._server_id = server_id
        self._attempter = attempter
        self._concurrency = concurrency
        self._on_final = on_final
        self._prepared: dict[str, _Line] = {}
        self._queue: deque[_Line] = deque()
        self._active: dict[asyncio.Task[None], _Line] = {}
        self._begun: dict[str, _Row] = {}
        self._outbox: deque[tuple[_Line, _Row]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._scan_at = 0.0
        self._careful = False
        self._draining = 0
        self._stopping = False
        self._closed = False
        self._context = contextvars.copy_context()  # no run's: what one run set must not reach another's deliveries
        self._loop_task: asyncio.Task[None] | None = None

    # what others say

    def line_committed(self, run: RunRecord, deliveries: list[NewDelivery], now: float) -> None:
        """Take note of a line that was just committed; it starts when it is handed over."""
        rows = [_Row(_delivery(run, row), fence=0, taken=False) for row in deliveries if row.due_at is None]
        if rows and len(self._prepared) + len(self._queue) < MOST_PREPARED:
            self._prepared[run.run_id] = _Line(run, rows, now)

    def hand_over(self, run_id: str) -> None:
        """The response was handed over: its line may start."""
        line = self._prepared.pop(run_id, None)
        if line is not None and not self._closed:
            self._queue.append(line)
            self._start_lines()

    def wake(self) -> None:
        """Something became due in the ledger: look now."""
        self._scan_at = 0.0
        self._wake.set()

    @property
    def active(self) -> int:
        """How many lines are under way here."""
        return len(self._active)

    # life

    def start(self) -> None:
        """Begin to look for what is due."""
        self._loop_task = asyncio.get_running_loop().create_task(self._exchange_for_ever(), name="deliveries")

    async def drain(self) -> None:
        """Wait until nothing is under way here and nothing that is due is left in the ledger.

        What is due later (a backoff, a delay) is not waited for.
        """
        self._draining += 1
        try:
            while True:
                self._idle.clear()
                self.wake()
                await self._idle.wait()
                if not self._prepared:
                    return
                await asyncio.sleep(0.01)
        finally:
            self._draining -= 1

    async def stop(self, timeout: float) -> None:
        """Claim nothing more, let what is here end, then give back the rest.

        A line whose hook is still running after `timeout` seconds is given back, its attempt too.
        """
        self._stopping = True
        ends_at = time.monotonic() + timeout
        while self._active and (left := ends_at - time.monotonic()) > 0:
            await asyncio.wait(self._active, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        self._closed = True
        for line in self._queue:
            if line.claimed:
                self._give_back(line)
        self._queue.clear()
        self._prepared.clear()
        for task in list(self._active):
            task.cancel()
        if self._active:
            await asyncio.wait(self._active, timeout=CLOSE_SECONDS)
        if self._loop_task is not None:
            self._wake.set()
            await asyncio.wait((self._loop_task,), timeout=CLOSE_SECONDS)
            self._loop_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop_task

    # lines

    def _start_lines(self) -> None:
        while self._queue and self._may_start(self._queue[0]):
            line = self._queue.popleft()
            if self._is_reserved(line):
                self._start_line(line)
        self._wake.set()

    def _may_start(self, line: _Line) -> bool:
        if any(active.alone for active in self._active.values()):
            return False
        return not self._active if line.alone else len(self._active) < self._concurrency

    def _is_reserved(self, line: _Line) -> bool:
        """Whether the line is this server's own: claimed, or just committed here; others are claimed first."""
        return line.rows[0].taken or time.time() - line.committed_at < RESERVE_SECONDS * 0.75

    def _start_line(self, line: _Line) -> None:
        self._idle.clear()
        task = asyncio.get_running_loop().create_task(
            self._run_line(line), name=f"line {line.run.run_id}", context=self._context.copy()
        )
        self._active[task] = line
        task.add_done_callback(self._line_done)

    def _line_done(self, task: asyncio.Task[None]) -> None:
        del self._active[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a line of deliveries ended badly: %s", error, exc_info=error)
        self._start_lines()

    async def _run_line(self, line: _Line) -> None:
        for row in line.rows:
            if not row.taken:
                self._begin(row)
                self._wake.set()
            try:
                row.verdict = await self._attempter.attempt(row.delivery, line.run)
            except asyncio.CancelledError:
                row.verdict = RELEASED
            self._settle(line, row)
            if row.verdict is RELEASED:
                break
        if line.unsettled:
            line.settled.clear()
            await line.settled.wait()

    def _give_back(self, line: _Line) -> None:
        line.rows[0].verdict = RELEASED
        self._settle(line, line.rows[0])

    def _settle(self, line: _Line, row: _Row) -> None:
        line.unsettled += 1
        self._outbox.append((line, row))
        self._wake.set()

    def _begin(self, row: _Row) -> None:
        row.delivery.attempt_count += 1
        row.delivery.status = DeliveryStatus.RUNNING
        self._begun[row.delivery.delivery_id] = row

    # the ledger

    async def _exchange_for_ever(self) -> None:
        delay = 0.1
        while True:
            await self._wait_for_something()
            if self._stopping and not self._active and not self._outbox:
                return
            batch = [self._outbox.popleft() for _ in range(min(len(self._outbox), MOST_PER_EXCHANGE))]
            request, begun = self._compose(batch)
            if request is None:
                self._idle_if_done(nothing_due=False)
                continue
            try:
                claimed = await self._storage.exchange(request)
            except Exception as error:
                logger.error(
                    "deliveries cannot be settled now: %s",
                    error,
                    exc_info=None if isinstance(error, StorageError) else error,
                )
                self._outbox.extendleft(reversed(batch))
                self._begun.update({row.delivery.delivery_id: row for row in begun if row.verdict is None})
                await asyncio.sleep(delay)
                delay = min(delay * 2, POLL_SECONDS * 2)
                continue
            delay = 0.1
            self._stored(batch, begun)
            self._take(claimed, request)
            self._idle_if_done(nothing_due=request.scan and not claimed)

    async def _wait_for_something(self) -> None:
        if not self._wake.is_set():
            may_scan = not self._stopping and self._free_slots(0) > 0
            timeout = max(0.0, self._scan_at - time.monotonic()) if may_scan else POLL_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout)
        if (self._begun or self._outbox) and not self._is_urgent():
            await asyncio.sleep(GATHER_SECONDS)
        self._wake.clear()

    def _is_urgent(self) -> bool:
        """Whether somebody waits for the exchange: a claimed line for its next delivery, or one who drains or stops."""
        return self._stopping or self._draining > 0 or any(line.claimed for line, _ in self._outbox)

    def _compose(self, batch: list[tuple[_Line, _Row]]) -> tuple[Exchange | None, list[_Row]]:
        settled = {row.delivery.delivery_id for _, row in batch}
        begun = [row for key, row in self._begun.items() if key not in settled]
        self._begun.clear()
        settlements = [_settlement(row) for _, row in batch]
        ended = [line for line, row in batch if row is line.rows[-1] and row.verdict is not RELEASED]
        free = 0 if self._stopping else self._free_slots(len(ended))
        scan = free > 0 and (time.monotonic() >= self._scan_at or self._nothing_here(batch))
        if not (begun or settlements or scan):
            return None, begun
        return (
            Exchange(
                server_id=self._server_id,
                now=time.time(),
                starts=[Start(row.delivery.delivery_id, row.fence) for row in begun],
                settlements=settlements,
                claim_runs=[line.run.run_id for line in ended if line.claimed] if free else (),
                scan=scan,
                limit=min(free, 1) if self._careful else free,
            ),
            begun,
        )

    def _free_slots(self, ending: int) -> int:
        if any(line.alone for line in (*self._active.values(), *self._queue)):
            return 0
        return max(0, self._concurrency - len(self._active) - len(self._queue) + ending)

    def _nothing_here(self, batch: Collection[object]) -> bool:
        """Whether somebody who drains waits for the ledger's word alone."""
        return self._draining > 0 and not (self._active or self._queue or batch)

    def _stored(self, batch: list[tuple[_Line, _Row]], begun: list[_Row]) -> None:
        for row in begun:
            row.taken = True
            row.fence += 1
        for line, row in batch:
            line.unsettled -= 1
            if line.unsettled <= 0:
                line.settled.set()
            if self._on_final is not None and row.verdict is not None and row.verdict.status in FINAL_STATUSES:
                self._on_final(replace(row.delivery, status=row.verdict.status, last_error=row.verdict.message))

    def _take(self, claimed: list[ClaimedDelivery], request: Exchange) -> None:
        if request.scan:
            self._drop_prepared(request.now)
            more = len(claimed) >= request.limit
            self._scan_at = 0.0 if more else time.monotonic() + POLL_SECONDS
            if more:
                self._wake.set()
        suspects = [claim for claim in claimed if claim.interruptions >= SUSPECT_AFTER]
        if request.scan:
            self._careful = bool(suspects)
        for claim in claimed:
            line = _Line(claim.run, [_Row(claim.delivery, claim.fence, taken=True)], 0.0, claimed=True)
            if claim in suspects[1:] or self._stopping:
                self._give_back(line)
                continue
            line.alone = claim in suspects
            self._queue.append(line)
        self._start_lines()

    def _drop_prepared(self, now: float) -> None:
        """Forget lines that nobody handed over in time: they are due in the ledger for all."""
        for run_id, line in list(self._prepared.items()):
            if now - line.committed_at < RESERVE_SECONDS:
                return
            del self._prepared[run_id]

    def _idle_if_done(self, *, nothing_due: bool) -> None:
        if nothing_due and not (self._active or self._queue or self._outbox or self._begun):
            self._idle.set()


def _delivery(run: RunRecord, row: NewDelivery) -> Delivery:
    return Delivery(
        delivery_id=row.delivery_id,
        run_id=run.run_id,
        runnable=run.runnable_id,
        phase=row.phase,
        hook=row.hook,
        position=row.position,
        max_attempts=row.max_attempts,
    )


def _settlement(row: _Row) -> Settlement:
    verdict = row.verdict
    assert verdict is not None  # noqa: S101 - only rows with a verdict are in the outbox
    return Settlement(
        delivery_id=row.delivery.delivery_id,
        run_id=row.delivery.run_id,
        fence=row.fence,
        started=row.taken,
        status=verdict.status,
        outcome=verdict.outcome,
        started_at=verdict.started_at,
        duration=verdict.duration,
        due_at=verdict.due_at,
        error=verdict.error,
        last_error=verdict.message,
    )
