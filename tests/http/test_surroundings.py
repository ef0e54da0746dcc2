"""What somebody's own app puts around the API: middleware, handlers of exceptions, dependencies, its document."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hookline import AgentOS, ConfigurationError, Principal, Settings, hook, hookimpl
from http_server import FORM, MakeAgentOS, parse_events, problem, served, waiting_model
from server_process import wait_until


@pytest.mark.parametrize("mounted", [False, True])
def test_deliveries_wait_for_the_body_and_streams_are_not_held_up(make: MakeAgentOS, mounted: bool) -> None:
    """Under every kind of middleware at once."""
    order: list[str] = []
    go = threading.Event()

    @hook(run_in_background=True)
    async def deliver() -> None:
        order.append("delivery")

    async def pass_on(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-seen"] = "yes"
        return response

    async def read_all(request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        if response.headers["content-type"].startswith("text/event-stream"):
            return response  # type: ignore[no-any-return]
        body = b"".join([chunk async for chunk in response.body_iterator])
        await asyncio.sleep(0.3)  # as long as something else may take with the body
        order.append("body")
        return Response(body, response.status_code, dict(response.headers))

    agent_os = make(waiting_model(go), post_hooks=[deliver])
    app = FastAPI(lifespan=agent_os.lifespan) if mounted else FastAPI()
    if mounted:
        app.mount("/ai", agent_os.get_app())
    else:
        agent_os.base_app = app
        agent_os.get_app()
    for dispatch in (read_all, pass_on):
        app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    app.add_middleware(GZipMiddleware, minimum_size=1)
    app.add_middleware(CORSMiddleware, allow_origins=["https://app.example"])
    prefix = "/ai" if mounted else ""
    with served(app) as client:
        origin = {"origin": "https://app.example"} if not mounted else {}
        with client.stream(
            "POST", f"{prefix}/agents/demo/runs", data={**FORM, "stream": "true"}, headers=origin
        ) as stream:
            lines = stream.iter_lines()
            assert next(line for line in lines if line.startswith("event:")) == "event: RunStarted"
            go.set()  # only now has the model anything to say
            rest = [line for line in lines if line.startswith("event:")]
        assert rest[-1] == "event: RunCompleted"
        assert stream.headers["x-seen"] == "yes"
        wait_until(lambda: order == ["delivery"], what="the delivery of the streamed run")
        order.clear()
        answer = client.post(f"{prefix}/agents/demo/runs", data=FORM, headers=origin)
        assert answer.json()["content"] == "late answer"
        assert answer.headers["content-encoding"] == "gzip"
        assert [answer.headers.get("access-control-allow-origin")] == [origin.get("origin")]
        wait_until(lambda: len(order) == 2)
        assert order == ["body", "delivery"]


def test_reader_that_leaves_ends_nothing_under_middleware(make: MakeAgentOS) -> None:
    go = threading.Event()

    async def pass_on(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    app = make(waiting_model(go), base_app=FastAPI()).get_app()
    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    with served(app) as client:
        with client.stream("POST", "/agents/demo/runs", data={**FORM, "stream": "true", "session_id": "s"}) as stream:
            assert next(stream.iter_lines())
        with pytest.raises(httpx2.TimeoutException):
            client.post("/agents/demo/runs", data={**FORM, "session_id": "t"}, timeout=0.5)
        go.set()
        wait_until(lambda: [status_in(client, session) for session in ("s", "t")] == ["completed", "completed"])


def status_in(client: httpx2.Client, session: str) -> str:
    """The status of a session's only run."""
    [run] = client.get(f"/sessions/{session}/runs").json()["items"]
    status: str = run["status"]
    return status


class RefusedError(Exception):
    """An error of the app's own."""


