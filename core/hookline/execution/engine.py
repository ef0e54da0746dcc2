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
from dataclasses import dataclass, replace
from typing import Protocol

from hookline.calling import Caller
from hookline.errors import HooklineError, ModelError, RunLostError, SessionBusyError, StorageError
from hookline.events import EventName
from hookline.execution.inline import HookFailedError, InlineHooks, RunRejectedError
from hookline.execution.live_run import TERMINAL_OF, LiveRun, Rejection, RunRequest
from hookline.execution.points import Points
from hookline.execution.record import message_of
from hookline.execution.scheduling import Scheduler
from hookline.execution.scope import Scope
from hookline.execution.session_queue import SessionQueue
from hookline.execution.snapshot import encode_snapshot
from hookline.jsontext import dumps, loads
from hookline.messages import Message
from hookline.plan import Plan
from hookline.runs import RunError, RunStatus
from hookline.sessions import Session
from hookline.storage import FinishRun, NewDelivery, RunRecord, RunStorage, SessionLock
from hookline.threads import DaemonThreads

logger = logging.getLogger("hookline.runs")

LOCK_POLL_SECONDS = (0.02, 0.5)
"""How often a session that another process holds is asked for: at first, and at most."""

STORE_AGAIN_SECONDS = (0.5, 30.0)
"""How long to wait before an outcome that could not be stored is tried again: at first, and at most."""


