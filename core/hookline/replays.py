"""Replays: a background hook is run over runs that are already stored, as new deliveries."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

from hookline.deliveries import DeliveryStatus, Phase
from hookline.errors import HooklineError
from hookline.jsontext import optional_time_text, time_text
from hookline.plan import Plan, PlannedHook
from hookline.plugins.checking import meant
from hookline.runs import FINISHED_STATUSES, RunStatus
from hookline.storage import DeliveryFilter, ReplayRecord, Storage

PHASES = ("pre", "post")

AFTER_ACCEPTANCE = (RunStatus.COMPLETED.value, RunStatus.FAILED.value, RunStatus.CANCELLED.value)
"""The runs that a pre-hook is replayed over, unless said otherwise."""


class ReplayError(HooklineError):
    """A replay cannot be made as it was asked for; `field` names what is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def plan_replay(
    plans: Mapping[tuple[str, str], Plan],
    hook: str,
    *,
    now: float,
    phase: str = "post",
    runnables: Sequence[str] = (),
    statuses: Sequence[str] = (),
    since: float | None = None,
    until: float | None = None,
    max_per_second: float | None = None,
) -> ReplayRecord:
    """A replay that is ready to be stored.

    Args:
        plans: the hooks of all runnables, by kind and id.
        hook: the hook's name, as `hookline hooks` lists it; it must be one that runs in the background.
        now: the instant of the request.
        phase: `pre` or `post`.
        runnables: the ids of those whose runs are meant; default: all that have this hook.
        statuses: the runs' statuses; default: those after which the hook is called anyway.
        since: an instant: only runs that finished then or later.
        until: an instant: only runs that finished before it; default: now, so that the replay has an end.
        max_per_second: how many deliveries may be made in a second.

    Raises:
        ReplayError: something of it has no meaning; it names the field and the mend.
    """
    if phase not in PHASES:
        raise ReplayError("phase", f"phase {phase!r} must be pre or post")
    known = {runnable for _, runnable in plans}
    for runnable in runnables:
        if runnable not in known:
            raise ReplayError("runnable", f"there is no agent {runnable!r}{meant(runnable, known)}")
    found = {
        runnable: planned
        for (_, runnable), plan in plans.items()
        if (not runnables or runnable in runnables) and (planned := plan.find(phase, hook)) is not None
    }
    if not found:
        raise ReplayError("hook", _no_hook(plans, hook, phase, runnables))
    for runnable, planned in found.items():
        _check_background(planned, runnable)
    until = now if until is None else until
    _check_instants(since=since, until=until)
    if since is not None and since >= until:
        raise ReplayError("since", f"since {time_text(since)} is not before {time_text(until)}")
    if max_per_second is not None and not (math.isfinite(max_per_second) and max_per_second > 0):
        raise ReplayError("max_per_second", f"max_per_second {max_per_second!r} must be more than 0")
    first = next(iter(found.values()))
    return ReplayRecord(
        replay_id=str(uuid.uuid4()),
        phase=cast("Phase", phase),
        hook=hook,
        runnables=sorted(found),
        statuses=_statuses(statuses, list(found.values())),
        max_attempts=first.policy.retries + 1,
        created_at=now,
        plugin=first.plugin,
        since=since,
        until=until,
        root_only=all(planned.root_only for planned in found.values()),
        max_per_second=max_per_second,
    )


def _check_instants(**instants: float | None) -> None:
    for field, instant in instants.items():
        try:
            optional_time_text(instant)
        except (ValueError, OverflowError, OSError):
            raise ReplayError(field, f"{field} is no instant in the years 1 to 9999") from None


def _no_hook(plans: Mapping[tuple[str, str], Plan], hook: str, phase: str, runnables: Sequence[str]) -> str:
    """Why a hook was not found: it is of the other phase, or nothing has that name.

    Raises:
        ReplayError: it is of the other phase, and could not be replayed there either.
    """
    hooks = [
        (item, runnable)
        for (_, runnable), plan in plans.items()
        for item in plan.items
        if not runnables or runnable in runnables
    ]
    where = f" of {', '.join(runnables)}" if runnables else ""
    what = f"there is no {phase}-hook {hook!r}{where}"
    for item, runnable in hooks:
        if item.name == hook:
            _check_background(item, runnable)
            return f"{what}, but a {item.phase}-hook: say phase={item.phase} (--phase {item.phase})"
    names = {item.name for item, _ in hooks if item.phase == phase and item.background}
    there = f": there is {', '.join(sorted(names))}" if names else f": no {phase}-hook runs in the background"
    return f"{what}{meant(hook, names) or there}"


def _check_background(hook: PlannedHook, runnable: str) -> None:
    if hook.guardrail:
        raise ReplayError("hook", f"{hook.name!r} is a guardrail of {runnable!r}: it judges runs only while they run")
    if not hook.background:
        raise ReplayError(
            "hook",
            f"{hook.name!r} is called inline by {runnable!r}; only background hooks can be replayed: "
            f"mark it @hook(run_in_background=True)",
        )


def _statuses(wanted: Sequence[str], hooks: Sequence[PlannedHook]) -> list[str]:
    for status in wanted:
        if status not in FINISHED_STATUSES:
            known = ", ".join(sorted(FINISHED_STATUSES))
            raise ReplayError("status", f"status {status!r} is none of {known}")
    if wanted:
        return sorted({str(status) for status in wanted})
    if hooks[0].phase == "pre":
        return sorted(AFTER_ACCEPTANCE)
    return sorted({status for hook in hooks for status in hook.on if status in FINISHED_STATUSES})


async def replay_document(storage: Storage, replay: ReplayRecord) -> dict[str, Any]:
    """The plain data of a replay with what became of its deliveries, as the HTTP API and the command line show it."""
    counts = {
        status.value: await storage.count_deliveries(
            DeliveryFilter(status=status.value, replay_id=replay.replay_id), replay.made
        )
        for status in (DeliveryStatus.DELIVERED, DeliveryStatus.DEAD, DeliveryStatus.DISCARDED, DeliveryStatus.PARKED)
        if replay.made
    }
    return {
        "replay_id": replay.replay_id,
        "hook": replay.hook,
        "phase": replay.phase,
        "runnables": list(replay.runnables),
        "statuses": list(replay.statuses),
        "since": optional_time_text(replay.since),
        "until": optional_time_text(replay.until),
        "max_per_second": replay.max_per_second,
        "status": replay.status,
        "matched": replay.matched,
        "made": replay.made,
        "delivered": counts.get("delivered", 0),
        "dead": counts.get("dead", 0),
        "discarded": counts.get("discarded", 0),
        "parked": counts.get("parked", 0),
        "created_at": time_text(replay.created_at),
        "finished_at": optional_time_text(replay.finished_at),
    }
