"""Examples for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

RUN_ID = "0d9c2c50-8a3d-4b62-9a5c-6f6f5f2a8d11"
SESSION_ID = "b1b5f1d6-4f0e-4a8e-9b55-0f6c8f1f7c02"
DELIVERY_ID = "5a8f3f0e-2d5b-4d0c-8c39-6f0a7b1c9d33"
NOW = "2026-11-21T10:00:00.000000Z"
SOON = "2026-11-21T10:00:01.250000Z"

RUN_BODY: Final[dict[str, Any]] = {
    "message": "roll a die",
    "session_id": "support-4711",
    "metadata": {"ticket": 4711},
    "stream": False,
}

SERVER_SENT_EVENT: Final[dict[str, Any]] = {
    "id": "2",
    "event": "RunContent",
    "data": f'{{"event":"RunContent","run_id":"{RUN_ID}","sequence":2,"content":"You rolled"}}',
}

DISCARD: Final[dict[str, Any]] = {"reason": "the customer has left"}

RUN: Final[dict[str, Any]] = {
    "run_id": RUN_ID,
    "session_id": SESSION_ID,
    "user_id": None,
    "agent_id": "demo",
    "status": "completed",
    "reason": None,
    "content": "You rolled a 4.",
    "messages": [
        {"role": "user", "content": "roll a die", "tool_calls": None, "tool_call_id": None},
        {"role": "assistant", "content": "You rolled a 4.", "tool_calls": None, "tool_call_id": None},
    ],
    "metrics": {
        "input_tokens": 12,
        "output_tokens": 6,
        "total_tokens": 18,
        "duration": 1.25,
        "time_to_first_token": 0.31,
    },
    "error": None,
    "metadata": {},
    "created_at": NOW,
    "finished_at": SOON,
}

ACCEPTED_RUN: Final[dict[str, Any]] = {"run_id": RUN_ID, "session_id": SESSION_ID, "status": "running"}

HOOK_CALL: Final[dict[str, Any]] = {
    "kind": "delivery",
    "hook": "send_notification",
    "phase": "post",
    "plugin": None,
    "status": "delivered",
    "started_at": NOW,
    "duration": 0.2,
    "error": None,
    "guardrail_mode": None,
    "check_trigger": None,
    "delivery_id": DELIVERY_ID,
    "replay_id": None,
    "attempts": [{"number": 1, "started_at": NOW, "duration": 0.2, "outcome": "delivered", "error": None}],
}

SESSION: Final[dict[str, Any]] = {
    "session_id": SESSION_ID,
    "user_id": None,
    "session_state": {"rolls": 1},
    "created_at": NOW,
    "updated_at": SOON,
}

DELIVERY: Final[dict[str, Any]] = {
    "delivery_id": DELIVERY_ID,
    "run_id": RUN_ID,
    "runnable": "demo",
    "phase": "post",
    "hook": "send_notification",
    "position": 1,
    "status": "dead",
    "attempt_count": 4,
    "max_attempts": 4,
    "due_at": None,
    "last_error": "the mail server refused the connection",
    "replay_id": None,
}

REDRIVE_MANY: Final[dict[str, Any]] = {"hook": "send_notification", "created_after": NOW, "dry_run": True}

DISCARD_MANY: Final[dict[str, Any]] = {"hook": "send_notification", "reason": "sent by hand", "limit": 100}

CHANGED: Final[dict[str, Any]] = {"matched": 12, "changed": 0, "dry_run": True}

_HOUR: Final[dict[str, Any]] = {
    "count": 120,
    "delivered": 118,
    "dead": 2,
    "discarded": 0,
    "failed": 9,
    "wait": {"p50": 0.002, "p95": 0.011},
    "duration": {"p50": 0.18, "p95": 0.42},
}

HOOK_STATS: Final[dict[str, Any]] = {
    "runnable": "demo",
    "phase": "post",
    "hook": "send_notification",
    "last_hour": _HOUR,
    "last_day": _HOUR,
}

REPLAY_BODY: Final[dict[str, Any]] = {"hook": "send_notification", "since": NOW, "max_per_second": 10}

REPLAY: Final[dict[str, Any]] = {
    "replay_id": "c2f0b6a1-0d53-4f3b-8b80-2f8f1f6f9a10",
    "hook": "send_notification",
    "phase": "post",
    "runnables": ["demo"],
    "statuses": ["completed"],
    "since": NOW,
    "until": SOON,
    "max_per_second": 10.0,
    "status": "running",
    "matched": 1200,
    "made": 400,
    "delivered": 390,
    "dead": 1,
    "discarded": 0,
    "parked": 0,
    "created_at": SOON,
    "finished_at": None,
}

AGENT: Final[dict[str, Any]] = {
    "id": "demo",
    "name": "Demo",
    "model": "demo",
    "tools": ["roll_die"],
    "hooks": ["check_input", "send_notification"],
}

PLUGIN: Final[dict[str, Any]] = {
    "name": "sql",
    "module": "hookline_sql",
    "distribution": "hookline",
    "version": "0.1.0",
    "state": "active",
    "reason": None,
    "hooks": ["storages"],
}

PLANNED_HOOK: Final[dict[str, Any]] = {
    "runnable": "demo",
    "phase": "post",
    "position": 0,
    "hook": "send_notification",
    "source": "runnable",
    "mode": "background",
    "guardrail": False,
    "guardrail_mode": None,
    "timeout": 60.0,
    "retries": 3,
    "backoff": 1.0,
    "max_age": None,
    "concurrency": None,
    "circuit_threshold": 20,
    "circuit_cooldown": 60.0,
    "sample": 1.0,
    "on": ["completed"],
    "from_settings": [],
    "state": {"circuit": "closed", "failures": 0, "open_until": None, "running": 0, "waits_for_threads": False},
}

PROBLEM: Final[dict[str, Any]] = {
    "type": "/problems/invalid-request",
    "title": "The request is not valid",
    "status": 422,
    "detail": "message: is required",
    "errors": [{"field": "message", "message": "is required"}],
}

NOT_READY: Final[dict[str, Any]] = {
    "type": "/problems/not-ready",
    "title": "The server is not ready",
    "status": 503,
    "detail": "the database cannot be written",
    "errors": [],
    "reasons": ["the database cannot be written"],
}

REJECTED_BY: Final[dict[str, Any]] = {"run_id": RUN_ID, "check_trigger": "prompt_injection", "hook": "check_input"}

REJECTION: Final[dict[str, Any]] = {
    "type": "/problems/run-rejected",
    "title": "A check rejected the run",
    "status": 422,
    "detail": "the hook 'check_input' rejected the run",
    "errors": [],
    **REJECTED_BY,
}
