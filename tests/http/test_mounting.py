"""The API in somebody's own app: `base_app=`, and mounted under a path of that app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from hookline import AgentOS, ConfigurationError, hookimpl
from http_server import FORM, MakeAgentOS, ServerThread, problem, served
from server_process import wait_until


async def hello(_request: Request) -> Response:
    return PlainTextResponse("hello")


# routes


def test_base_app_gets_the_api_beside_its_own_routes(make: MakeAgentOS) -> None:
    app = FastAPI()

    @app.get("/mine")
    def mine() -> str:
        return "mine"

    agent_os = make(base_app=app)
    assert agent_os.get_app() is app
    assert agent_os.get_app() is app, "a second time adds nothing"
    assert app.state.agent_os is agent_os
    with served(app) as client:
        assert client.get("/mine").json() == "mine"
        run = client.post("/agents/demo/runs", data=FORM).json()
        assert run["content"] == "the answer"
        assert client.get(f"/runs/{run['run_id']}").json() == run
        assert client.get("/ready").json()["status"] == "ready"


def test_starlette_app(make: MakeAgentOS) -> None:
    app = make(base_app=Starlette(routes=[Route("/mine", hello)])).get_app()
    with served(app) as client:
        assert client.get("/mine").text == "hello"
        assert client.post("/agents/demo/runs", data=FORM).json()["content"] == "the answer"
        assert client.post("/agents/demo/runs", data={"message": ""}).status_code == 422
        assert "/agents/{agent_id}/runs" in client.get("/openapi.json").json()["paths"]
        assert client.get("/docs").status_code == 200


def test_pages_of_a_starlette_app_stay_its_own(make: MakeAgentOS) -> None:
    app = make(base_app=Starlette(routes=[Route("/docs", hello)])).get_app()
    with served(app) as client:
        assert client.get("/docs").text == "hello"
        assert client.get("/openapi.json").status_code == 200


def agents_router() -> APIRouter:
    router = APIRouter(prefix="/agents")
    router.add_api_route("/{name}", lambda name: name)
    return router


CONFLICTS: list[tuple[str, Callable[[FastAPI], Any]]] = [
    ("the route /health", lambda app: app.add_api_route("/health", lambda: "fine")),
    ("the route /agents/{name}", lambda app: app.add_api_route("/agents/{name}", lambda name: name)),
    ("/agents/{agent_id}", lambda app: app.include_router(agents_router())),
    ("routes under /runs", lambda app: app.mount("/runs", Starlette())),
]


@pytest.mark.parametrize(("named", "add"), CONFLICTS)
def test_path_that_both_need_stops_the_start(make: MakeAgentOS, named: str, add: Callable[[FastAPI], Any]) -> None:
    app = FastAPI()
    add(app)
    before = list(app.routes)
    with pytest.raises(ConfigurationError, match="mount the API under") as raised:
        make(base_app=app).get_app()
    assert named in str(raised.value)
    assert app.routes == before


async def test_path_that_is_added_later_is_named(make: MakeAgentOS) -> None:
    app = make(base_app=FastAPI()).get_app()
    app.add_api_route("/ready", lambda: "fine")
    with pytest.raises(ConfigurationError, match="base_app has the route /ready"):
        async with app.router.lifespan_context(app):
            pass


def test_two_apis_in_one_app_are_refused(make: MakeAgentOS) -> None:
    app = make(base_app=FastAPI()).get_app()
    with pytest.raises(ConfigurationError, match="base_app has the API of another AgentOS"):
        make(base_app=app).get_app()


def test_own_route_with_another_method_or_a_narrower_path_stays(make: MakeAgentOS) -> None:
    app = FastAPI()
    app.add_api_route("/health", lambda: "own", methods=["POST"])
    app.add_api_route("/runs/latest", lambda: "own")
    make(base_app=app).get_app()
    app.add_api_route("/runs/first", lambda: "own")
    with served(app) as client:
        assert client.post("/health").json() == "own"
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/runs/latest").json() == "own"
        assert client.get("/runs/first").json() == "own", "also one that was added afterwards"
        problem(client.get("/runs/none"), 404, "not-found")
        problem(client.delete("/ready"), 405, "method-not-allowed")


def test_what_takes_everything_is_asked_last(make: MakeAgentOS, tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("welcome")
    pages = Mount("/", StaticFiles(directory=tmp_path / "pages", html=True))
    anything = Route("/{page}", hello)
    app = make(base_app=Starlette(routes=[anything, pages])).get_app()
    with served(app) as client:
        assert client.get("/").text == "welcome"
        assert client.get("/about").text == "hello"
        assert client.get("/health").json() == {"status": "ok"}
        assert client.post("/agents/demo/runs", data=FORM).status_code == 200


@pytest.mark.parametrize("base", [object(), "module:app", AgentOS])
def test_base_app_that_is_none(make: MakeAgentOS, base: object) -> None:
    with pytest.raises(ConfigurationError, match="is no FastAPI or Starlette app"):
        make(base_app=base).get_app()


# lifespans


def lifespan_of(log: list[str]) -> Any:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, str]]:
        log.append("own opens")
        yield {"found": "what the app opened"}
        log.append("own closes")

    return lifespan


class Logging:
    """A plugin that logs when the AgentOS opens and closes."""

    plugin_name = "logging"

    def __init__(self, log: list[str]) -> None:
        self._log = log

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        self._log.append("hookline opens")
        yield
        self._log.append("hookline closes")


@pytest.mark.parametrize("kind", [FastAPI, Starlette])
def test_own_lifespan_is_around_hooklines(make: MakeAgentOS, kind: type[Starlette]) -> None:
    log: list[str] = []

    async def state(request: Request) -> Response:
        return PlainTextResponse(request.state.found)

    app: Starlette = kind(lifespan=lifespan_of(log))
    app.router.routes.append(Route("/state", state))
    make(base_app=app, plugins=[Logging(log)]).get_app()
    with served(app) as client:
        assert log == ["own opens", "hookline opens"]
        assert client.get("/state").text == "what the app opened"
        assert client.post("/agents/demo/runs", data=FORM).status_code == 200
    assert log == ["own opens", "hookline opens", "hookline closes", "own closes"]


def test_mounted_with_the_lifespan_inside_the_apps_own(make: MakeAgentOS) -> None:
    log: list[str] = []
    agent_os = make(plugins=[Logging(log)])

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with agent_os.lifespan(app):
            log.append("own opens")
            yield

    outer = FastAPI(lifespan=lifespan)
    outer.mount("/ai", agent_os.get_app())
    with served(outer) as client:
        assert log == ["hookline opens", "own opens"]
        accepted = client.post("/ai/agents/demo/runs", data={**FORM, "background": "true"})
        location = accepted.headers["location"]
        assert location == f"/ai/runs/{accepted.json()['run_id']}"
        wait_until(lambda: client.get(location).json()["status"] == "completed")
        assert client.get("/ai/openapi.json").json()["servers"] == [{"url": "/ai"}]
        assert 'url: "/ai/openapi.json"' in client.get("/ai/docs").text
        problem(client.get("/ai/nowhere"), 404, "not-found")
        assert client.get("/nowhere").json() == {"detail": "Not Found"}
    assert log[-1] == "hookline closes"


def test_mounted_without_the_lifespan_names_the_line_to_add(make: MakeAgentOS) -> None:
    outer = FastAPI()
    outer.mount("/ai", make().get_app())
    with served(outer) as client:
        for response in (
            client.post("/ai/agents/demo/runs", data=FORM),
            client.get("/ai/agents"),
            client.get("/ai/docs"),
        ):
            detail = problem(response, 500, "lifespan-not-run")["detail"]
            assert "lifespan=agent_os.lifespan" in detail
            assert "async with agent_os.lifespan(app): yield" in detail


def test_served_by_its_agent_os_the_outer_app_drains_too(make: MakeAgentOS) -> None:
    agent_os = make()
    outer = FastAPI(lifespan=agent_os.lifespan)
    outer.mount("/ai", agent_os.get_app())
    thread = ServerThread(outer, agent_os)
    thread.stop()
    assert thread.server._agent_os is agent_os
