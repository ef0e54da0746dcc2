"""Variables of the environment: what the names of hookline's begin with, and the one that is no setting."""

from __future__ import annotations

ENVIRONMENT_PREFIX = "HOOKLINE_"

APP_VARIABLE = "HOOKLINE_APP"
"""Where commands find the AgentOS: `module:agent_os`."""
