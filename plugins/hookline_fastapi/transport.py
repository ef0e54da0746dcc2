"""The transport `fastapi`; its libraries are imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hookline import AgentOS

if TYPE_CHECKING:
    from starlette.applications import Starlette


class FastAPITransport:
    """Serves an AgentOS over HTTP with FastAPI and uvicorn."""

    def create_app(self, agent_os: AgentOS) -> Starlette:
        """Make the app; see `hookline_fastapi.create_app`."""
        from hookline_fastapi.app import create_app

        return create_app(agent_os)

    def serve(
        self, agent_os: AgentOS, app: Any | str, *, host: str, port: int, reload: bool, root_path: str = ""
    ) -> None:
        """Serve until a signal ends the server; see `hookline_fastapi.server.serve`."""
        from hookline_fastapi.server import serve

        serve(agent_os, app, host=host, port=port, reload=reload, root_path=root_path)
