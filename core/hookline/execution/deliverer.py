"""Deliveries in this process: lines of a run's background hooks, started after the response, settled in the ledger.

A run's deliveries form a line and are attempted one after the other; the lines of different runs side by side.

**The short way.** The line of a run that ended here is in memory and reserved for this server
(`RESERVE_SECONDS`): it starts at once when the response was handed over, and what was begun and what came of it is
told to the ledger behind it, many at a time (`Storage.exchange`). A process that dies in between leaves rows that were
never taken: the next one finds them.

**The long way.** Whatever is due and in nobody's memory (another server's line, a backoff, a redriven delivery, what
was interrupted) is claimed from the ledger first, one delivery of a run at a time.

**Gates.** What may not begin now, because its hook is paused or has as many attempts under way as it may, is put off:
it leaves its line, so that the next one starts, and waits in the ledger until there is room.

**Care.** What was interrupted may be what ends the process: see `hookline.execution.places`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from hookline.clock import Clock
from hookline.deliveries import FINAL_STATUSES, Delivery, DeliveryStatus
from hookline.errors import StorageError
from hookline.execution.attempt import RELEASED, Attempter, Verdict, broken
from hookline.execution.entrance import Entrance
from hookline.execution.gates import Gates
from hookline.execution.lines import SUSPECT_AFTER, DeliveryStorage, Line, Prepared, Row, delivery_of
from hookline.execution.places import Places
from hookline.execution.pressure import Pressure
from hookline.execution.record import message_of
from hookline.execution.untold import Batch, Untold
from hookline.storage import RESERVE_SECONDS, ClaimedDelivery, Exchange, NewDelivery, RunRecord

logger = logging.getLogger("hookline.deliveries")

POLL_SECONDS = 1.0
SHORTEST_DELAY_SECONDS = 0.1
CLOSE_SECONDS = 5.0
"""How long stopping waits for the ledger, once the hooks have had their time."""
GATHER_SECONDS = 0.02
"""How long what was begun and settled on the short way is gathered before the ledger is told, many at a time."""
DONE = FINAL_STATUSES | {DeliveryStatus.PARKED}
"""With nothing more to be done by any server."""


class Deliverer:
    """Carries deliveries in this process; at most `concurrency` lines at once.

    `on_final` is told of each delivery that came to an end here.
    """

    def __init__(
        self,
        storage: DeliveryStorage,
        server_id: str,
        attempter: Attempter,
        *,
        concurrency: int,
        on_final: Callable[[Delivery], None] | None,
        clock: Clock,
        gates: Gates,
        pressure: Pressure,
    ) -> None:
        self._storage = storage
        self._server_id = server_id
        self._attempter = attempter
        self._on_final = on_final
        self._clock = clock
        self._gates = gates
        self._entrance = Entrance(attempter, gates, on_room=self.wake)
        self._pressure = pressure
        self._prepared = Prepared()
        self._places = Places(concurrency)
        self._untold = Untold()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._scan_at = 0.0
        self._asked_since = False
        self._draining = 0
        self._left_until = float("-inf")
        self._stopping = False
        self._closed = False
        self._context = contextvars.copy_context()  # no run's: what one run set must not reach another's deliveries
        self._loop_task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    # what others say

    def line_committed(self, run: RunRecord, deliveries: list[NewDelivery], now: float) -> None:
        """Take note of a line that was just committed; it starts when it is handed over."""
        self._pressure.add(len(deliveries))
        rows = [Row(delivery_of(run, row), fence=0, taken=False) for row in deliveries if row.due_at is None]
        if rows:
            ago = max(0.0, self._clock.time() - now)
            line = Line(run, rows, reserved_from=self._clock.monotonic() - ago)
            if not self._prepared.put(line):
                self._left_until = max(self._left_until, line.reserved_from + RESERVE_SECONDS)

    def hand_over(self, run_id: str) -> None:
        """The response was handed over: its line may start."""
        line = self._prepared.take(run_id)
        if line is not None and not self._closed:
            self._places.put(line)
            self._start_lines()

    def wake(self) -> None:
        """Something became due in the ledger: look now."""
        self._asked_since = True
        self._scan_at = 0.0
        self._wake.set()

    @property
    def active(self) -> int:
        """How many lines are under way here."""
        return len(self._places.active)

    # life

    def start(self) -> None:
        """Begin to look for what is due."""
        loop = asyncio.get_running_loop()

        def look_now() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self.wake)

        self._unsubscribe = self._clock.subscribe(look_now)
        self._loop_task = loop.create_task(self._exchange_for_ever(), name="deliveries")

    async def drain(self) -> None:
        """Wait until nothing is under way here and nothing that is due is left in the ledger.

        What is due later (a backoff, a delay, a hook that is paused) is not waited for. It ends when this stops, too.
        """
        self._draining += 1
        try:
            while not self._closed:
                self._idle.clear()
                looked_at = self._clock.monotonic()
                self.wake()
                await self._idle.wait()
                if not self._prepared and looked_at >= self._left_until:
                    return
                await asyncio.sleep(0.01)
        finally:
            self._draining -= 1

    async def stop(self, timeout: float) -> None:
        """Claim nothing more, let what is here end, then give back the rest.

        A line whose hook is still running after `timeout` seconds is given back, its attempt too.
        """
        self._stopping = True
        self._unsubscribe()
        ends_at = time.monotonic() + timeout
        active = self._places.active
        while active and (left := ends_at - time.monotonic()) > 0:
            await asyncio.wait(active, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        self._closed = True
        self._idle.set()
        for line in self._places.clear():
            if line.claimed:
                self._give_back(line)
        self._prepared.clear()
        for task in list(active):
            task.cancel()
        if active:
            await asyncio.wait(active, timeout=CLOSE_SECONDS)
        if self._loop_task is not None:
            self._wake.set()
            await asyncio.wait((self._loop_task,), timeout=CLOSE_SECONDS)
            self._loop_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop_task

    # lines

    def _start_lines(self) -> None:
        while (line := self._places.pop(keep=self._is_scan_due)) is not None:
            if not line.claimed:
                self._prepared.let_go(line)
            if self._is_reserved(line):
                self._start_line(line)
            else:
                self._give_back(line)
        self._wake.set()

    @property
    def _is_scan_due(self) -> bool:
        """Whether it is time to look what else is due: some places are kept for it."""
        return not self._stopping and time.monotonic() >= self._scan_at

    def _is_reserved(self, line: Line) -> bool:
        """Whether the line is this server's own: claimed, or just committed here; others are claimed first."""
        return line.claimed or self._clock.monotonic() - line.reserved_from < RESERVE_SECONDS * 0.75

    def _start_line(self, line: Line) -> None:
        self._idle.clear()
        task = asyncio.get_running_loop().create_task(
            self._run_line(line), name=f"line {line.run.run_id}", context=self._context.copy()
        )
        self._places.enter(task, line)
        task.add_done_callback(self._line_done)

    def _line_done(self, task: asyncio.Task[None]) -> None:
        line = self._places.leave(task)
        if line.interruptions > 0:  # others like it may wait for its place
            self.wake()
        if task.cancelled() and line.rows[0].verdict is None:  # before its first step
            self._give_back(line)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the line of run %s ended badly: %s", line.run.run_id, message_of(error), exc_info=error)
        self._start_lines()

    async def _run_line(self, line: Line) -> None:
        for row in list(line.rows):
            row.verdict = await self._attempt(line, row)
            if not self._is_reserved(line):
                self._leave_what_follows(line, row)
            self._settle(line, row)
            if row.verdict is RELEASED or row is line.rows[-1]:
                break
        if line.unsettled:
            line.settled.clear()
            await line.settled.wait()

    @staticmethod
    def _leave_what_follows(line: Line, row: Row) -> None:
        """Leave the rest of a line to the ledger: meanwhile somebody may have discarded it, or taken it over."""
        if row is not line.rows[-1]:
            del line.rows[line.rows.index(row) + 1 :]
            line.claimed = True

    async def _attempt(self, line: Line, row: Row) -> Verdict:
        if (verdict := self._entrance.let_in(row, line.run)) is not None:
            return verdict
        if not row.taken:
            self._begin(row)
            self._wake.set()
        let_in, verdict = row.let_in, RELEASED
        assert let_in is not None  # noqa: S101 - there would be a verdict
        try:
            verdict = await self._attempter.attempt(row.delivery, line.run, let_in.found)
        except asyncio.CancelledError:
            pass  # this process gives it up
        except Exception as error:  # noqa: BLE001 - whatever it is: the delivery must not stay `running`
            verdict = broken(row.delivery, error)
        finally:
            self._entrance.let_out(row, failed=verdict.failed)
        return verdict

    def _give_back(self, line: Line) -> None:
        self._entrance.let_out(line.rows[0], failed=None)
        line.rows[0].verdict = RELEASED
        self._settle(line, line.rows[0])

    def _settle(self, line: Line, row: Row) -> None:
        self._untold.settle(line, row)
        self._wake.set()

    def _begin(self, row: Row) -> None:
        row.delivery.attempt_count += 1
        row.delivery.status = DeliveryStatus.RUNNING
        self._untold.begin(row)

    # the ledger

    async def _exchange_for_ever(self) -> None:
        delay = SHORTEST_DELAY_SECONDS
        while True:
            await self._wait_for_something()
            if self._closed and not self._places.active and not self._untold.has_settled:
                return
            try:
                await self._exchange()
                delay = SHORTEST_DELAY_SECONDS
            except Exception as error:
                unexpected = None if isinstance(error, StorageError) else error
                logger.error("deliveries cannot be settled now: %s", message_of(error), exc_info=unexpected)
                await asyncio.sleep(delay)
                delay = min(delay * 2, POLL_SECONDS * 2)

    async def _exchange(self) -> None:
        """Tell the ledger what there is to tell, and take what is due.

        Raises:
            Exception: the ledger's; everything is told again. Or one of hookline itself, when it is told. In both cases
                what may have been claimed and is not known here is given back by the next exchange.
        """
        if self._gates.reopen():
            self._scan_at = 0.0
        self._asked_since = False
        batch = self._untold.take()
        request = self._compose(batch)
        if request is None:
            return
        try:
            claimed = await self._storage.exchange(request)
        except BaseException:
            self._untold.put_back(batch, with_claims=request.limit > 0)
            raise
        self._untold.told(batch)
        try:
            self._tell_of_final(batch)
            self._take(claimed, request)
        except BaseException:
            self._untold.doubt_claims()
            raise
        if request.scan and not (claimed or self._asked_since or self._places or self._untold):
            self._idle.set()

    async def _wait_for_something(self) -> None:
        if not self._wake.is_set():
            may_scan = not self._stopping and self._places.free(keep=self._is_scan_due) > 0
            timeout = max(0.0, self._scan_at - time.monotonic()) if may_scan else POLL_SECONDS
            timeout = min(timeout, self._gates.seconds_left)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
        if self._untold and not self._is_urgent():
            await asyncio.sleep(GATHER_SECONDS)
        self._wake.clear()

    def _is_urgent(self) -> bool:
        """Whether somebody waits for the exchange: a claimed line for its next delivery, or one who drains or stops."""
        return self._stopping or self._draining > 0 or self._untold.is_waited_for

    def _compose(self, batch: Batch) -> Exchange | None:
        ended = batch.ended
        ending = sum(line.started for line in ended)
        free = 0 if self._stopping else self._places.free(ending=ending, keep=self._is_scan_due)
        scan = free > 0 and (self._is_scan_due or self._nothing_here(batch))
        if not (batch or scan or batch.claims_in_doubt):
            return None
        apart, rooms = self._gates.claims() if scan else ((), {})
        return Exchange(
            server_id=self._server_id,
            now=self._clock.time(),
            starts=batch.starts,
            settlements=batch.settlements,
            claim_runs=[line.run.run_id for line in ended if line.claimed] if free else (),
            scan=scan,
            limit=free,
            apart=apart,
            claim_hooks=rooms,
            limit_interrupted=self._places.free_for_interrupted,
            suspect_after=SUSPECT_AFTER,
            held=self._untold.held(batch, self._places) if batch.claims_in_doubt else None,
        )

    def _nothing_here(self, batch: Batch) -> bool:
        """Whether somebody who drains waits for the ledger's word alone."""
        return self._draining > 0 and not (self._places or batch.settled)

    def _tell_of_final(self, batch: Batch) -> None:
        for _, row in batch.settled:
            if row.verdict is not None and row.verdict.status in DONE:
                self._pressure.add(-1)
                if self._on_final is not None and row.verdict.status in FINAL_STATUSES:
                    self._on_final(replace(row.delivery, status=row.verdict.status, last_error=row.verdict.message))

    def _take(self, claimed: list[ClaimedDelivery], request: Exchange) -> None:
        if request.scan:
            self._scanned(claimed, request)
        for claim in claimed:
            row = Row(claim.delivery, claim.fence, taken=True)
            line = Line(claim.run, [row], 0.0, claimed=True, interruptions=claim.interruptions)
            if self._stopping or (line.is_suspect and not self._places.may_begin_suspect):
                self._give_back(line)
            elif (verdict := self._entrance.let_in(row, line.run)) is not None:
                row.verdict = verdict
                self._settle(line, row)
            else:
                self._places.put(line)
        self._start_lines()

    def _scanned(self, claimed: list[ClaimedDelivery], request: Exchange) -> None:
        self._drop_prepared()
        interrupted = sum(claim.interruptions > 0 for claim in claimed)
        has_suspect = any(claim.interruptions >= SUSPECT_AFTER for claim in claimed)
        self._places.hold(has_suspect=has_suspect)
        is_full = has_suspect or len(claimed) >= request.limit
        is_all = not is_full and interrupted < (request.limit_interrupted or 0)
        self._gates.claimed(dict(request.claim_hooks), (claim.delivery.key for claim in claimed), is_all=is_all)
        if is_full:
            self.wake()
        elif not self._asked_since:
            self._scan_at = time.monotonic() + POLL_SECONDS

    def _drop_prepared(self) -> None:
        now = self._clock.monotonic()
        if self._prepared.drop(now):
            self._left_until = max(self._left_until, now)
