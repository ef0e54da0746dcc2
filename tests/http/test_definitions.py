"""What is served, whether it is well, and the OpenAPI document."""

from __future__ import annotations

from typing import Any

import httpx2
from fastapi import FastAPI

from hookline import RunInput, guardrail, hook
from hookline_fastapi.app import add_routes
from http_server import Serve, Served, ServerThread, problem


def roll_die(sides: int) -> int:
    """Roll a die.

    Args:
        sides: how many.
    """
    return sides


@guardrail
def check(run_input: RunInput) -> None: ...


@hook(run_in_background=True, name="notify", timeout=7, retries=2)
def notify() -> None: ...


def test_agents(serve: Serve) -> None:
    client = serve(pre_hooks=[check], post_hooks=[notify], tools=[roll_die])
    agent = {
        "id": "demo", "name": "Demo", "model": "scripted", "tools": ["roll_die"], "hooks": ["check", "notify"],
    }  # fmt: skip
    assert client.items("/agents") == [agent]
    assert client.get("/agents/demo").json() == agent


def test_hooks(serve: Serve) -> None:
    first, second = serve(pre_hooks=[check], post_hooks=[notify]).items("/hooks")
    assert (first["hook"], first["mode"], first["guardrail"]) == ("check", "inline", True)
    assert second == {
        "runnable": "demo", "phase": "post", "position": 0, "hook": "notify", "source": "runnable",
        "mode": "background", "guardrail": False, "timeout": 7.0, "retries": 2, "on": ["completed"],
    }  # fmt: skip


def test_plugins(client: Served) -> None:
    found = {plugin["module"]: plugin for plugin in client.items("/plugins")}
    ours = found["hookline_fastapi"]
    assert list(ours) == ["name", "module", "distribution", "version", "state", "reason", "hooks"]
    assert (ours["state"], ours["hooks"]) == ("active", ["transports"])


def test_health_and_readiness(client: Served) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}


def test_openapi_document(client: Served) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/agents", "/agents/{agent_id}", "/agents/{agent_id}/runs", "/deliveries", "/deliveries/{delivery_id}",
        "/deliveries/{delivery_id}/discard", "/deliveries/{delivery_id}/redrive", "/health", "/hooks", "/plugins",
        "/ready", "/runs/{run_id}", "/runs/{run_id}/cancel", "/runs/{run_id}/hooks", "/sessions",
        "/sessions/{session_id}", "/sessions/{session_id}/runs",
    }  # fmt: skip
    run = document["paths"]["/agents/{agent_id}/runs"]["post"]
    assert run["operationId"] == "run_agent"
    assert set(run["requestBody"]["content"]) == {
        "application/json", "application/x-www-form-urlencoded", "multipart/form-data",
    }  # fmt: skip
    assert set(run["responses"]) == {
        "200", "202", "404", "409", "413", "415", "422", "429", "500", "502", "503",
    }  # fmt: skip
    assert set(run["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert set(run["responses"]["422"]["content"]) == {"application/problem+json"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
    missing = [ref for ref in references(document) if ref.rsplit("/", 1)[1] not in document["components"]["schemas"]]
    assert missing == []


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for child in value.values() for ref in references(child)]
    return [ref for child in value for ref in references(child)] if isinstance(value, list) else []


def test_documentation_page(client: Served) -> None:
    assert "swagger" in client.get("/docs").text.lower()


def test_app_whose_lifespan_did_not_run_names_the_line_to_add(client: Served) -> None:
    foreign = FastAPI()
    add_routes(foreign, type(client.agent_os)(agents=[_agent(client)], settings=client.agent_os.settings).load())
    thread = ServerThread(foreign)
    try:
        url = "http://{}:{}".format(*thread.address)
        for method, path in (("POST", "/agents/demo/runs"), ("GET", "/sessions"), ("GET", "/runs/x")):
            response = httpx2.request(method, url + path, data={"message": "a"} if method == "POST" else None)
            assert "lifespan=agent_os.lifespan" in problem(response, 500, "lifespan-not-run")["detail"]
        assert httpx2.get(f"{url}/health").status_code == 200
        assert httpx2.get(f"{url}/ready").status_code == 503
    finally:
        thread.stop()


def _agent(client: Served) -> Any:
    return client.agent_os.runnables["agent", "demo"]


def test_app_keeps_its_agent_os(client: Served) -> None:
    assert client.app.state.agent_os is client.agent_os
