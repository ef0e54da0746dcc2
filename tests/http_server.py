"""A real uvicorn server on loopback, in a thread of the test's process, and a client of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from typing import Any, Protocol, TypeVar

import httpx2

from hookline import AgentOS, Model, ModelRequest, Storage, StorageError
from hookline.testing import ScriptedModel
from hookline_fastapi.server import HooklineConfig, HooklineServer, bind
from hookline_sql import SqliteDb
from server_process import wait_until

T = TypeVar("T")

FORM = {"message": "hello"}
"""The least that a run needs."""


class ServerThread:
    """Serves an app on a free port of loopback until `stop`; `agent_os` where the app does not name it itself."""

    def __init__(self, app: Any, agent_os: AgentOS | None = None) -> None:
        self._sockets = bind("127.0.0.1", 0)
        self.address: tuple[str, int] = self._sockets[0].getsockname()
        self.server = HooklineServer(HooklineConfig(app, lifespan="on", log_config=None), agent_os)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: self.server.started or not self._thread.is_alive(), what="the server's start")

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self.server.serve(self._sockets))

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def stop(self) -> None:
        """End it as a signal would."""
        self.server.should_exit = True
        self._thread.join()
        for bound in self._sockets:
            bound.close()


@contextmanager
def served(app: Any) -> Iterator[httpx2.Client]:
    """Serve an app of any kind; gives a client of it."""
    thread = ServerThread(app)
    try:
        with httpx2.Client(base_url="http://{}:{}".format(*thread.address), timeout=30) as client:
            yield client
    finally:
        thread.stop()


class Served(httpx2.Client):
    """A client of a server that serves one agent, `demo`."""

    def __init__(self, agent_os: AgentOS, app: Any) -> None:
        self.agent_os = agent_os
        self.app = app
        self.thread = ServerThread(app)
        self.address = self.thread.address
        super().__init__(base_url="http://{}:{}".format(*self.address), timeout=30)

    def stop(self) -> None:
        """Close the client, then the server."""
        self.close()
        self.thread.stop()

    def run_agent(self, message: str = "hello", **fields: str) -> httpx2.Response:
        """Run the agent with a form."""
        return self.post("/agents/demo/runs", data={"message": message, **fields})

    def stream_agent(self, message: str = "hello", **fields: str) -> list[dict[str, Any]]:
        """Run the agent with `stream=true`; the events of the whole stream."""
        response = self.run_agent(message, stream="true", **fields)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        return parse_events(response.text)

    def items(self, path: str, **query: str | int) -> list[dict[str, Any]]:
        """The items of a listing."""
        response = self.get(path, params=query)
        assert response.status_code == 200, response.text
        items: list[dict[str, Any]] = response.json()["items"]
        return items


class Serve(Protocol):
    """Starts a server of one agent; the keywords are the agent's, and settings."""

    def __call__(self, model: Model | None = None, **options: Any) -> Served:
        """Start it."""
        ...


MakeAgentOS = Callable[..., AgentOS]
"""The fixture `make`: makes an AgentOS of one agent, `demo`; the keywords are the AgentOS's."""


def parse_events(text: str) -> list[dict[str, Any]]:
    """The data of server-sent events; that `id:` and `event:` say the same is checked."""
    found = []
    for frame in text.split("\n\n"):
        lines = [line for line in frame.splitlines() if not line.startswith(":")]
        if not lines:
            continue
        assert [line.split(": ", 1)[0] for line in lines] == ["id", "event", "data"]
        sequence, name, text = (line.split(": ", 1)[1] for line in lines)
        data = json.loads(text)
        assert (data["sequence"], data["event"]) == (int(sequence), name)
        found.append(data)
    return found


def problem(response: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    """The body of a problem, checked for what all problems have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"/problems/{name}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert all(error.keys() == {"field", "message"} for error in body["errors"])
    return body


@contextmanager
def untouched(client: Served) -> Iterator[None]:
    """Check that what happens inside stores nothing and calls no model, and that a good request works after it."""
    before = _traces(client)
    yield
    assert _traces(client) == before
    assert client.run_agent().status_code == 200


def _traces(client: Served) -> dict[str, int]:
    """How many rows each table has, but for the servers' own, and how often the model was called."""
    (model,) = client.agent_os.runnables["agent", "demo"].models
    assert isinstance(model, ScriptedModel)
    traces = {"requests of the model": len(model.requests)}
    with closing(sqlite3.connect(client.agent_os.database.url.partition("///")[2])) as ledger:
        tables = ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'hookline_%'")
        for (table,) in tables.fetchall():
            if table != "hookline_servers":
                traces[table] = ledger.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
    assert "hookline_runs" in traces
    return traces


class FailingDb:
    """An SQLite database in which one operation always fails."""

    def __init__(self, db_file: str, *, failing: str) -> None:
        self._db = SqliteDb(db_file=db_file)
        self._failing = failing
        self.url = self._db.url

    def open(self) -> Storage:
        """Open it."""
        storage = self._db.open()

        async def fail(*_args: Any, **_keywords: Any) -> Any:
            raise StorageError("disk full at /secret/path")

        setattr(storage, self._failing, fail)
        return storage


def waiting_model(go: threading.Event | None = None) -> ScriptedModel:
    """A model that answers `late answer` once `go` is set; without one, never."""

    async def wait(_request: ModelRequest) -> str:
        if go is None:
            await asyncio.Event().wait()
        elif not await asyncio.to_thread(go.wait, 20):
            raise AssertionError("nobody let the model go on")
        return "late answer"

    return ScriptedModel(wait, repeat=True)
