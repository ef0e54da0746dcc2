"""Fixtures of the HTTP tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import Any

import pytest

import hookline_fastapi
from hookline import Agent, AgentOS, Model, Settings
from hookline.testing import ScriptedModel
from hookline_fastapi import create_app
from hookline_sql import SqliteDb
from http_server import MakeAgentOS, Serve, Served, untouched

AGENT_OPTIONS = {"pre_hooks", "post_hooks", "tools", "on_busy", "db"}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves an agent with the given model, hooks and settings; gives a client."""
    with ExitStack() as stack:

        def start(model: Model | None = None, **options: Any) -> Served:
            served = _serve(tmp_path, model, options)
            stack.callback(served.stop)
            return served

        yield start


def _serve(directory: Path, model: Model | None, options: dict[str, Any]) -> Served:
    given = {name: options.pop(name) for name in AGENT_OPTIONS & options.keys()}
    plugins = options.pop("plugins", ())
    middleware, name = options.pop("middleware", ()), options.pop("name", None)
    given.setdefault("db", SqliteDb(db_file=str(directory / "ledger.db")))
    agent = Agent("demo", name="Demo", model=model or ScriptedModel("the answer", repeat=True), **given)
    settings = Settings(**{"shutdown_timeout": 5.0, **options})
    agent_os = AgentOS(name=name, agents=[agent], plugins=[hookline_fastapi, *plugins], settings=settings)
    app = create_app(agent_os)
    for kind, values in middleware:
        app.add_middleware(kind, **values)
    return Served(agent_os, app)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A client of a server that the tests of a module share: for requests that leave nothing behind."""
    directory = tmp_path_factory.mktemp("shared")
    with chdir(directory):
        served = _serve(directory, None, {})
    yield served
    served.stop()


@pytest.fixture
def refusing(shared: Served) -> Iterator[Served]:
    """The shared server; what the test asks of it stores nothing, calls no model and breaks nothing."""
    with untouched(shared):
        yield shared


@pytest.fixture
def client(serve: Serve) -> Served:
    """A client of a server with nothing special."""
    return serve()


@pytest.fixture
def make(tmp_path: Path) -> MakeAgentOS:
    """Makes an AgentOS of one agent, `demo`; the keywords are the AgentOS's."""

    def make_agent_os(model: Model | None = None, **options: Any) -> AgentOS:
        agent = Agent(
            "demo",
            model=model or ScriptedModel("the answer", repeat=True),
            db=SqliteDb(db_file=str(tmp_path / "ledger.db")),
            post_hooks=options.pop("post_hooks", []),
        )
        plugins = [hookline_fastapi, *options.pop("plugins", ())]
        options.setdefault("settings", Settings(shutdown_timeout=5.0))
        return AgentOS(agents=[agent], plugins=plugins, **options)

    return make_agent_os
