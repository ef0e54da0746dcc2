"""Routes: FastAPI's, with this API's errors, its strictness about queries, and its gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hookline import ConfigurationError
from hookline_fastapi.access import Access, Gate
from hookline_fastapi.problems import (
    METHOD_NOT_ALLOWED,
    REPORTED,
    TOO_MANY_HEADERS,
    FieldError,
    Problem,
    invalid,
    problem_of,
    refused,
)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

MAX_HEADERS = 200
"""Header lines that a request may have: browsers and proxies together send a tenth of that."""


class HooklineRoute(APIRoute):
    """A route of this API, the same in an app of ours and in somebody else's.

    Args:
        path: as FastAPI has it, with `{parameters}`.
        endpoint: what answers; its name is the operation's id, its docstring the description.
        gate: says who is asking.
        access: who may.
        options: FastAPI's.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], *, gate: Gate, access: Access, **options: Any) -> None:
        self.gate = gate
        self.access = access
        super().__init__(path, endpoint, operation_id=endpoint.__name__, **options)

    def get_route_handler(self) -> Handler:
        """FastAPI's handler, with our errors around it."""
        handler = super().get_route_handler()
        takes_query = bool(self.dependant.query_params)

        async def handle(request: Request) -> Response:
            try:
                _check_query(request, takes_query)
                return await handler(request)
            except REPORTED as error:
                return problem_of(error).response()
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it

        return handle

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose path is this route's."""
        try:
            if len(scope["headers"]) > MAX_HEADERS:
                raise refused(TOO_MANY_HEADERS, "headers", f"there may be at most {MAX_HEADERS}")
            await self.gate.admit(scope, self.access)
            if self.methods and scope["method"] not in self.methods:
                raise _wrong_method(self._methods_of_path(scope))
        except (Problem, ConfigurationError) as error:
            await problem_of(error).response()(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _methods_of_path(self, scope: Scope) -> set[str]:
        """The methods of all routes with this path: each of them is one route."""
        siblings = (route for route in scope["app"].routes if isinstance(route, HooklineRoute))
        return {method for route in (self, *siblings) if route.path == self.path for method in route.methods or ()}


class BareRoute(HooklineRoute):
    """A route that FastAPI documents and matches, but whose endpoint is a plain ASGI app.

    `endpoint` is only what the OpenAPI document is made of; `serve_with` sets what answers.
    """

    def serve_with(self, app: ASGIApp) -> None:
        """Let `app` answer this route's requests."""
        self.app = app


def _wrong_method(methods: set[str]) -> Problem:
    allowed = ", ".join(sorted(methods))
    return refused(METHOD_NOT_ALLOWED, "method", f"use {allowed} here", headers={"allow": allowed})


def _check_query(request: Request, takes_query: bool) -> None:
    if not request.scope["query_string"]:
        return
    counts = Counter(name for name, _ in request.query_params.multi_items())
    if not takes_query:
        raise invalid([FieldError(name, "unknown query parameter; there is none here") for name in counts])
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise invalid([FieldError(name, "is given more than once") for name in repeated])


async def handle_error(_request: Request, error: Exception) -> Response:
    """The app-wide handler: the router's own errors, and what nobody caught."""
    return problem_of(error).response()
