"""The engine: a run is a task; agents, teams and workflows share it, and every hook fires on every path.

What it does, in order (the numbers are the ledger's commits):

    lock the session, load state and history
    inline pre-hooks                    a guardrail may reject
    1 acceptance                        the run's row `running`, its background pre-hooks `waiting`
    model and tools                     `Runnable.perform`
    output guardrails, then the status
    the other inline post-hooks
    2 outcome                           status, state, background post-hooks
    the terminal event
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from hookline.errors import (
    HooklineError,
    ModelError,
    RunLostError,
    SessionBusyError,
    SessionNotFoundError,
    StorageError,
)
from hookline.events import EventName
from hookline.execution.inline import HookFailedError, InlineHooks, RunRejectedError
from hookline.execution.live_run import TERMINAL_OF, LiveRun, Rejection, RunRequest
from hookline.execution.parts import EngineParts
from hookline.execution.record import message_of
from hookline.execution.repair import Repairs
from hookline.execution.rows import NotStorableError, Rows, encode_object
from hookline.execution.scheduling import Scheduler
from hookline.execution.scope import Scope
from hookline.execution.session_queue import SessionQueue
from hookline.jsontext import loads
from hookline.messages import Message
from hookline.plan import Plan
from hookline.runs import Metrics, RunError, RunStatus
from hookline.sessions import Session
from hookline.storage import LockedSession, RunRecord, SessionLock

logger = logging.getLogger("hookline.runs")

LOCK_POLL_SECONDS = (0.02, 0.5)
"""How often a session that another process holds is asked for: at first, and at most."""


class Engine:
    """Executes runs on one event loop."""

    def __init__(self, parts: EngineParts) -> None:
        self.live: dict[str, LiveRun] = {}
        self._parts = parts
        self._storage = parts.storage
        self._queue = SessionQueue(parts.ledger)
        self._scheduler = Scheduler(parts.points)
        self._rows = Rows(self._scheduler, parts.server_id, store_rejected_input=parts.store_rejected_input)
        self._inline = InlineHooks(parts.caller, parts.hook_threads, self._rows.present_record_of)
        self._repairs = Repairs(parts.storage, self._rows, parts.lines)

    def start(self, request: RunRequest, plan: Plan) -> LiveRun:
        """Start a run on the running loop."""
        run = self._new_run(request, plan)
        self.live[run.run_id] = run
        run.task = asyncio.get_running_loop().create_task(self._execute(run), name=f"run {run.run_id}")
        return run

    async def close(self) -> None:
        """Give up what is still tried again after a failure of the storage: another server's sweep will do it."""
        await self._repairs.close()

    def _new_run(self, request: RunRequest, plan: Plan) -> LiveRun:
        points = self._parts.points
        observe = None
        if points.of("run_event"):
            observe = lambda event: points.observe_event(event, request.runnable)  # noqa: E731 - a closure of one line
        run = LiveRun(request, plan, observe, self._parts.clock)
        if self._parts.lines is not None:
            run.on_hand_over = self._parts.lines.hand_over
        return run

    async def _execute(self, run: LiveRun) -> None:
        try:
            await self._execute_in_turn(run)
        except (StorageError, SessionBusyError, SessionNotFoundError) as error:
            logger.error(
                "run %s not stored: %s", run.run_id, error, extra={"run_id": run.run_id, "session_id": run.session_id}
            )
            run.end_unstored(error)
        except BaseException as error:
            run.end_unstored(StorageError(f"run {run.run_id} could not be executed: {message_of(error)}"))
            raise
        finally:
            self.live.pop(run.run_id, None)

    async def _execute_in_turn(self, run: LiveRun) -> None:
        try:
            run.begin()
            async with self._queue.turn(run.session_id, run.runnable.on_busy):
                await self._load(run)
                await self._execute_loaded(run)
        except asyncio.CancelledError:  # before it was loaded: later ones are seen to further down
            self._absorb_cancellation(run)
            self._conclude(run, RunStatus.CANCELLED, "cancelled")
            await self._finish(run)

    async def _execute_loaded(self, run: LiveRun) -> None:
        try:
            await self._work(run)
            self._conclude(run, RunStatus.COMPLETED, None)
        except asyncio.CancelledError:
            self._absorb_cancellation(run)
            self._conclude(run, RunStatus.CANCELLED, "cancelled")
        except StorageError as error:  # acceptance was not stored, or it was and nobody said so
            self._repairs.end_as_failed(run, error)
            raise
        except Exception as error:  # noqa: BLE001 - the run's own outcome; what it is, `_fail` tells apart
            self._fail(run, error)
        await self._finish(run)

    def _absorb_cancellation(self, run: LiveRun) -> None:
        """Take note of a cancellation that `LiveRun.cancel` asked for; any other goes on its way."""
        task = asyncio.current_task()
        if not run.cancel_requested or task is None:
            raise  # noqa: PLE0704 - called from an except clause only
        task.uncancel()

    # before the model

    async def _load(self, run: LiveRun) -> None:
        """Lock the session, load its state and history."""
        runnable = run.runnable
        lock = SessionLock(
            session_id=run.session_id,
            user_id=run.request.user_id,
            run_id=run.run_id,
            server_id=self._parts.server_id,
            now=run.output.created_at,
            state=runnable.state_text,
            history_runs=runnable.history_runs,
            runnable_id=runnable.id,
        )
        locked = await self._lock(run, lock)
        if run.request.own_session and locked.session.user_id != run.request.user_id:
            self._repairs.give_session_back(run)
            raise SessionNotFoundError(f"there is no session {run.session_id!r}")
        state = run.run_context.session_state
        state.update(loads(locked.state))
        state.update(run.given_state)
        run.stored_state = run.state_text = locked.state
        run.session = locked.session
        run.session.session_state = state
        for document in locked.history:
            run.history.extend(Message.from_dict(message) for message in loads(document)["messages"])

    async def _lock(self, run: LiveRun, lock: SessionLock) -> LockedSession:
        delay, longest = LOCK_POLL_SECONDS
        while True:
            try:
                locked = await run.uninterrupted(self._storage.lock_session(lock))
            except StorageError:
                self._repairs.give_session_back(run)
                raise
            if locked is not None:
                return locked
            if run.runnable.on_busy == "reject":
                raise SessionBusyError(f"session {run.session_id!r} is busy with another run")
            await asyncio.sleep(delay)
            delay = min(delay * 2, longest)

    async def _work(self, run: LiveRun) -> None:
        run.emit(EventName.RUN_STARTED, session_id=run.session_id)
        await self._inline.run_pre_hooks(run)
        await self._accept(run)
        scope = Scope(run, inline=self._inline, points=self._parts.points, tool_threads=self._parts.tool_threads)
        await run.runnable.perform(scope)
        run.output.status = RunStatus.COMPLETED
        await self._inline.run_post_hooks(run.plan.output_guardrails, run)
        run.release_output()

    async def _accept(self, run: LiveRun) -> None:
        text = run.run_input.input_content
        if not isinstance(text, str):
            raise NotStorableError(f"a pre-hook made run_input.input_content a {type(text).__name__}: it must be a str")
        run.metadata_text = encode_object("metadata", run.output.metadata)
        run.state_text = encode_object("session_state", run.run_context.session_state)
        run.pre_deliveries = self._scheduler.schedule(run, run.plan.pre_background, first_position=0)
        await run.uninterrupted(self._accept_and_mark(run))

    async def _accept_and_mark(self, run: LiveRun) -> None:
        await self._storage.accept_run(self._rows.record_of(run), run.pre_deliveries)
        run.mark_accepted()

    # after it

    def _fail(self, run: LiveRun, error: Exception) -> None:
        if isinstance(error, RunRejectedError):
            run.rejection = Rejection(error.hook, error.check.check_trigger)
            self._conclude(run, RunStatus.REJECTED, error.check.check_trigger or "check_failed")
        elif isinstance(error, HookFailedError):
            self._conclude(run, RunStatus.FAILED, "guardrail_failed" if error.guardrail else "hook_failed")
        elif isinstance(error, ModelError):
            self._conclude(run, RunStatus.FAILED, "model_error")
        else:
            self._conclude(run, RunStatus.FAILED, "error")
        run.output.error = RunError(type(error).__name__.removesuffix("Error") or "Error", message_of(error))
        logger.log(
            logging.INFO if isinstance(error, RunRejectedError) else logging.ERROR,
            "run %s %s: %s",
            run.run_id,
            run.output.status,
            message_of(error),
            exc_info=None if isinstance(error, HooklineError) else error,
            extra={"run_id": run.run_id, "session_id": run.session_id},
        )

    def _conclude(self, run: LiveRun, status: RunStatus, reason: str | None) -> None:
        output = run.output
        output.status, output.reason = status, reason
        output.finished_at = run.clock.time()
        output.metrics.duration = time.perf_counter() - run.clock_started
        if status is RunStatus.REJECTED or not run.output_passed:  # nothing that a guard did not pass is kept or shown
            output.content = None
            output.messages = [Message("user", run.accepted_input)] if run.is_accepted else []

    async def _finish(self, run: LiveRun) -> None:
        status = run.output.status
        try:
            await self._inline.run_post_hooks(run.plan.post_inline, run)
            run.output.status = status
        except asyncio.CancelledError:
            self._absorb_cancellation(run)
            self._conclude(run, RunStatus.CANCELLED, "cancelled")
        except (RunRejectedError, HookFailedError) as error:
            self._fail(run, error)
        self._encode_outcome(run)
        run.committing = True
        await self._commit(run)

    def _encode_outcome(self, run: LiveRun) -> None:
        """Encode state, metadata and run, once; what JSON has no form for fails the run and is left out."""
        try:
            run.state_text = encode_object("session_state", run.run_context.session_state)
        except NotStorableError as error:
            self._fail(run, error)
            run.state_text = run.stored_state
        try:
            run.metadata_text = encode_object("metadata", run.output.metadata)
        except NotStorableError as error:
            run.output.metadata, run.metadata_text = {}, "{}"
            self._fail(run, error)
        try:
            run.encode()
        except Exception as error:  # noqa: BLE001 - the border to hooks: they may have put anything there
            output = run.output
            output.content, output.metrics = None, Metrics()
            output.messages = [Message("user", run.accepted_input)] if run.is_accepted else []
            self._fail(run, NotStorableError(f"what a hook or a tool left in the run's output: {message_of(error)}"))
            run.encode()

    async def _commit(self, run: LiveRun) -> None:
        request = self._rows.finish_request(run, accepted=run.is_accepted)
        was_ours = run.server_id is None  # another's background pre-hooks are in the ledger only; the sweep tries again
        try:
            stored = await self._storage.finish_run(request)
        except StorageError as error:
            if run.is_accepted and was_ours:
                self._repairs.end_as_failed(run, error)
            elif was_ours:
                self._repairs.give_session_back(run)
            raise
        if not stored:
            raise RunLostError(f"run {run.run_id} was taken over by another server")
        line = [*run.pre_deliveries, *request.deliveries]
        if self._parts.lines is not None and line and was_ours:
            self._parts.lines.line_committed(request.run, line, request.now)
        for delivery in line:
            run.emit(EventName.HOOK_SCHEDULED, hook=delivery.hook, delivery_id=delivery.delivery_id)
        run.end(TERMINAL_OF[run.output.status])

    async def finish_interrupted(
        self, record: RunRecord, request: RunRequest, plan: Plan, session: Session | None
    ) -> None:
        """End a run whose server is gone: `failed`, reason `interrupted`, with its hooks.

        Raises:
            StorageError: it could not be stored; the next sweep finds it again.
        """
        run = self._new_run(request, plan)
        run.restore(record, session)
        self._conclude(run, RunStatus.FAILED, "interrupted")
        run.output.error = RunError("Interrupted", "the server that executed this run ended")
        run.output.metrics.duration = None
        with contextlib.suppress(RunLostError):  # somebody else's sweep was faster
            await self._finish(run)
