"""`serve()` in real processes: signals, shutdown, reload, and mistakes said in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hookline import Agent, AgentOS, ConfigurationError
from hookline.testing import ScriptedModel
from hookline_fastapi import FastAPITransport, create_app
from hookline_fastapi.server import bind
from hookline_sql import SqliteDb
from http_server import parse_events, problem
from server_process import ServerProcess, free_port, wait_until

pytestmark = pytest.mark.process

APP = """
import asyncio, os, threading
from pathlib import Path

import hookline_fastapi
from hookline import Agent, AgentOS, Settings, hook
from hookline.testing import ScriptedModel
from hookline_sql import SqliteDb

ANSWER = "first"


async def answer(request):
    while "wait" in request.messages[-1].content and not Path("go").exists():
        await asyncio.sleep(0.01)
    return ANSWER


@hook(run_in_background=True)
async def note(run_output):
    Path("noted").write_text(run_output.run_id)


@hook(run_in_background=True, timeout=0.2, retries=0)
async def swallow():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            Path("swallowed").touch()


@hook(run_in_background=True, timeout=0.2, retries=0)
def block():
    Path("blocking").touch()
    threading.Event().wait()


@hook(run_in_background=True)
def borrow_thread():
    print("a line of a hook")
    Path("printed").touch()


@hook(run_in_background=True)
async def pool():
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    Path("pooled").touch()


hooks = [globals()[name] for name in os.environ.get("HOOKS", "note").split()]
agent = Agent(
    "a", model=ScriptedModel(answer, repeat=True), db=SqliteDb(db_file=os.environ.get("DB", "ledger.db")),
    post_hooks=hooks,
)
agent_os = AgentOS(
    agents=[agent], plugins=[hookline_fastapi],
    settings=Settings(shutdown_timeout=float(os.environ.get("SHUTDOWN_TIMEOUT", "20"))),
)
app = agent_os.get_app()

if __name__ == "__main__":
    target = os.environ.get("TARGET")
    agent_os.serve(target or app, port=int(os.environ["PORT"]), reload=bool(target))
