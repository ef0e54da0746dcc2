"""`hookline demo` and `hookline serve`: real servers."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest

from command_line import CommandLine
from fake_distributions import FakeSite
from server_process import ServerProcess, free_port, wait_until

pytestmark = pytest.mark.process


def server(directory: Path, *arguments: str) -> ServerProcess:
    """A server started by the command line, on a port of its own."""
    command = ["-m", "hookline", *arguments, "--port"]
    process = ServerProcess(directory, arguments=command)
    command.append(str(process.port))
    return process


def test_the_demo_keeps_its_promise(hookline: CommandLine) -> None:
    with server(hookline.directory, "demo") as demo:
        text = demo.log()
        assert f"curl {demo.url}/agents/demo/runs" in text
        assert f"{demo.url}/docs" in text
        assert str(hookline.directory / "hookline.db") in text
        found = re.search(r"kill -9 (\d+)", text)
        assert found is not None
        answer = demo.post_run("roll a die", agent="demo")
        assert answer.status_code == 200
        assert answer.json()["content"].startswith("roll_a_die says: ")
        wait_until(lambda: "send_report (background): begins" in demo.log(), what="the start of send_report")
        assert demo.log().count("send_report (background): done") == 0
        delivered = {"run_id": answer.json()["run_id"], "status": "delivered"}
        wait_until(lambda: demo.deliveries(**delivered), what="the settlement of write_log")

        os.kill(int(found[1]), signal.SIGKILL)
        demo.kill()
        demo.start()

        wait_until(lambda: "send_report (background): done" in demo.log(), what="the end of send_report")
        rows = demo.wait_delivered(answer.json()["run_id"])
        assert [row["hook"] for row in rows] == ["write_log", "send_report"]
        assert demo.log().count("write_log (background)") == 1
        assert demo.terminate() == 0


def test_a_port_in_use_is_one_line(hookline: CommandLine, app: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments in (["demo", "--port", port], ["serve", app, "--port", port]):
            done = hookline(*arguments)

            assert done.status == 1
            lines = [line for line in done.stderr.splitlines() if not line.startswith("the app names no db")]
            assert len(lines) == 1
            assert f"127.0.0.1:{port}" in lines[0]
            assert lines[0].endswith("choose another port with --port")
            assert done.stdout == ""


def test_a_database_that_cannot_be_written_is_one_line(hookline: CommandLine, app: str) -> None:
    hookline.write("file", "no folder")
    source = (hookline.directory / "app.py").read_text()
    hookline.write("app.py", source.replace('"ledger.db"', '"file/ledger.db"'))
    hookline.env = {"HOOKLINE_DATABASE": "file/hookline.db"}

    for arguments in (["serve", app], ["serve", app, "--reload"], ["demo"]):
        done = hookline(*arguments, "--port", str(free_port()))

        assert done.status == 1
        assert "Traceback" not in done.stderr
        (line,) = [line for line in done.stderr.splitlines() if not line.startswith("the app names no db")]
        assert f"remove {hookline.directory / 'file'}, or choose another file" in line


@pytest.mark.parametrize("name", ["agent_os", "app"])
def test_serve_takes_an_agent_os_or_its_app(hookline: CommandLine, app: str, name: str) -> None:
    with server(hookline.directory, "serve", f"app:{name}", "-p", "no:openai") as served:
        assert served.post_run("hello").json()["content"] == "You said: hello"
        states = {item["name"]: item["state"] for item in served.get("/plugins")["items"]}
        assert (states["demo"], states["openai"]) == ("active", "blocked")
        assert served.terminate() == 0


def test_serve_refuses_an_open_address_unless_told(hookline: CommandLine, app: str) -> None:
    done = hookline("serve", app, "--host", "0.0.0.0")  # noqa: S104 - refused

    assert done.status == 1
    assert "--insecure" in done.error
    with server(hookline.directory, "serve", app, "--host", "0.0.0.0", "--insecure") as served:  # noqa: S104
        assert served.get("/health") == {"status": "ok"}


def test_strict_plugins_stop_the_start(hookline: CommandLine, app: str, site: FakeSite) -> None:
    site.install("x", "import no_such_library")

    done = hookline("serve", app, "--strict-plugins")

    assert done.status == 1
    assert "Error: plugin 'x' is unavailable: No module named 'no_such_library'" in done.stderr
    assert "Traceback" not in done.stderr


def test_reload_serves_what_the_file_says_now(hookline: CommandLine, app: str) -> None:
    with server(hookline.directory, "serve", app, "--reload") as served:
        assert [item["id"] for item in served.get("/agents")["items"]] == ["a"]

        source = (hookline.directory / "app.py").read_text()
        hookline.write("app.py", source.replace('Agent("a"', 'Agent("renamed"'))

        def renamed() -> bool:
            try:
                return [item["id"] for item in served.client.get("/agents").json()["items"]] == ["renamed"]
            except httpx2.TransportError:
                return False

        wait_until(renamed, what="the new process")
        assert served.terminate() == 0


MENDABLE = """
from pathlib import Path

from hookline import Agent, AgentOS, Schedule, hook, hookimpl
from hookline_demo import DemoModel
from hookline_sql import SqliteDb


@hook(run_in_background=True, retries=0)
def send_report(run_output):
    if not Path("mended").exists():
        raise RuntimeError("the printer is on fire")


@hook(run_in_background=True)
def remind_later(run_output):
    Path("reminded").touch()


class Later:
    plugin_name = "later"

    @hookimpl
    def schedule_background(self, delivery):
        return Schedule(delay=3600) if delivery.hook == "remind_later" else None


agent = Agent("a", model=DemoModel(), db=SqliteDb("ledger.db"), post_hooks=[send_report, remind_later])
agent_os = AgentOS("os", agents=[agent], plugins=[Later()])
"""


def test_a_running_server_does_what_the_command_line_wrote(hookline: CommandLine) -> None:
    hookline.write("app.py", MENDABLE)

    with server(hookline.directory, "serve", "app:agent_os") as served:
        run_id = served.post_run().raise_for_status().json()["run_id"]

        def rows() -> dict[str, dict[str, Any]]:
            return {row["hook"]: row for row in served.deliveries(run_id=run_id)}

        wait_until(lambda: rows()["send_report"]["status"] == "dead", what="the dead letter")
        reminder = rows()["remind_later"]
        assert reminder["status"] == "pending"
        (hookline.directory / "mended").touch()

        redriven = hookline("deliveries", "redrive", rows()["send_report"]["delivery_id"], "--db", "ledger.db")
        discarded = hookline(
            "deliveries", "discard", reminder["delivery_id"], "--db", "ledger.db", "--reason", "no longer wanted"
        )

        assert (redriven.status, discarded.status) == (0, 0), redriven.stderr + discarded.stderr
        wait_until(lambda: rows()["send_report"]["status"] == "delivered", what="the redriven delivery")
        assert rows()["remind_later"]["status"] == "discarded"
        assert not (hookline.directory / "reminded").exists()
        again = served.post_run("again").raise_for_status().json()["run_id"]
        wait_until(
            lambda: (
                {row["hook"]: row["status"] for row in served.deliveries(run_id=again)}
                == {"send_report": "delivered", "remind_later": "pending"}
            ),
            what="the next run's deliveries",
        )
        assert served.terminate() == 0
