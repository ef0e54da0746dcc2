"""The base app: somebody's own FastAPI or Starlette app, which this API is added to.

The API stays an app of its own in there, with its own errors; only its routes are asked first. Everything else about
the base app stays as it is: its middleware is around both, its handlers of exceptions never see the API's.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Lifespan, Receive, Scope, Send

from hookline import AgentOS, ConfigurationError
from hookline_fastapi.merging import merged

PARAMETER = re.compile(r"{[^}]*}")

NOBODYS = "-nobodys-"
"""A word that no route names."""


def extend(base: object, agent_os: AgentOS, api: FastAPI, *, own_pages: Sequence[str]) -> Starlette:
    """Add the API to a base app: its routes, its lifespan inside the app's own, and its part of the document.

    A route of the base app that takes the same requests stops the start. One that takes everything, such as static
    files at `/`, is asked after the API; any other one before it.

    Args:
        base: the app; a Starlette app, such as FastAPI's.
        agent_os: what the API serves.
        api: the app of the API.
        own_pages: paths that are left out where the base app has them itself, or is FastAPI's with a document.

    Raises:
        ConfigurationError: it is no such app, or it has a path of the API.
    """
    if not isinstance(base, Starlette):
        raise ConfigurationError(f"AgentOS: base_app={base!r} is no FastAPI or Starlette app")
    left_out = own_pages if isinstance(base, FastAPI) else [path for path in own_pages if _takes_some(base, path)]
    routes = ApiRoutes(api, [route for route in api.routes if isinstance(route, Route) and route.path not in left_out])
    routes.add_to(base)
    base.state.agent_os = agent_os
    base.router.lifespan_context = _around(base.router.lifespan_context, agent_os, routes)
    if isinstance(base, FastAPI):
        base.openapi = merged(base.openapi, api.openapi)  # type: ignore[method-assign]  # FastAPI's documented way
    return base


class ApiRoutes(BaseRoute):
    """All routes of the API as one route of another app.

    Args:
        api: the app of the API, which answers.
        routes: those of its routes that the other app is to have.
    """

    def __init__(self, api: FastAPI, routes: Sequence[Route]) -> None:
        self.api = api
        self.routes = routes

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """How well the best of the routes fits a request."""
        best: tuple[Match, Scope] = Match.NONE, {}
        for route in self.routes:
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                return match, child_scope
            if best[0] is Match.NONE:
                best = match, child_scope
        return best

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the API answer; what it notes in the scope stays its own."""
        await self.api(dict(scope), receive, send)

    def add_to(self, base: Starlette) -> None:
        """Take the right place among an app's routes, a second time too: before the first that takes everything.

        Raises:
            ConfigurationError: a route of the app takes the requests of one of these.
        """
        others = [route for route in base.router.routes if route is not self]
        places = [place for place, other in enumerate(others) if self._must_precede(other)]
        others.insert(min(places, default=len(others)), self)
        base.router.routes[:] = others

    def _must_precede(self, other: BaseRoute) -> bool:
        taken = [route for route in self.routes if _takes(other, route.path, route.methods or ())]
        for route in taken:
            if not _takes(other, re.sub(r"[^/]+", NOBODYS, route.path), route.methods or ()):
                raise ConfigurationError(
                    f"base_app has {_described(other)}, and the API needs {route.path} itself: give yours another "
                    f'path, or mount the API under one of its own: app.mount("/ai", agent_os.get_app()), no base_app'
                )
        return bool(taken)


def _takes(route: BaseRoute, path: str, methods: Iterable[str]) -> bool:
    """Whether a route answers requests for a path, whatever its parameters are."""
    path = PARAMETER.sub(NOBODYS, path)
    scopes = (
        {"type": "http", "method": method, "path": path, "root_path": "", "headers": [], "query_string": b""}
        for method in methods
    )
    return any(route.matches(scope)[0] is Match.FULL for scope in scopes)


def _takes_some(base: Starlette, path: str) -> bool:
    return any(_takes(route, path, {"GET"}) for route in base.routes)


def _described(route: BaseRoute) -> str:
    if isinstance(route, ApiRoutes):
        return "the API of another AgentOS"
    kind = "the route" if isinstance(route, Route) else "routes under"
    return f"{kind} {getattr(route, 'path', None) or repr(route)}"


def _around(own: Lifespan[Any], agent_os: AgentOS, routes: ApiRoutes) -> Any:
    """The app's own lifespan with that of the AgentOS inside: what is opened there is there for every hook."""

    @asynccontextmanager
    async def both(app: Starlette) -> AsyncIterator[Mapping[str, Any] | None]:
        routes.add_to(app)  # it may have got routes since
        async with own(app) as state, agent_os.lifespan(app):
            yield state

    return both