def test_errors_of_each_are_said_as_each_says_them(make: MakeAgentOS, monkeypatch: pytest.MonkeyPatch) -> None:
    app = FastAPI()

    @app.exception_handler(404)
    @app.exception_handler(405)
    @app.exception_handler(422)
    @app.exception_handler(HTTPException)
    @app.exception_handler(RefusedError)
    @app.exception_handler(Exception)
    async def say(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse("the app's own words", 418)

    @app.get("/mine/{number}")
    async def mine(number: int) -> None:
        raise RefusedError

    agent_os = make(base_app=app)
    agent_os.get_app()
    with served(app) as client:
        for path in ("/mine/1", "/nowhere"):
            assert client.get(path).text == "the app's own words"
        problem(client.get("/runs/none"), 404, "not-found")
        problem(client.delete("/runs/none"), 405, "method-not-allowed")
        problem(client.post("/agents/demo/runs"), 422, "invalid-request")
        problem(client.get("/sessions?limit=x"), 422, "invalid-request")
        errors: list[type[Exception]] = [RuntimeError, RefusedError]
        for error in errors:
            monkeypatch.setattr(AgentOS, "storage", property(_raiser(error)))
            problem(client.get("/sessions"), 500, "internal-error")


def _raiser(error: type[Exception]) -> Callable[[AgentOS], Any]:
    def fail(_agent_os: AgentOS) -> Any:
        raise error

    return fail


def test_dependencies_of_the_whole_app_that_would_guard_nothing_of_the_api(make: MakeAgentOS) -> None:
    async def ask(x_key: str = "") -> None:
        raise HTTPException(401)

    app = FastAPI(dependencies=[Depends(ask)])
    app.add_api_route("/mine", lambda: "mine")
    with pytest.raises(ConfigurationError, match="dependencies"):
        make(base_app=app).get_app()
    make(base_app=app, settings=Settings(api_keys=["a-key-0123456789"])).get_app()
    with served(app) as client:
        assert client.get("/mine").status_code == 401
        problem(client.get("/sessions"), 401, "unauthenticated")
        headers = {"authorization": "Bearer a-key-0123456789"}
        assert client.get("/sessions", headers=headers).status_code == 200


class Asked:
    """A plugin that notes which paths it was asked about."""

    plugin_name = "asked"

    def __init__(self) -> None:
        self.paths: list[str] = []

    @hookimpl
    def authenticate(self, path: str) -> Principal:
        self.paths.append(path)
        return Principal("alice")


def test_who_authenticates_reads_the_same_paths_wherever_the_app_is(make: MakeAgentOS) -> None:
    asked = Asked()
    agent_os = make(plugins=[asked])
    outer = FastAPI(lifespan=agent_os.lifespan)
    outer.mount("/ai", agent_os.get_app())
    with served(outer) as client:
        assert client.get("/ai/sessions").status_code == 200
    assert asked.paths == ["/sessions"]


# the document


class Problem(BaseModel):
    """A model of the app's own, whose name the API has too."""

    severity: int


def test_document_has_both_and_mixes_up_nothing(make: MakeAgentOS) -> None:
    app = FastAPI(title="Mine")

    @app.post("/problems")
    def report(problem: Problem, run: Annotated[str, "which"] = "") -> Problem:
        return problem

    make(base_app=app, settings=Settings(api_keys=["a-key-0123456789"])).get_app()
    with served(app) as client:
        document = client.get("/openapi.json").json()
        assert client.get("/docs").status_code == 200
    assert document["info"]["title"] == "Mine"
    schemas = document["components"]["schemas"]
    assert list(schemas["Problem"]["properties"]) == ["severity"]
    assert "detail" in schemas["HooklineProblem"]["properties"]
    own = document["paths"]["/problems"]["post"]
    assert own["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    ours = document["paths"]["/runs/{run_id}"]["get"]
    assert ours["responses"]["404"]["content"]["application/problem+json"]["schema"] == {
        "$ref": "#/components/schemas/HooklineProblem"
    }
    assert ours["security"] == [{"bearer": []}]
    assert "security" not in own
    components = document["components"]
    assert references(document) <= {f"#/components/{kind}/{name}" for kind in components for name in components[kind]}


def references(value: Any) -> set[str]:
    """All references in a document."""
    if isinstance(value, list):
        return {found for each in value for found in references(each)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
    return own.union(*(references(each) for each in value.values()))


def test_app_without_a_document_gets_none(make: MakeAgentOS) -> None:
    app = make(base_app=FastAPI(openapi_url=None)).get_app()
    with served(app) as client:
        assert client.get("/openapi.json").status_code == 404
        assert client.get("/docs").status_code == 404


def test_streams_of_a_base_app(make: MakeAgentOS) -> None:
    with served(make(base_app=FastAPI()).get_app()) as client:
        events = parse_events(client.post("/agents/demo/runs", data={**FORM, "stream": "true"}).text)
    assert [event["event"] for event in events][-1] == "RunCompleted"
