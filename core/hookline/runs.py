"""Runs: what goes in, what goes along, what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from hookline.errors import RunNotCompletedError
from hookline.jsontext import optional_time_text
from hookline.messages import Message


class RunStatus(StrEnum):
    """What a run is: `running` at first, in the end exactly one of the others (`paused` may go on)."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINISHED_STATUSES = frozenset({RunStatus.COMPLETED, RunStatus.REJECTED, RunStatus.FAILED, RunStatus.CANCELLED})


@dataclass(slots=True)
class RunInput:
    """The input of a run; an inline pre-hook may change `input_content` before the run is accepted."""

    input_content: str


@dataclass(slots=True)
class RunContext:
    """What goes along with a run.

    `session_state` may be changed in place by inline hooks and tools; it is stored with the run's outcome.
    """

    run_id: str
    session_id: str
    user_id: str | None = None
    session_state: dict[str, Any] = field(default_factory=dict)
    dependencies: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Metrics:
    """What a run cost: tokens as the model counted them, times in seconds."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    duration: float | None = None
    time_to_first_token: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plain data of these metrics."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.total_tokens,
            "duration": self.duration,
            "time_to_first_token": self.time_to_first_token,
        }


@dataclass(slots=True)
class RunError:
    """Why a run failed: the exception's class name and its message."""

    type: str
    message: str

    def to_dict(self) -> dict[str, str]:
        """The plain data of this error."""
        return {"type": self.type, "message": self.message}


@dataclass(slots=True)
class RunOutput:
    """A run and its outcome, the same for every status.

    `content` is the model's text, or plain data where the agent has an `output_schema`;
    `created_at` and `finished_at` are seconds since the epoch (RFC 3339 in `to_dict`).
    """

    run_id: str
    session_id: str
    runnable_kind: str
    runnable_id: str
    user_id: str | None = None
    status: RunStatus = RunStatus.RUNNING
    reason: str | None = None
    content: Any = None
    messages: list[Message] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)
    error: RunError | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: float = 0.0
    finished_at: float | None = None

    @property
    def agent_id(self) -> str | None:
        """The agent's id, for an agent's run."""
        return self.runnable_id if self.runnable_kind == "agent" else None

    def raise_for_status(self) -> RunOutput:
        """Return this run if it is completed.

        Raises:
            RunNotCompletedError: it ended in any other way.
        """
        if self.status is not RunStatus.COMPLETED:
            raise RunNotCompletedError(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The plain data of this run, as the HTTP API shows it and the ledger keeps it."""
        return {
            "run_id": self.run_id,
            "session_id": self.session_id,
            "user_id": self.user_id,
            f"{self.runnable_kind}_id": self.runnable_id,
            "status": self.status.value,
            "reason": self.reason,
            "content": self.content,
            "messages": [message.to_dict() for message in self.messages],
            "metrics": self.metrics.to_dict(),
            "error": self.error.to_dict() if self.error else None,
            "metadata": self.metadata,
            "created_at": optional_time_text(self.created_at),
            "finished_at": optional_time_text(self.finished_at),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunOutput:
        """The run that `to_dict` described.

        Raises:
            ValueError: the data names no runnable.
        """
        kind = next((kind for kind in ("agent", "team", "workflow") if f"{kind}_id" in data), None)
        if kind is None:
            raise ValueError("a run's data has one of agent_id, team_id, workflow_id")
        return cls(
            run_id=data["run_id"],
            session_id=data["session_id"],
            runnable_kind=kind,
            runnable_id=data[f"{kind}_id"],
            user_id=data["user_id"],
            status=RunStatus(data["status"]),
            reason=data["reason"],
            content=data["content"],
            messages=[Message.from_dict(message) for message in data["messages"]],
            metrics=Metrics(**data["metrics"]),
            error=RunError(**data["error"]) if data["error"] else None,
            metadata=data["metadata"],
            created_at=_seconds(data["created_at"]) or 0.0,
            finished_at=_seconds(data["finished_at"]),
        )


def _seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