"""


def server(directory: Path, **env: str) -> ServerProcess:
    (directory / "app.py").write_text(APP)
    return ServerProcess(directory, env=env, arguments=["app.py"])


def test_first_signal_lets_everything_finish(tmp_path: Path) -> None:
    answers: list[Any] = []
    with server(tmp_path) as process:
        for fields in ({"stream": "false"}, {"stream": "true"}):
            run = threading.Thread(target=lambda given=fields: answers.append(process.post_run("wait", **given)))
            run.start()
        wait_until(lambda: len(process.get("/sessions")["items"]) == 2)
        ended = threading.Thread(target=lambda: answers.append(process.terminate()))
        ended.start()
        wait_until(lambda: "Shutting down" in process.log())
        (tmp_path / "go").touch()
        ended.join()
        wait_until(lambda: len(answers) == 3)
    assert 0 in answers
    responses = [answer for answer in answers if answer != 0]
    assert [response.status_code for response in responses] == [200, 200]
    streamed = next(each for each in responses if each.headers["content-type"].startswith("text/event-stream"))
    assert parse_events(streamed.text)[-1]["event"] == "RunCompleted"
    assert (tmp_path / "noted").exists(), "the deliveries were not drained"


def test_second_signal_ends_at_once(tmp_path: Path) -> None:
    with server(tmp_path) as process:
        process.post_run("wait", background="true")
        process.client.close()
        os.kill(process.pid, signal.SIGTERM)
        wait_until(lambda: "Shutting down" in process.log())
        assert process.terminate() == -signal.SIGTERM


@pytest.mark.parametrize("hook", ["swallow", "block", "pool"])
def test_what_cannot_be_ended_does_not_keep_the_process(tmp_path: Path, hook: str) -> None:
    trace = {"swallow": "swallowed", "block": "blocking", "pool": "pooled"}[hook]
    with server(tmp_path, HOOKS=hook, SHUTDOWN_TIMEOUT="2") as process:
        process.post_run()
        wait_until((tmp_path / trace).exists)
        assert process.terminate() == 0


def test_run_that_does_not_end_is_left_to_the_next_start(tmp_path: Path) -> None:
    with server(tmp_path, SHUTDOWN_TIMEOUT="1") as process:
        run_id = process.post_run("wait", background="true").json()["run_id"]
        assert process.terminate() == 0
        process.start()
        wait_until(lambda: process.get(f"/runs/{run_id}")["status"] in ("failed", "cancelled"))


def test_run_that_does_not_end_in_time_still_answers_its_client(tmp_path: Path) -> None:
    answers: list[Any] = []
    with server(tmp_path, SHUTDOWN_TIMEOUT="1") as process:
        run = threading.Thread(target=lambda: answers.append(process.post_run("wait")))
        run.start()
        wait_until(lambda: process.get("/sessions")["items"])
        assert process.terminate() == 0
        run.join()
    problem(answers[0], 409, "run-cancelled")


def test_lines_of_hooks_are_seen_when_they_are_printed(tmp_path: Path) -> None:
    with server(tmp_path, HOOKS="borrow_thread") as process:
        process.post_run()
        wait_until((tmp_path / "printed").exists)
        assert "a line of a hook\n" in process.log()


@pytest.mark.parametrize("target", ["app:app", "app:agent_os"])
def test_reload(tmp_path: Path, target: str) -> None:
    with server(tmp_path, TARGET=target, HOOKS="borrow_thread") as process:
        assert process.post_run().json()["content"] == "first"
        wait_until((tmp_path / "printed").exists)
        assert "a line of a hook\n" in process.log()
        (tmp_path / "app.py").write_text(APP.replace('ANSWER = "first"', 'ANSWER = "second"'))
        wait_until(lambda: process.log().count("Application startup complete") == 2)
        assert process.post_run().json()["content"] == "second"
        assert process.terminate() == 0
        assert process.log().count("Application shutdown complete") == 2


def run_to_its_end(directory: Path, *arguments: str, app: str = APP, **env: str) -> subprocess.CompletedProcess[str]:
    (directory / "app.py").write_text(app)
    environment = {**os.environ, **env}
    return subprocess.run(
        [sys.executable, *(arguments or ["app.py"])],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_port_in_use_is_one_line(tmp_path: Path) -> None:
    with server(tmp_path) as process:
        (tmp_path / "second").mkdir()
        ended = run_to_its_end(tmp_path / "second", PORT=str(process.port))
    assert ended.returncode == 1
    assert f"127.0.0.1:{process.port}" in ended.stderr
    assert "--port" in ended.stderr
    assert "port=" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_address_of_another_machine_is_one_line() -> None:
    with pytest.raises(SystemExit, match=r"192\.0\.2\.7.*--host"):
        bind("192.0.2.7", 0)


def test_wrong_definition_is_one_line_when_a_script_serves_it(tmp_path: Path) -> None:
    app = APP.replace("async def note(run_output):", "async def note(impossible):").replace("app = agent_os", "# ")
    ended = run_to_its_end(tmp_path, app=app, TARGET="app:app", PORT="0")
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("hookline: ")
    assert "note" in line
    assert "impossible" in line


def test_agent_os_in_the_place_of_the_app(tmp_path: Path) -> None:
    for option in ("auto", "on"):
        ended = run_to_its_end(tmp_path, "-m", "uvicorn", "app:agent_os", "--port", "0", "--lifespan", option)
        assert ended.returncode == 3
        assert "app = agent_os.get_app()" in ended.stderr
        assert "Traceback" not in ended.stderr


async def test_requests_to_an_agent_os_in_the_place_of_the_app(agent_os: AgentOS) -> None:
    async def nothing(*_: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="get_app"):
        await agent_os({"type": "http"}, nothing, nothing)


def test_serve_takes_the_import_string_of_an_agent_os(tmp_path: Path) -> None:
    app = APP.replace("reload=bool(target)", "root_path='/ai'")
    (tmp_path / "app.py").write_text(app)
    with ServerProcess(tmp_path, env={"TARGET": "app:agent_os"}, arguments=["app.py"]) as process:
        assert process.post_run().status_code == 200
        assert process.get("/openapi.json")["servers"] == [{"url": "/ai"}]
        assert process.terminate() == 0


@pytest.mark.parametrize("root_path", ["ai", "/", "https://x.example/ai"])
def test_root_path_that_is_none(agent_os: AgentOS, root_path: str) -> None:
    with pytest.raises(SystemExit, match=r"root_path=.* must be a path such as '/ai'"):
        agent_os.serve(agent_os.get_app(), port=0, root_path=root_path)


def test_database_that_cannot_be_opened_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = run_to_its_end(tmp_path, PORT=str(free_port()), DB="file/ledger.db")
    assert ended.returncode == 1
    assert "make it yourself" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture
def agent_os(tmp_path: Path) -> AgentOS:
    agent = Agent("a", model=ScriptedModel("x"), db=SqliteDb(db_file=str(tmp_path / "ledger.db")))
    return AgentOS(agents=[agent]).load()


def test_reload_needs_an_import_string(agent_os: AgentOS) -> None:
    with pytest.raises(ConfigurationError, match="import string"):
        FastAPITransport().serve(agent_os, create_app(agent_os), host="127.0.0.1", port=0, reload=True)


@pytest.mark.parametrize(
    "app", ["no_such_module:app", "json:no_such_name", "json", "json:", "json:decoder", "broken:app"]
)
def test_wrong_import_strings(agent_os: AgentOS, app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("broken.py").write_text("import no_such_thing")
    with pytest.raises(SystemExit, match=f"cannot load the app '{app}'"):
        FastAPITransport().serve(agent_os, app, host="127.0.0.1", port=0, reload=False)
