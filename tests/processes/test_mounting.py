"""The API in somebody's own app and under other servers: uvicorn and gunicorn, with two workers on one SQLite file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

import httpx2
import pytest

from server_process import APPS, ServerProcess, wait_until
from stub_openai import StubProcess, marker

pytestmark = pytest.mark.process

HOOKS = ["hook-1", "hook-2", "hook-3"]

UVICORN = ["-m", "uvicorn", "--app-dir", str(APPS), "mounted_app:app"]
GUNICORN = ["-m", "gunicorn", "--pythonpath", str(APPS), "-k", "uvicorn_worker.UvicornWorker", "mounted_app:app"]
PAIRS = {
    "uvicorn": [*UVICORN, "--workers", "2"],
    "gunicorn": [*GUNICORN, "-w", "2"],
    "gunicorn, the app imported before the fork": [*GUNICORN, "-w", "2", "--preload"],
}


class Start(Protocol):
    """Starts the mounted app, itself or under the server of a command line; what its environment needs by keyword."""

    def __call__(self, *command: str, kind: str = "base", hooks: str = "three", **env: str) -> ServerProcess:
        """Start it."""
        ...


@pytest.fixture
def start(tmp_path: Path, stub: StubProcess) -> Iterator[Start]:
    with ExitStack() as stack:

        def start_one(*command: str, kind: str = "base", hooks: str = "three", **env: str) -> ServerProcess:
            environment = {"STUB_URL": stub.base_url, "KIND": kind, "HOOKS": hooks, "HOOKLINE_SHUTDOWN_TIMEOUT": "5"}
            arguments = list(command)
            process = ServerProcess(
                tmp_path, app="mounted_app.py", env={**environment, **env}, arguments=arguments or None
            )
            if command:
                arguments += ["--bind", f"127.0.0.1:{process.port}"] if "gunicorn" in command else []
                arguments += ["--port", str(process.port)] if "uvicorn" in command else []
            process.client.close()
            process.client = httpx2.Client(
                base_url=f"{process.url}/ai" if kind == "mount" else process.url,
                timeout=60,
                limits=httpx2.Limits(max_keepalive_connections=0),  # any worker may take the next request
            )
            return stack.enter_context(process)

        yield start_one


def first_starts(server: ServerProcess, run_id: str) -> list[str]:
    """The hooks of a run in the order of their starts."""
    return [line["hook"] for line in server.events(run_id=run_id, event="start")]


# one process


@pytest.mark.parametrize("kind", ["base", "mount"])
@pytest.mark.parametrize("command", [[], UVICORN, GUNICORN], ids=["serve", "uvicorn", "gunicorn"])
def test_somebodys_own_app_serves_runs_and_drains(start: Start, kind: str, command: list[str]) -> None:
    server = start(*command, kind=kind)
    assert httpx2.get(f"{server.url}/mine").json() == "mine"
    run_id = server.post_run().raise_for_status().json()["run_id"]
    streamed = server.post_run(stream="true")
    assert streamed.text.count("event: RunCompleted") == 1
    assert server.terminate() in (0, -signal.SIGTERM)  # uvicorn ends by the signal that it got
    assert first_starts(server, run_id) == HOOKS, "what was due was done before the end"
    assert len(server.events(event="end")) == 6
    if kind == "base":
        assert [line["event"] for line in server.events() if line["event"].startswith("own")] == [
            "own opens", "own closes",
        ]  # fmt: skip


def test_importing_the_app_opens_nothing(tmp_path: Path, stub: StubProcess) -> None:
    code = "import mounted_app, os, threading; print(os.listdir(), threading.active_count())"
    for kind in ("base", "mount"):
        environment = {
            **os.environ, "KIND": kind, "STUB_URL": stub.base_url, "EVENTS": "events",
            "PYTHONPATH": os.pathsep.join([str(APPS), os.environ.get("PYTHONPATH", "")]),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout == "[] 1\n"


@pytest.mark.parametrize("command", [[], UVICORN], ids=["serve", "uvicorn"])
@pytest.mark.parametrize("kind", ["base", "mount"])
def test_behind_a_proxy_that_takes_a_prefix_off(start: Start, command: list[str], kind: str) -> None:
    options = ["--root-path", "/proxied"] if command else []
    server = start(*command, *options, kind=kind, ROOT_PATH="/proxied")
    prefix = "/proxied/ai" if kind == "mount" else "/proxied"
    forwarded = {"x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https", "x-forwarded-prefix": "/elsewhere"}
    document = server.client.get("/openapi.json", headers=forwarded).json()
    assert document["servers"] == [{"url": prefix}]
    assert f"{prefix}/openapi.json" in server.client.get("/docs", headers=forwarded).text
    accepted = server.client.post(
        "/agents/a/runs",
        data={"message": "hello", "background": "true"},
        headers={**forwarded, "origin": "https://app.example", "sec-fetch-site": "same-origin"},
    )
    run_id = accepted.json()["run_id"]
    assert accepted.headers["location"] == f"{prefix}/runs/{run_id}"
    server.wait_delivered(run_id)


# two processes


@pytest.fixture(params=list(PAIRS.values()), ids=list(PAIRS))
def pair(request: pytest.FixtureRequest) -> list[str]:
    """The command line of two workers."""
    command: list[str] = request.param
    return command


def rows(server: ServerProcess, query: str) -> list[Any]:
    """What a query finds in the ledger."""
    with closing(sqlite3.connect(server.directory / "ledger.db")) as ledger:
        return ledger.execute(query).fetchall()


def workers_of(server: ServerProcess) -> dict[str, int]:
    """The process ids of the servers that the ledger knows."""
    return dict(rows(server, "SELECT server_id, pid FROM hookline_servers"))


def test_two_workers_do_everything_once(start: Start, stub: StubProcess, pair: list[str]) -> None:
    server = start(*pair)
    wait_until(lambda: len(workers_of(server)) == 2, what="the second worker")
    run_ids: list[str] = []

    def both_have_worked() -> bool:
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(lambda number: server.post_run(session_id=f"s-{number % 4}"), range(20)))
        assert [answer.status_code for answer in answers] == [200] * 20, [answer.text for answer in answers]
        run_ids.extend(answer.json()["run_id"] for answer in answers)
        return len({line["pid"] for line in server.events(event="start")}) == 2

    wait_until(both_have_worked, what="work of both workers")
    for run_id in run_ids:
        server.wait_delivered(run_id)
        assert first_starts(server, run_id) == HOOKS
    assert stub.stats()["calls"] == len(run_ids)
    assert len(server.events(event="end")) == 3 * len(run_ids)
    for number in range(4):
        stored = rows(server, f"SELECT count(*) FROM hookline_runs WHERE session_id = 's-{number}'")  # noqa: S608
        assert stored == [(len(run_ids) // 4,)]
    assert server.terminate() == 0
    assert workers_of(server) == {}


def test_work_of_a_killed_worker_is_taken_over(start: Start, stub: StubProcess, pair: list[str]) -> None:
    server = start(*pair, hooks="hold-second")
    wait_until(lambda: len(workers_of(server)) == 2, what="the second worker")
    delivering = server.post_run().raise_for_status().json()["run_id"]
    [held] = wait_until(lambda: server.events(hook="hook-2", event="start"), what="the second hook's start")
    victim = next(server_id for server_id, pid in workers_of(server).items() if pid == held["pid"])

    def both_have_runs() -> bool:
        server.post_run(marker(gate="late"), background="true").raise_for_status()
        return len(rows(server, "SELECT DISTINCT server_id FROM hookline_runs WHERE status = 'running'")) == 2

    wait_until(both_have_runs, what="runs of both workers")
    owners = dict(rows(server, "SELECT run_id, server_id FROM hookline_runs WHERE status = 'running'"))
    (server.directory / "go").touch()
    os.kill(held["pid"], signal.SIGKILL)

    server.wait_delivered(delivering)
    again = server.events(run_id=delivering, hook="hook-2", event="start")[-1]
    assert again["pid"] != held["pid"]
    assert again["attempt"] == 1, "what was interrupted is not counted"
    assert len(server.events(run_id=delivering, hook="hook-1", event="start")) == 1
    lost = [run_id for run_id, owner in owners.items() if owner == victim]
    for run_id in lost:
        run = wait_ended(server, run_id)
        assert (run["status"], run["reason"]) == ("failed", "interrupted")
    stub.open_gate("late")
    for run_id in owners.keys() - set(lost):
        run = wait_ended(server, run_id)
        assert run["status"] == "completed"
        server.wait_delivered(run_id)
    wait_until(lambda: server.post_run().status_code == 200)
    wait_until(lambda: len(workers_of(server)) == 2, what="a new worker in the place of the killed one")


def wait_ended(server: ServerProcess, run_id: str) -> dict[str, Any]:
    """Wait until a run is no longer running."""

    def ended() -> dict[str, Any] | None:
        run: dict[str, Any] = server.get(f"/runs/{run_id}")
        return run if run["status"] != "running" else None

    return wait_until(ended, what=f"the end of run {run_id}")
