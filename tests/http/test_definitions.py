"""What is served, whether it is well, and the OpenAPI document."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI

from hookline import Agent, AgentOS, RunInput, guardrail, hook
from hookline.testing import ScriptedModel
from hookline_fastapi import create_app
from hookline_fastapi.app import add_routes
from hookline_sql import SqliteDb
from http_server import Serve, Served, problem, served


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
        "mode": "background", "guardrail": False, "guardrail_mode": None, "timeout": 7.0, "retries": 2, "backoff": 1.0,
        "max_age": None, "concurrency": None, "circuit_threshold": 20, "circuit_cooldown": 60.0, "sample": 1.0,
        "on": ["completed"], "from_settings": [],
        "state": {"circuit": "closed", "failures": 0, "open_until": None, "running": 0, "waits_for_threads": False},
    }  # fmt: skip


def test_plugins(client: Served) -> None:
    found = {plugin["module"]: plugin for plugin in client.items("/plugins")}
    ours = found["hookline_fastapi"]
    assert list(ours) == ["name", "module", "distribution", "version", "state", "reason", "hooks"]
    assert (ours["state"], ours["hooks"]) == ("active", ["transports"])


def test_health_and_readiness(client: Served) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json()["status"] == "ready"


def test_documentation_page(client: Served) -> None:
    assert "swagger" in client.get("/docs").text.lower()


def make_agent_os(directory: Path) -> AgentOS:
    agent = Agent("demo", model=ScriptedModel("the answer"), db=SqliteDb(db_file=str(directory / "ledger.db")))
    return AgentOS(agents=[agent]).load()


def test_app_whose_lifespan_did_not_run_names_the_line_to_add(tmp_path: Path) -> None:
    foreign = FastAPI()
    add_routes(foreign, make_agent_os(tmp_path))
    with served(foreign) as client:
        for path in ("/agents/demo/runs", "/sessions", "/runs/x", "/agents", "/hooks", "/plugins"):
            method = "POST" if path.endswith("runs") else "GET"
            response = client.request(method, path)
            assert "lifespan=agent_os.lifespan" in problem(response, 500, "lifespan-not-run")["detail"]
        assert client.get("/health").status_code == 200
        problem(client.get("/ready"), 503, "not-ready")
        assert client.get("/nowhere").json() == {"detail": "Not Found"}, "somebody else's app keeps its own errors"


def test_mounted_app_works_with_the_lifespan_of_its_parent(tmp_path: Path) -> None:
    agent_os = make_agent_os(tmp_path)
    parent = FastAPI(lifespan=agent_os.lifespan)
    parent.mount("/ai", create_app(agent_os))
    with served(parent) as client:
        assert client.post("/ai/agents/demo/runs", data={"message": "a"}).json()["content"] == "the answer"
        accepted = client.post("/ai/agents/demo/runs", data={"message": "a", "background": "true"})
        assert accepted.headers["location"].startswith("/ai/runs/")
        problem(client.get("/ai/nowhere"), 404, "not-found")


def test_cross_origin_requests_where_settings_allow_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_os = make_agent_os(tmp_path)
    origin = {"origin": "https://app.example"}
    with served(create_app(agent_os)) as client:
        assert "access-control-allow-origin" not in client.get("/health", headers=origin).headers
    monkeypatch.setenv("HOOKLINE_PLUGIN_FASTAPI__CORS_ORIGINS", '["https://app.example"]')
    with served(create_app(agent_os)) as client:
        allowed = client.get("/health", headers=origin).headers["access-control-allow-origin"]
        assert allowed == "https://app.example"
        assert client.get("/nowhere", headers=origin).headers["access-control-allow-origin"] == allowed


def test_plugin_module_imports_nothing_heavy() -> None:
    code = "import sys, hookline_fastapi; print(*{'fastapi', 'starlette', 'uvicorn', 'pydantic'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.split() == []


def test_app_keeps_its_agent_os(client: Served) -> None:
    assert client.app.state.agent_os is client.agent_os
