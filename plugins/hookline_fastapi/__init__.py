"""The HTTP API: a bundled plugin that serves an AgentOS with FastAPI and uvicorn.

`create_app(agent_os)` makes the FastAPI app; the transport `fastapi` is what `AgentOS.get_app()` and
`AgentOS.serve()` use unless the setting `transport` names another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hookline import AgentOS, Transport, hookimpl
from hookline_fastapi.transport import FastAPITransport

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["FastAPITransport", "create_app", "transports"]


def create_app(agent_os: AgentOS) -> Starlette:
    """The app that serves `agent_os`, with its lifespan: its base app, or else a new FastAPI app.

    Raises:
        ConfigurationError: the AgentOS cannot be loaded, or its base app cannot take the API.
    """
    from hookline_fastapi.app import create_app as create

    return create(agent_os)


@hookimpl
def transports() -> Mapping[str, Transport]:
    """Offer the transport `fastapi`."""
    return {"fastapi": FastAPITransport()}
