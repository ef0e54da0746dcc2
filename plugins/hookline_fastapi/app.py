"""The FastAPI app: all routes, one line each."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from hookline import AgentOS, ConfigurationError, HooklineError
from hookline_fastapi import body_schemas, delivery_schemas, openapi, problem_schemas, run_schemas, server_schemas
from hookline_fastapi.access import Access, Gate
from hookline_fastapi.base_app import extend
from hookline_fastapi.definitions import Definitions, Wellbeing
from hookline_fastapi.deliveries import Deliveries
from hookline_fastapi.documentation import OPENAPI_PATH, PAGE_PATH, PAGES, Documentation
from hookline_fastapi.openapi import problem, problems
from hookline_fastapi.problems import DELIVERY_STATUS, NOT_READY, REPLAY_STATUS, RUN_ELSEWHERE, RUN_FINISHED, Problem
from hookline_fastapi.replays import Replays
from hookline_fastapi.routing import BareRoute, HooklineRoute, handle_error
from hookline_fastapi.run_endpoint import RunEndpoint
from hookline_fastapi.runs import Runs
from hookline_fastapi.schemas import Listing
from hookline_fastapi.sessions import Sessions
from hookline_fastapi.settings import read_settings
from hookline_fastapi.statistics import Statistics

DESCRIPTION = (
    "Runs of agents, with everything around them. Times are RFC 3339 in UTC, durations are seconds. "
    "Every error is an RFC 9457 problem; programs branch on its `type`."
)


def create_app(agent_os: AgentOS) -> Starlette:
    """The app that serves `agent_os`, which it keeps in `app.state.agent_os`: its base app, or else a FastAPI app.

    Raises:
        ConfigurationError: the AgentOS cannot be loaded, or its base app cannot take the API.
    """
    agent_os.load()
    api, gate = _create_api(agent_os)
    if agent_os.base_app is None:
        return api
    _check_dependencies(agent_os.base_app, gate)
    base = extend(agent_os.base_app, agent_os, api, own_pages=PAGES)
    gate.apps.append(base)
    return base


def _check_dependencies(base: object, gate: Gate) -> None:
    if isinstance(base, FastAPI) and base.router.dependencies and not gate.is_closed:
        raise ConfigurationError(
            "base_app has dependencies=..., which are not asked for the API's routes, and nothing else asks who calls "
            "them: set HOOKLINE_API_KEYS or install a plugin that authenticates, or give the dependencies to your own "
            "routers instead"
        )


def _create_api(agent_os: AgentOS) -> tuple[FastAPI, Gate]:
    app = FastAPI(
        title=agent_os.name or agent_os.id,
        version=_version(),
        description=DESCRIPTION,
        lifespan=agent_os.lifespan,
        redirect_slashes=False,
        openapi_url=None,  # the routes of the document and its page are ours, with their gate and their headers
    )
    for error in (Problem, HooklineError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(error, handle_error)
    origins = read_settings().cors_origins
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["Location", "Retry-After", "WWW-Authenticate"],
        )
    gate = add_routes(app, agent_os)
    _add_documentation(app, gate)
    return app, gate


def add_routes(app: FastAPI, agent_os: AgentOS) -> Gate:
    """Give an app the routes of this API; its lifespan must enter `agent_os.lifespan`.

    Returns:
        The gate of these routes.

    Raises:
        ConfigurationError: the AgentOS is not loaded.
    """
    app.state.agent_os = agent_os
    gate = Gate(agent_os)
    gate.apps.append(app)
    add = _Adder(app, gate)
    _add_run_route(app, agent_os, gate)

    runs = Runs(agent_os)
    add("GET", "/runs/{run_id}", runs.get_run, run_schemas.Run, problems(404))
    add("GET", "/runs/{run_id}/hooks", runs.list_run_hooks, Listing[run_schemas.HookCall], problems(404))
    cancel = problems(404, RUN_FINISHED, RUN_ELSEWHERE, 413, 415)
    add("POST", "/runs/{run_id}/cancel", runs.cancel_run, run_schemas.AcceptedRun, cancel, status=202)

    sessions = Sessions(agent_os)
    session_runs = Listing[run_schemas.Run]
    add("GET", "/sessions", sessions.list_sessions, Listing[run_schemas.Session], problems())
    add("GET", "/sessions/{session_id}", sessions.get_session, run_schemas.Session, problems(404))
    add("GET", "/sessions/{session_id}/runs", sessions.list_session_runs, session_runs, problems(404))

    _add_deliveries(add, Deliveries(agent_os))
    _add_replays(add, Replays(agent_os))

    known = Definitions(agent_os)
    add("GET", "/agents", known.list_agents, Listing[server_schemas.Agent], problems())
    add("GET", "/agents/{agent_id}", known.get_agent, server_schemas.Agent, problems(404))
    add("GET", "/plugins", known.list_plugins, Listing[server_schemas.Plugin], problems(), access=Access.ADMIN)
    add("GET", "/hooks", known.list_hooks, Listing[server_schemas.PlannedHook], problems())
    stats = Listing[delivery_schemas.HookStats]
    add("GET", "/hooks/stats", Statistics(agent_os).list_hook_stats, stats, problems(), access=Access.ADMIN)

    wellbeing = Wellbeing(agent_os)
    not_ready: dict[int | str, dict[str, Any]] = {
        503: problem(problem_schemas.NotReady, "Not ready; `reasons` tells why.", NOT_READY)
    }
    add("GET", "/health", wellbeing.get_health, server_schemas.Health, {}, access=Access.OPEN)
    add("GET", "/ready", wellbeing.get_readiness, server_schemas.Ready, not_ready, access=Access.PROBE)
    app.openapi = openapi.completed(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return gate


def _version() -> str:
    try:
        return version("hookline")
    except PackageNotFoundError:  # run from a checkout
        return "0"


class _Adder:
    """Adds one route to an app."""

    def __init__(self, app: FastAPI, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    def __call__(
        self,
        method: str,
        path: str,
        endpoint: Callable[..., Any],
        model: Any,
        responses: dict[int | str, dict[str, Any]],
        *,
        access: Access = Access.KNOWN,
        status: int = 200,
        extra: dict[str, Any] | None = None,
    ) -> None:
        route = HooklineRoute(
            path,
            endpoint,
            gate=self._gate,
            access=access,
            methods=[method],
            response_model=model,
            status_code=status,
            responses=responses,
            tags=[path.split("/")[1]],
            openapi_extra=extra,
        )
        self._app.router.routes.append(route)


def _add_deliveries(add: _Adder, deliveries: Deliveries) -> None:
    many, one = "/deliveries", "/deliveries/{delivery_id}"
    add("GET", many, deliveries.list_deliveries, Listing[delivery_schemas.Delivery], problems())
    for path, endpoint, model, responses, extra in (
        (
            f"{one}/redrive",
            deliveries.redrive_delivery,
            delivery_schemas.Delivery,
            problems(404, DELIVERY_STATUS, 413, 415),
            None,
        ),
        (
            f"{one}/discard",
            deliveries.discard_delivery,
            delivery_schemas.Delivery,
            problems(404, DELIVERY_STATUS, 413, 415),
            openapi.request(body_schemas.DiscardBody),
        ),
        (
            f"{many}/redrive",
            deliveries.redrive_deliveries,
            delivery_schemas.Changed,
            problems(413, 415),
            openapi.request(body_schemas.RedriveManyBody),
        ),
        (
            f"{many}/discard",
            deliveries.discard_deliveries,
            delivery_schemas.Changed,
            problems(413, 415),
            openapi.request(body_schemas.DiscardManyBody),
        ),
    ):
        add("POST", path, endpoint, model, responses, access=Access.ADMIN, extra=extra)
    add("GET", one, deliveries.get_delivery, delivery_schemas.Delivery, problems(404))  # after /deliveries/redrive


def _add_replays(add: _Adder, replays: Replays) -> None:
    many, one = "/replays", "/replays/{replay_id}"
    made: dict[int | str, dict[str, Any]] = {
        200: {
            "model": delivery_schemas.Replay,
            "description": "With `dry_run`: what it would be about; nothing is stored.",
        },
        **problems(413, 415),
    }
    body = openapi.request(body_schemas.ReplayBody)
    add("POST", many, replays.create_replay, delivery_schemas.Replay, made, access=Access.ADMIN, status=201, extra=body)
    add("GET", many, replays.list_replays, Listing[delivery_schemas.Replay], problems(), access=Access.ADMIN)
    add("GET", one, replays.get_replay, delivery_schemas.Replay, problems(404), access=Access.ADMIN)
    for word, endpoint in (
        ("pause", replays.pause_replay),
        ("resume", replays.resume_replay),
        ("cancel", replays.cancel_replay),
    ):
        path, responses = f"{one}/{word}", problems(404, REPLAY_STATUS, 413, 415)
        add("POST", path, endpoint, delivery_schemas.Replay, responses, access=Access.ADMIN)


def _add_documentation(app: FastAPI, gate: Gate) -> None:
    documentation = Documentation(app)
    for path, endpoint in ((OPENAPI_PATH, documentation.get_document), (PAGE_PATH, documentation.get_page)):
        route = HooklineRoute(
            path, endpoint, gate=gate, access=Access.KNOWN, methods=["GET", "HEAD"], include_in_schema=False
        )
        app.router.routes.append(route)


def _add_run_route(app: FastAPI, agent_os: AgentOS, gate: Gate) -> None:
    async def run_agent(agent_id: str) -> Response:
        """Run an agent: wait for the run, stream it, or leave it to go on by itself."""
        raise AssertionError(agent_id)

    route = BareRoute(
        "/agents/{agent_id}/runs",
        run_agent,
        gate=gate,
        access=Access.KNOWN,
        methods=["POST"],
        response_model=run_schemas.Run,
        responses=openapi.RUN_RESPONSES,
        tags=["agents"],
        openapi_extra=openapi.RUN_REQUEST,
    )
    route.serve_with(RunEndpoint(agent_os, "agent"))
    app.router.routes.append(route)
