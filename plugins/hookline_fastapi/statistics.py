"""`/hooks/stats`: what became of each hook's deliveries lately."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from hookline import AgentOS
from hookline.deliveries import HookKey
from hookline.jsontext import dumps
from hookline.storage import HookStats
from hookline_fastapi.queries import listing
from hookline_fastapi.responses import JsonText

SPANS = {"last_hour": 3600.0, "last_day": 86_400.0}
"""How far back each of them looks, in seconds."""


class Statistics:
    """Counters by hook and outcome, from the ledger: the same whichever server is asked."""

    def __init__(self, agent_os: AgentOS) -> None:
        self._agent_os = agent_os

    async def list_hook_stats(self) -> Response:
        """How many deliveries of each hook ended in the last hour and day, how, and how long they waited and took."""
        now = self._agent_os.clock.time()
        found: dict[HookKey, dict[str, Any]] = {}
        for name, seconds in SPANS.items():
            for stats in await self._agent_os.storage.hook_stats(now - seconds):
                found.setdefault(stats.key, {})[name] = _to_dict(stats)
        nothing = dict.fromkeys(SPANS, _to_dict(HookStats(HookKey("", "", ""), 0, 0, 0, 0, 0, None, None, None, None)))
        return JsonText(listing([dumps({**key._asdict(), **nothing, **spans}) for key, spans in sorted(found.items())]))


def _to_dict(stats: HookStats) -> dict[str, Any]:
    return {
        "count": stats.count,
        "delivered": stats.delivered,
        "dead": stats.dead,
        "discarded": stats.discarded,
        "failed": stats.failed,
        "wait": {"p50": stats.wait_p50, "p95": stats.wait_p95},
        "duration": {"p50": stats.duration_p50, "p95": stats.duration_p95},
    }
