"""Limits: what the settings allow an open AgentOS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hookline.retention import Retention

if TYPE_CHECKING:
    from hookline.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """How much at once, and for how long; the fields are those of `hookline.Settings`."""

    hook_threads: int = 40
    tool_threads: int = 40
    delivery_threads: int = 64
    delivery_concurrency: int = 64
    max_concurrent_runs: int = 1000
    max_waiting_deliveries: int = 100_000
    max_abandoned_threads: int = 64
    max_interruptions: int = 3
    retention: Retention = field(default_factory=Retention)
    store_rejected_input: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Limits:
        """The limits as the settings want them."""
        return cls(
            hook_threads=settings.hook_threads,
            tool_threads=settings.tool_threads,
            delivery_threads=settings.delivery_threads,
            delivery_concurrency=settings.delivery_concurrency,
            max_concurrent_runs=settings.max_concurrent_runs,
            max_waiting_deliveries=settings.max_waiting_deliveries,
            max_abandoned_threads=settings.max_abandoned_threads,
            max_interruptions=settings.max_interruptions,
            retention=settings.retention,
            store_rejected_input=settings.store_rejected_input,
        )
