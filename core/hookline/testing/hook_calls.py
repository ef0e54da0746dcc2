"""What hooks did in a run, as the ledger tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from hookline.jsontext import loads, time_text
from hookline.runs import RunError
from hookline.storage import DeliveryRecord, Storage


@dataclass(frozen=True, slots=True)
class HookCall:
    """One call of a hook: inline, or one attempt of a delivery.

    Attributes:
        hook: the hook's name.
        phase: `pre` or `post`.
        kind: `inline` or `delivery`.
        outcome: inline `completed`, `failed` or `rejected`; of an attempt `delivered`, `failed`, `timeout`, `parked` or
            `interrupted`.
        run_id: the run that it belongs to.
        attempt: the number of the attempt, from 1; inline always 1.
        error: what it raised: the exception's class name and its message.
        plugin: the plugin whose hook it is, None for a user's own.
        delivery_id: the delivery's, None for an inline call.
        started_at: seconds since the epoch, by the clock of the AgentOS.
        duration: seconds, by the machine's clock.
    """

    hook: str
    phase: str
    kind: Literal["inline", "delivery"]
    outcome: str
    run_id: str
    attempt: int
    error: RunError | None
    plugin: str | None
    delivery_id: str | None
    started_at: float
    duration: float


async def calls_of_run(storage: Storage, run_id: str) -> list[HookCall]:
    """All calls of hooks for one run, in the order of their starts; none for a run that is not stored.

    Raises:
        StorageError: the ledger cannot be read.
    """
    run = await storage.get_run(run_id)
    if run is None:
        return []
    calls = [_inline_call(run_id, call) for call in loads(run.hook_calls)]
    for record in await storage.run_deliveries(run_id):
        calls += _attempts(record)
    # As texts, because the ledger has some as such: those of one instant of a clock that stands still keep their order.
    return sorted(calls, key=lambda call: time_text(call.started_at))


def _inline_call(run_id: str, call: dict[str, Any]) -> HookCall:
    return HookCall(
        hook=call["hook"],
        phase=call["phase"],
        kind="inline",
        outcome=call["status"],
        run_id=run_id,
        attempt=1,
        error=_error(call["error"]),
        plugin=call["plugin"],
        delivery_id=None,
        started_at=datetime.fromisoformat(call["started_at"]).timestamp(),
        duration=call["duration"],
    )


def _attempts(record: DeliveryRecord) -> list[HookCall]:
    delivery = record.delivery
    return [
        HookCall(
            hook=delivery.hook,
            phase=delivery.phase,
            kind="delivery",
            outcome=attempt.outcome,
            run_id=delivery.run_id,
            attempt=attempt.number,
            error=_error(loads(attempt.error) if attempt.error else None),
            plugin=record.plugin,
            delivery_id=delivery.delivery_id,
            started_at=attempt.started_at,
            duration=attempt.duration,
        )
        for attempt in record.attempts
    ]


def _error(error: dict[str, str] | None) -> RunError | None:
    return None if error is None else RunError(error["type"], error["message"])