class Lines(Protocol):
    """Where the deliveries of a committed run go."""

    def line_committed(self, run: RunRecord, deliveries: list[NewDelivery], now: float) -> None:
        """Take note of a run's line; it may start once the response was handed over."""

    def hand_over(self, run_id: str) -> None:
        """The response was handed over."""


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What an engine is made of; `lines` is None where hooks are never in the background."""

    storage: RunStorage
    server_id: str
    caller: Caller
    hook_threads: DaemonThreads
    tool_threads: DaemonThreads
    points: Points
    lines: Lines | None = None
    store_rejected_input: bool = False


class Engine:
    """Executes runs on one event loop."""

    def __init__(self, parts: EngineParts) -> None:
        self.live: dict[str, LiveRun] = {}
        self._parts = parts
        self._storage = parts.storage
        self._queue = SessionQueue()
        self._inline = InlineHooks(parts.caller, parts.hook_threads, self._present_record)
        self._scheduler = Scheduler(parts.points)
        self._unstored: set[asyncio.Task[None]] = set()

    def start(self, request: RunRequest, plan: Plan) -> LiveRun:
        """Start a run on the running loop."""
        run = self._new_run(request, plan)
        self.live[run.run_id] = run
        run.task = asyncio.get_running_loop().create_task(self._execute(run), name=f"run {run.run_id}")
        return run

    async def close(self) -> None:
        """Give up storing again what could not be stored: another server will find these runs interrupted."""
        for task in self._unstored:
            task.cancel()
        await asyncio.gather(*self._unstored, return_exceptions=True)

    def _new_run(self, request: RunRequest, plan: Plan) -> LiveRun:
        points = self._parts.points
        observe = None
        if points.of("run_event"):
            observe = lambda event: points.observe_event(event, request.runnable)  # noqa: E731 - a closure of one line
        run = LiveRun(request, plan, observe)
        if self._parts.lines is not None:
            run.on_hand_over = self._parts.lines.hand_over
        return run

    async def _execute(self, run: LiveRun) -> None:
        try:
            await self._execute_in_turn(run)
        except (StorageError, SessionBusyError) as error:
            logger.error("run not stored: %s", error, extra={"run_id": run.run_id, "session_id": run.session_id})
            run.end_unstored(error)
        except BaseException as error:
            run.end_unstored(StorageError(f"run {run.run_id} could not be executed: {message_of(error)}"))
            raise
        finally:
            self.live.pop(run.run_id, None)

    async def _execute_in_turn(self, run: LiveRun) -> None:
        try:
            async with self._queue.turn(run.session_id, run.runnable.on_busy):
                await self._execute_locked(run)
        except asyncio.CancelledError:  # while it waited for its turn
            self._absorb_cancellation(run)
            self._conclude(run, RunStatus.CANCELLED, "cancelled")
            await self._finish(run, "{}")

    async def _execute_locked(self, run: LiveRun) -> None:
        state = "{}"
        try:
            state = await self._load(run)
            await self._work(run)
            self._conclude(run, RunStatus.COMPLETED, None)
        except asyncio.CancelledError:
            self._absorb_cancellation(run)
            self._conclude(run, RunStatus.CANCELLED, "cancelled")
        except StorageError:
            with contextlib.suppress(StorageError):  # it is the same trouble; the sweep unlocks in the end
                await self._storage.unlock_session(run.session_id, run.run_id)
            raise
        except Exception as error:  # noqa: BLE001 - the run's own outcome; what it is, `_fail` tells apart
            self._fail(run, error)
        await self._finish(run, state)

    def _absorb_cancellation(self, run: LiveRun) -> None:
        """Take note of a cancellation that `LiveRun.cancel` asked for; any other goes on its way."""
        task = asyncio.current_task()
        if not run.cancel_requested or task is None:
            raise  # noqa: PLE0704 - called from an except clause only
        task.uncancel()

    # before the model

    async def _load(self, run: LiveRun) -> str:
        """Lock the session, load its state and history; returns the state's JSON text as stored."""
        agent, request = run.runnable, run.request
        lock = SessionLock(
            session_id=run.session_id,
            user_id=request.user_id,
            run_id=run.run_id,
            server_id=self._parts.server_id,
            now=run.output.created_at,
            state=dumps(agent.session_state) if agent.session_state else "{}",
            history_runs=agent.history_runs,
            runnable_id=agent.id,
        )
        delay, longest = LOCK_POLL_SECONDS
        while (locked := await run.uninterrupted(self._storage.lock_session(lock))) is None:
            if agent.on_busy == "reject":
                raise SessionBusyError(f"session {run.session_id!r} is busy with another run")
            await asyncio.sleep(delay)
            delay = min(delay * 2, longest)
        state = run.run_context.session_state
        state.update(loads(locked.state))
        state.update(request.session_state or {})
        run.session = locked.session
        run.session.session_state = state
        for document in locked.history:
            run.history.extend(Message.from_dict(message) for message in loads(document)["messages"])
        return locked.state

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
        run.pre_deliveries = self._scheduler.schedule(run, run.plan.pre_background, first_position=0)
        await run.uninterrupted(self._accept_and_mark(run))

    async def _accept_and_mark(self, run: LiveRun) -> None:
        await self._storage.accept_run(self._record_of(run), run.pre_deliveries)
        run.mark_accepted()

    # after it

    def _fail(self, run: LiveRun, error: Exception) -> None:
        output = run.output
        if isinstance(error, RunRejectedError):
            run.rejection = Rejection(error.hook, error.check.check_trigger)
            self._conclude(run, RunStatus.REJECTED, error.check.check_trigger or "check_failed")
        elif isinstance(error, HookFailedError):
            self._conclude(run, RunStatus.FAILED, "guardrail_failed" if error.guardrail else "hook_failed")
        elif isinstance(error, ModelError):
            self._conclude(run, RunStatus.FAILED, "model_error")
        else:
            self._conclude(run, RunStatus.FAILED, "error")
        output.error = RunError(type(error).__name__.removesuffix("Error") or "Error", message_of(error))
        logger.log(
            logging.INFO if isinstance(error, RunRejectedError) else logging.ERROR,
            "run %s: %s",
            output.status,
            message_of(error),
            exc_info=None if isinstance(error, RunRejectedError | HookFailedError | ModelError) else error,
            extra={"run_id": run.run_id, "session_id": run.session_id},
        )

    def _conclude(self, run: LiveRun, status: RunStatus, reason: str | None) -> None:
        output = run.output
        output.status, output.reason = status, reason
        output.finished_at = time.time()
        output.metrics.duration = time.perf_counter() - run.clock_started
        withheld = status is RunStatus.REJECTED or reason == "guardrail_failed"
        if withheld:  # nothing of what a guard did not pass is kept or shown
            output.content = None
            output.messages = [message for message in output.messages if message.role == "user"]

    async def _finish(self, run: LiveRun, state: str) -> None:
        try:
            await self._inline.run_post_hooks(run.plan.post_inline, run)
        except asyncio.CancelledError:
            self._absorb_cancellation(run)
            self._conclude(run, RunStatus.CANCELLED, "cancelled")
        except (RunRejectedError, HookFailedError) as error:
            self._fail(run, error)
        new_state = self._encode_outcome(run, state)
        run.committing = True
        await self._commit(run, new_state if new_state != state else None)

    def _encode_outcome(self, run: LiveRun, state: str) -> str:
        """Encode state and run, once; what JSON has no form for fails the run, and the state stays as it was."""
        try:
            new_state = dumps(run.run_context.session_state) if run.run_context.session_state else "{}"
        except (TypeError, ValueError) as error:
            self._fail(run, HooklineError(f"session_state cannot be stored: {message_of(error)}"))
            new_state = state
        try:
            run.encode()
        except (TypeError, ValueError) as error:
            run.output.content = None
            run.output.metadata.clear()
            self._fail(run, HooklineError(f"the run's content or metadata cannot be stored: {message_of(error)}"))
            run.encode()
        return new_state

    async def _commit(self, run: LiveRun, new_state: str | None) -> None:
        request = self._finish_request(run, new_state)
        try:
            stored = await self._storage.finish_run(request)
        except StorageError as error:
            if run.is_accepted:
                self._store_again(run, error)
            raise
        if not stored:
            raise RunLostError(f"run {run.run_id} was taken over by another server")
        self._end(run, request)

    def _finish_request(self, run: LiveRun, new_state: str | None) -> FinishRun:
        status, plan = run.output.status, run.plan
        hooks = [hook for hook in plan.post_background if status in hook.on]
        deliveries = self._scheduler.schedule(run, hooks, first_position=len(plan.pre_background))
        return FinishRun(
            run=self._record_of(run),
            accepted=run.is_accepted,
            deliveries=deliveries,
            session_state=new_state,
            now=time.time(),
        )

    def _end(self, run: LiveRun, request: FinishRun) -> None:
        line = [*run.pre_deliveries, *request.deliveries]
        was_ours = (
            request.run.server_id == self._parts.server_id
        )  # of another's run the pre-hooks are in the ledger only
        if self._parts.lines is not None and line and was_ours:
            self._parts.lines.line_committed(request.run, line, request.now)
        for delivery in line:
            run.emit(EventName.HOOK_SCHEDULED, hook=delivery.hook, delivery_id=delivery.delivery_id)
        run.end(TERMINAL_OF[run.output.status])

    def _store_again(self, run: LiveRun, error: StorageError) -> None:
        """The client has been told that its run is not stored: keep trying to say so in the ledger too."""
        run.output.status, run.output.reason = RunStatus.FAILED, "not_stored"
        run.output.error = RunError("Storage", message_of(error))
        run.encode()
        task = asyncio.get_running_loop().create_task(self._keep_storing(run), name=f"store {run.run_id}")
        self._unstored.add(task)
        task.add_done_callback(self._unstored.discard)

    async def _keep_storing(self, run: LiveRun) -> None:
        request = self._finish_request(run, None)
        delay, longest = STORE_AGAIN_SECONDS
        while True:
            await asyncio.sleep(delay)
            try:
                stored = await self._storage.finish_run(request)
            except StorageError as error:
                delay = min(delay * 2, longest)
                logger.error("run still not stored: %s", error, extra={"run_id": run.run_id})
                continue
            if stored and self._parts.lines is not None:
                line = [*run.pre_deliveries, *request.deliveries]
                self._parts.lines.line_committed(request.run, line, request.now)
                self._parts.lines.hand_over(run.run_id)
            return

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
            await self._finish(run, dumps(run.run_context.session_state))

    def _present_record(self, run: LiveRun) -> RunRecord:
        """The row as it would be stored now: what a hook marked for the background sees where it is called inline."""
        return replace(self._record_of(run), document=dumps(run.output.to_dict()))

    def _record_of(self, run: LiveRun) -> RunRecord:
        output, plan = run.output, run.plan
        was_begun = output.status is RunStatus.RUNNING or run.is_accepted
        return RunRecord(
            run_id=run.run_id,
            session_id=run.session_id,
            user_id=output.user_id,
            runnable_kind=run.runnable.kind,
            runnable_id=run.runnable.id,
            server_id=run.server_id or self._parts.server_id,
            created_at=output.created_at,
            status=output.status,
            reason=output.reason,
            parent_run_id=run.request.parent_run_id,
            input=run.run_input.input_content if was_begun or self._parts.store_rejected_input else None,
            metadata=dumps(run.run_context.metadata) if run.run_context.metadata else "{}",
            document=run.document or None,
            hook_calls=dumps([call.to_dict() for call in run.hook_calls]) if run.hook_calls else "[]",
            snapshot=self._snapshot(run, plan),
            finished_at=output.finished_at,
        )

    def _snapshot(self, run: LiveRun, plan: Plan) -> str:
        wanted = plan.stored_arguments
        if not wanted:
            return "{}"
        state = run.run_context.session_state
        return encode_snapshot(
            wanted,
            run.session,
            dumps(state) if state else "{}",
            run.run_context.dependencies,
            run.run_id,
        )
