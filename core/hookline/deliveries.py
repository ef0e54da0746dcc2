"""Deliveries: one background hook of one run, and what must still be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from hookline.jsontext import optional_time_text

Phase = Literal["pre", "post"]


class DeliveryStatus(StrEnum):
    """`waiting` for its turn, `pending` (it may start once it is due), `running`, `parked`; then an end."""

    WAITING = "waiting"
    PENDING = "pending"
    RUNNING = "running"
    PARKED = "parked"
    DELIVERED = "delivered"
    DEAD = "dead"
    DISCARDED = "discarded"


class HookKey(NamedTuple):
    """What finds a hook: its runnable's id, its phase and its name; as text, the key of its settings."""

    runnable: str
    phase: str
    hook: str

    def __str__(self) -> str:
        return "/".join(self)


FINAL_STATUSES = frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.DEAD, DeliveryStatus.DISCARDED})


@dataclass(slots=True)
class Delivery:
    """One background hook of one run.

    Attributes:
        delivery_id: a UUID.
        run_id: the run it belongs to.
        runnable: the id of the agent, team or workflow.
        phase: `pre` or `post`.
        hook: the hook's name.
        position: its place in the line of its run, from 0.
        status: see `DeliveryStatus`.
        attempt_count: attempts begun so far; interrupted ones are given back.
        max_attempts: after that many failed attempts it is dead.
        due_at: not before this instant (seconds since the epoch).
        last_error: the last failed attempt's message.
        replay_id: the replay that made it, None for one that was made with its run.
    """

    delivery_id: str
    run_id: str
    runnable: str
    phase: Phase
    hook: str
    position: int
    status: DeliveryStatus = DeliveryStatus.WAITING
    attempt_count: int = 0
    max_attempts: int = 4
    due_at: float | None = None
    last_error: str | None = None
    replay_id: str | None = None

    @property
    def key(self) -> HookKey:
        """What finds its hook."""
        return HookKey(self.runnable, self.phase, self.hook)

    @property
    def attempt(self) -> int:
        """The number of the present attempt, from 1."""
        return max(1, self.attempt_count)

    @property
    def idempotency_key(self) -> str:
        """The same at every attempt: give it to services that can tell a repetition by it."""
        return self.delivery_id

    def to_dict(self) -> dict[str, Any]:
        """The plain data of this delivery, as the HTTP API shows it."""
        return {
            "delivery_id": self.delivery_id,
            "run_id": self.run_id,
            "runnable": self.runnable,
            "phase": self.phase,
            "hook": self.hook,
            "position": self.position,
            "status": self.status.value,
            "attempt_count": self.attempt_count,
            "max_attempts": self.max_attempts,
            "due_at": optional_time_text(self.due_at),
            "last_error": self.last_error,
            "replay_id": self.replay_id,
        }
