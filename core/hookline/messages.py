"""Messages: what a model reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(slots=True)
class ToolCall:
    """A model's wish to call a tool; `arguments` is the JSON text that the model wrote."""

    id: str
    name: str
    arguments: str = "{}"

    def to_dict(self) -> dict[str, Any]:
        """The plain data of this call."""
        return {"id": self.id, "name": self.name, "arguments": self.arguments}


@dataclass(slots=True)
class Message:
    """One message of a conversation.

    `tool_calls` is set on an assistant's message that calls tools, `tool_call_id` on the answer to one.
    """

    role: Role
    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plain data of this message, as the HTTP API shows it."""
        calls = self.tool_calls
        return {
            "role": self.role,
            "content": self.content,
            "tool_calls": [call.to_dict() for call in calls] if calls else None,
            "tool_call_id": self.tool_call_id,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Message:
        """The message that `to_dict` described."""
        calls = data.get("tool_calls")
        return cls(
            role=data["role"],
            content=data.get("content"),
            tool_calls=[ToolCall(**call) for call in calls] if calls else None,
            tool_call_id=data.get("tool_call_id"),
        )
