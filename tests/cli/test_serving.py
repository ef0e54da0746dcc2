"""`hookline demo` and `hookline serve`: real servers."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import httpx2
import pytest

from command_line import CommandLine
from fake_distributions import FakeSite
from server_process import ServerProcess, wait_until

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
            lines = [line for line in done.stderr.splitlines() if not line.startswith("no db given")]
            assert len(lines) == 1
            assert f"127.0.0.1:{port}" in lines[0]
            assert "choose another port" in lines[0]
            assert done.stdout == ""


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
