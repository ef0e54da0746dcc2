"""hookline: serve LLM agents over HTTP, with durable hooks around every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hookline.agent import Agent
from hookline.agent_os import AgentOS
from hookline.clock import Clock
from hookline.deliveries import Delivery, DeliveryStatus
from hookline.errors import (
    AuthenticationError,
    CheckError,
    ConfigurationError,
    GiveUp,
    HookError,
    HooklineError,
    HookTimeoutError,
    InputCheckError,
    ModelError,
    OutputCheckError,
    PluginError,
    RetryAfter,
    RunLostError,
    RunningLoopError,
    RunNotCompletedError,
    ServerBusyError,
    SessionBusyError,
    SessionNotFoundError,
    StorageError,
)
from hookline.events import EventName, RunEvent
from hookline.execution.live_run import LiveRun, Rejection
from hookline.hooks import Guardrail, guardrail, hook
from hookline.hookspecs import hookimpl, hookspec
from hookline.messages import Message, ToolCall
from hookline.models import Model, ModelRequest, ModelResponse, ToolDefinition, Usage
from hookline.plan import Plan, PlannedHook
from hookline.principals import Principal
from hookline.runnable import Runnable, RunScope
from hookline.runs import Metrics, RunContext, RunError, RunInput, RunOutput, RunStatus
from hookline.scheduling import Refuse, Schedule
from hookline.sessions import Session
from hookline.storage import Database, Storage
from hookline.tools import Tool, ToolArgumentsError, ToolResultError, tool
from hookline.transport import Transport

if TYPE_CHECKING:
    from hookline.settings import Settings, plugin_settings

__all__ = [
    "Agent",
    "AgentOS",
    "AuthenticationError",
    "CheckError",
    "Clock",
    "ConfigurationError",
    "Database",
    "Delivery",
    "DeliveryStatus",
    "EventName",
    "GiveUp",
    "Guardrail",
    "HookError",
    "HookTimeoutError",
    "HooklineError",
    "InputCheckError",
    "LiveRun",
    "Message",
    "Metrics",
    "Model",
    "ModelError",
    "ModelRequest",
    "ModelResponse",
    "OutputCheckError",
    "Plan",
    "PlannedHook",
    "PluginError",
    "Principal",
    "Refuse",
    "Rejection",
    "RetryAfter",
    "RunContext",
    "RunError",
    "RunEvent",
    "RunInput",
    "RunLostError",
    "RunNotCompletedError",
    "RunOutput",
    "RunScope",
    "RunStatus",
    "Runnable",
    "RunningLoopError",
    "Schedule",
    "ServerBusyError",
    "Session",
    "SessionBusyError",
    "SessionNotFoundError",
    "Settings",
    "Storage",
    "StorageError",
    "Tool",
    "ToolArgumentsError",
    "ToolCall",
    "ToolDefinition",
    "ToolResultError",
    "Transport",
    "Usage",
    "guardrail",
    "hook",
    "hookimpl",
    "hookspec",
    "plugin_settings",
    "tool",
]

_LAZY = frozenset({"Settings", "plugin_settings"})


def __getattr__(name: str) -> Any:
    """Import what needs pydantic-settings at its first use: it costs more than all the rest."""
    if name in _LAZY:
        from hookline import settings

        return getattr(settings, name)
    raise AttributeError(f"module 'hookline' has no attribute {name!r}")


def __dir__() -> list[str]:
    """All names, those too that are imported at their first use."""
    return sorted({*globals(), *__all__})
