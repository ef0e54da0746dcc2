"""Sessions: conversations, each an ordered list of runs and a state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hookline.jsontext import time_text


@dataclass(slots=True)
class Session:
    """A conversation; `created_at` and `updated_at` are seconds since the epoch (RFC 3339 in `to_dict`)."""

    session_id: str
    user_id: str | None = None
    session_state: dict[str, Any] = field(default_factory=dict)
    created_at: float = 0.0
    updated_at: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The plain data of this session, as the HTTP API shows it."""
        return {
            "session_id": self.session_id,
            "user_id": self.user_id,
            "session_state": self.session_state,
            "created_at": time_text(self.created_at),
            "updated_at": time_text(self.updated_at),
        }
