"""A run in this process: its buffer of events, and what its readers can ask of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from hookline.clock import SYSTEM_CLOCK, Clock
from hookline.errors import HooklineError
from hookline.events import CONTENT_EVENTS, TERMINAL_EVENTS, EventName, RunEvent
from hookline.execution.record import HookCall
from hookline.jsontext import dumps, loads
from hookline.messages import Message
from hookline.plan import Plan, PlannedHook
from hookline.runnable import Runnable
from hookline.runs import RunContext, RunInput, RunOutput
from hookline.sampling import in_sample, sample_point
from hookline.sessions import Session
from hookline.storage import NewDelivery, RunRecord
from hookline.uuids import uuid7

T = TypeVar("T")


@dataclass(slots=True)
class RunRequest:
    """What somebody asks for: a run of a runnable; None stands for what is not given.

    `own_session`: refuse a session that is not `user_id`'s.
    """

    runnable: Runnable
    message: str
    session_id: str | None = None
    user_id: str | None = None
    metadata: dict[str, Any] | None = None
    dependencies: dict[str, Any] | None = None
    session_state: dict[str, Any] | None = None
    stream: bool = False
    debug_mode: bool = False
    own_session: bool = False
    parent_run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """Which hook rejected a run, and the rule that it named."""

    hook: str
    check_trigger: str | None


@dataclass(slots=True)
class _Buffer:
    """Events in order; every reader follows at its own pace, and none can hold up the run."""

    events: list[RunEvent] = field(default_factory=list)
    closed: bool = False
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    def append(self, event: RunEvent) -> None:
        self.events.append(event)
        self.wake()

    def wake(self) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()

    async def wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        await waiter


class LiveRun:
    """A run that is executed in this process.

    Attributes:
        clock: what tells the instants that are written down.
        output: the run, final once `finished()` returns.
        accepted_input: the input as it was accepted.
        output_passed: whether every output guardrail that enforces has passed.
        stored_state: JSON text of the session's state as the ledger holds it; `state_text`: as the run leaves it.
        metadata_text: JSON text of the run's metadata.
        document: JSON text of `output.to_dict()`, encoded once, when the run has ended.
        rejection: set when the run was rejected.
        error: set when the outcome could not be stored, or the session was not to be had.
    """

    def __init__(
        self,
        request: RunRequest,
        plan: Plan,
        observe: Callable[[RunEvent], None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.clock = clock
        self.request = request
        self.runnable = request.runnable
        self.plan = plan
        self.stream = request.stream
        self.run_id = uuid7()
        self.session_id = request.session_id or uuid7()
        self.run_input = RunInput(request.message)
        self.run_context = RunContext(
            run_id=self.run_id,
            session_id=self.session_id,
            user_id=request.user_id,
            dependencies=dict(request.dependencies or {}),
            metadata=_copy(request.metadata),
        )
        self.output = RunOutput(
            run_id=self.run_id,
            session_id=self.session_id,
            runnable_kind=self.runnable.kind,
            runnable_id=self.runnable.id,
            user_id=request.user_id,
            metadata=self.run_context.metadata,
            created_at=clock.time(),
        )
        self.given_state = _copy(request.session_state)
        self.session = Session(self.session_id, request.user_id)
        self.history: list[Message] = []
        self.hook_calls: list[HookCall] = []
        self.pre_deliveries: list[NewDelivery] = []
        self.server_id: str | None = None
        self.clock_started = time.perf_counter()
        self.is_accepted = False
        self.accepted_input: str | None = None
        self.output_passed = not plan.guards_output
        self.stored_state = self.state_text = self.metadata_text = "{}"
        self.committing = False
        self.cancel_requested = False
        self.document = ""
        self.rejection: Rejection | None = None
        self.error: HooklineError | None = None
        self.task: asyncio.Task[None] | None = None
        self.on_hand_over: Callable[[str], None] | None = None
        self._observe = observe
        self._buffer = _Buffer()
        self._cancellable = False
        self._plain: dict[str, Any] = {}
        self._held: list[tuple[EventName, dict[str, Any]]] | None = [] if plan.holds_output else None
        self._content_left = False
        self._decided = asyncio.Event()
        self._finished = asyncio.Event()
        self._handed_over = False

    # for readers

    async def accepted(self) -> bool:
        """Wait for acceptance (True) or an end before it (False)."""
        await self._decided.wait()
        return self.is_accepted

    async def finished(self) -> RunOutput:
        """Wait for the end, after the outcome was committed.

        Raises:
            StorageError: the outcome could not be stored.
            SessionBusyError: the session was not to be had.
            SessionNotFoundError: the session is somebody else's, and only one's own was asked for.
        """
        await self._finished.wait()
        if self.error is not None:
            raise self.error
        return self.output

    async def events(self) -> AsyncIterator[RunEvent]:
        """Follow the run from its first event to the terminal one; a reader that leaves ends nothing.

        Raises:
            StorageError: the outcome could not be stored, so that there is no terminal event.
            SessionBusyError: the session was not to be had.
            SessionNotFoundError: the session is somebody else's, and only one's own was asked for.
        """
        buffer, position = self._buffer, 0
        while True:
            while position < len(buffer.events):
                yield buffer.events[position]
                position += 1
            if buffer.closed:
                break
            await buffer.wait()
        if self.error is not None:
            raise self.error

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended and its outcome was committed, or could not be."""
        return self._finished.is_set()

    def hand_over(self) -> None:
        """Say that the response has been handed over: deliveries may start. More than once does no harm."""
        if self._handed_over:
            return
        self._handed_over = True
        self._start_deliveries()

    def cancel(self) -> bool:
        """Ask the run to end as cancelled; False if it has ended, or its outcome is being committed."""
        if self.is_finished or self.committing or self.task is None:
            return False
        if not self.cancel_requested:
            self.cancel_requested = True
            if self._cancellable:
                self.task.cancel()
        return True

    # for the engine

    def wants(self, hook: PlannedHook) -> bool:
        """Whether a hook is called for this run at all: as its scope and its sample say."""
        if hook.root_only and self.request.parent_run_id is not None:
            return False
        return hook.sample >= 1.0 or in_sample(self._sample_point, hook.sample)

    @cached_property
    def _sample_point(self) -> int:
        return sample_point(self.run_id)

    def emit(self, event: EventName, **data: Any) -> None:
        """Write an event; what bears content is held back while an output guardrail has not passed."""
        if event in CONTENT_EVENTS:
            if self._held is not None:
                self._held.append((event, data))
                return
            self._content_left = True
        self._write(event, data)

    def release_output(self) -> None:
        """Let out what was held back: the output guardrails have passed."""
        self.output_passed = True
        held, self._held = self._held, None
        for event, data in held or ():
            self.emit(event, **data)

    def begin(self) -> None:
        """The run's task has begun: from now on it can be cancelled.

        Raises:
            asyncio.CancelledError: it was cancelled before.
        """
        self._cancellable = True
        if self.cancel_requested:
            raise asyncio.CancelledError

    async def uninterrupted(self, operation: Coroutine[Any, Any, T]) -> T:
        """Await an operation of the storage to its end, and only then see to a cancellation.

        An operation whose caller is cancelled may be done all the same: nobody would know.
        """
        self._cancellable = False
        try:
            result = await operation
        finally:
            self._cancellable = True
        if self.cancel_requested:
            raise asyncio.CancelledError
        return result

    def encode(self) -> None:
        """Build the run's plain data and its JSON text, once.

        Raises:
            TypeError: the content or the metadata hold something that JSON has no form for.
            ValueError: likewise.
        """
        self._plain = self.output.to_dict()
        self.document = dumps(self._plain)

    def restore(self, record: RunRecord, session: Session | None) -> None:
        """Become a run that another server accepted and did not end."""
        self.run_id = self.run_context.run_id = self.output.run_id = record.run_id
        self.server_id = record.server_id
        self.output.created_at = record.created_at
        if session is not None:
            self.session = session
            self.run_context.session_state = session.session_state
            self.stored_state = self.state_text = dumps(session.session_state)
        self.output.messages = [Message("user", record.input)]
        self.metadata_text = record.metadata
        self.output.metadata = loads(record.metadata)
        self.mark_accepted()
        self.accepted_input = record.input

    def mark_accepted(self) -> None:
        """Commit 1 is done."""
        self.accepted_input = self.run_input.input_content
        self.is_accepted = True
        self._decided.set()

    def end(self, terminal: EventName) -> None:
        """Write the terminal event and let the readers go."""
        data: dict[str, Any] = {"run": self._plain}
        if terminal is not EventName.RUN_COMPLETED and self._content_left:
            data["content_released"] = True
        self._write(terminal, data)
        self._close()

    def end_unstored(self, error: HooklineError) -> None:
        """Let the readers go without a terminal event: what it would say is stored nowhere."""
        self.error = error
        self._close()

    def _close(self) -> None:
        self._buffer.closed = True
        self._buffer.wake()
        self._decided.set()
        self._finished.set()
        if self._handed_over:
            self._start_deliveries()

    def _start_deliveries(self) -> None:
        if self.is_finished and self.on_hand_over is not None:
            self.on_hand_over(self.run_id)

    def _write(self, name: EventName, data: dict[str, Any]) -> None:
        if self._buffer.closed:
            return  # a tool or a model that was abandoned and still writes
        event = RunEvent(name, self.run_id, len(self._buffer.events) + 1, data)
        self._buffer.append(event)
        if self._observe is not None:
            self._observe(event)


def _copy(value: dict[str, Any] | None) -> dict[str, Any]:
    """A copy that shares nothing with what the caller gave; what JSON has no form for fails the run later on."""
    if not value:
        return {}
    try:
        copied: dict[str, Any] = loads(dumps(value))
    except (TypeError, ValueError, RecursionError):
        return dict(value)
    return copied


TERMINAL_OF = {
    "completed": EventName.RUN_COMPLETED,
    "rejected": EventName.RUN_REJECTED,
    "failed": EventName.RUN_FAILED,
    "cancelled": EventName.RUN_CANCELLED,
}
assert set(TERMINAL_OF.values()) == TERMINAL_EVENTS  # noqa: S101 - a typo here would lose a terminal event
