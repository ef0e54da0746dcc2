"""What is known of a plugin: its origin, its state and its hooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class PluginState(StrEnum):
    """What became of a plugin.

    `active`: it is used. `blocked`: somebody said not to load it. `unavailable`: a library is missing. `failed`:
    its own code raised. `refused`: it is not what a plugin must be.
    """

    ACTIVE = "active"
    BLOCKED = "blocked"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(slots=True)
class PluginInfo:
    """A plugin, as listings show it; `reason` says why it is not active, `hooks` are the points it implements."""

    name: str
    module: str
    distribution: str | None = None
    version: str | None = None
    state: PluginState = PluginState.ACTIVE
    reason: str | None = None
    hooks: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The plain data of this plugin, as the HTTP API and the command line list it."""
        return {
            "name": self.name,
            "module": self.module,
            "distribution": self.distribution,
            "version": self.version,
            "state": self.state.value,
            "reason": self.reason,
            "hooks": list(self.hooks),
        }
