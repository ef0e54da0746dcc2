"""Definitions: agents, their hooks, the plugins, and whether the server is well."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from hookline import Agent, AgentOS
from hookline.deliveries import HookKey
from hookline.jsontext import dumps
from hookline_fastapi.access import is_admin
from hookline_fastapi.problems import NOT_READY, Problem, not_found
from hookline_fastapi.queries import PageQuery, slice_of
from hookline_fastapi.responses import JsonText


class Definitions:
    """Endpoints that tell what is served; they need no database."""

    def __init__(self, agent_os: AgentOS) -> None:
        self._agent_os = agent_os

    async def list_agents(self, query: Annotated[PageQuery, Query()]) -> Response:
        """All agents, in the order of their definition."""
        return JsonText(slice_of([self._describe(agent) for agent in self._agents()], query))

    async def get_agent(self, agent_id: str) -> Response:
        """One agent."""
        agent = self._served.runnables.get(("agent", agent_id))
        if not isinstance(agent, Agent):
            raise not_found("agent", agent_id)
        return JsonText(dumps(self._describe(agent)))

    async def list_plugins(self, query: Annotated[PageQuery, Query()]) -> Response:
        """All plugins that were found, and what became of them."""
        return JsonText(slice_of([plugin.to_dict() for plugin in self._served.registry.plugins], query))

    async def list_hooks(self, query: Annotated[PageQuery, Query()]) -> Response:
        """The plans of hooks of all runnables, each in its order, and how those in the background fare."""
        states = {state.key: state.to_dict() for state in self._agent_os.hook_states}
        plans = [
            {**hook.to_dict(runnable.id), "state": states.get(HookKey(runnable.id, hook.phase, hook.name))}
            for runnable in self._served.runnables.values()
            for hook in self._agent_os.plan_of(runnable).items
        ]
        return JsonText(slice_of(plans, query))

    @property
    def _served(self) -> AgentOS:
        _ = self._agent_os.storage  # raises unless the lifespan runs
        return self._agent_os

    def _agents(self) -> list[Agent]:
        return [runnable for runnable in self._served.runnables.values() if isinstance(runnable, Agent)]

    def _describe(self, agent: Agent) -> dict[str, Any]:
        return {
            "id": agent.id,
            "name": agent.name,
            "model": next((model.id for model in agent.models), None),
            "tools": [tool.name for tool in agent.tools],
            "hooks": [hook.name for hook in self._agent_os.plan_of(agent).items],
        }


class Wellbeing:
    """Endpoints for who watches the server."""

    def __init__(self, agent_os: AgentOS) -> None:
        self._agent_os = agent_os

    async def get_health(self) -> Response:
        """Whether the process answers."""
        return JsonText('{"status":"ok"}')

    async def get_readiness(self, request: Request) -> Response:
        """Whether the server takes runs; why not, and how it fares, is told to admins."""
        reasons = await self._agent_os.readiness()
        if reasons and not is_admin(request.scope):
            raise Problem(NOT_READY, "the server takes no runs now", reasons=[])
        if reasons:
            raise Problem(NOT_READY, "; ".join(reasons), reasons=reasons)
        if is_admin(request.scope):
            return JsonText(dumps({"status": "ready", "details": self._agent_os.details()}))
        return JsonText('{"status":"ready"}')
