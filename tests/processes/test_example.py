"""The example, started as its page says: `python background_hooks_decorator.py`, reload and all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from server_process import ServerProcess, wait_until
from stub_openai import StubProcess

pytestmark = pytest.mark.process

EXAMPLE = Path(__file__).parents[2] / "examples" / "background_hooks_decorator.py"


@pytest.fixture
def example(tmp_path: Path, stub: StubProcess) -> ServerProcess:
    server = ServerProcess(
        tmp_path, arguments=["background_hooks_decorator.py"], env={"OPENAI_BASE_URL": stub.base_url}
    )
    source = EXAMPLE.read_text()
    assert "port=7777" in source
    (tmp_path / EXAMPLE.name).write_text(source.replace("port=7777", f"port={server.port}"))
    return server


def test_it_answers_before_the_notification_and_hooks_run_in_order(example: ServerProcess) -> None:
    with example as server:
        begun = time.monotonic()
        answer = server.client.post(
            "/agents/background-task-agent/runs",
            files={"message": (None, "Hello, how are you?"), "stream": (None, "false")},
        )
        waited = time.monotonic() - begun
        assert answer.status_code == 200, answer.text
        assert answer.json()["content"] == "You said: Hello, how are you?"
        assert waited < 3
        printed = server.log()
        assert "[Sync Post-Hook] Analytics logged successfully!" in printed
        assert "Notification sent!" not in printed

        wait_until(lambda: "Notification sent!" in server.log(), what="the notification")
        marks = [line for line in server.log().splitlines() if "[" in line and "-Hook]" in line]
        assert [mark[mark.index("[") + 1 : mark.index("]")] for mark in marks] == [
            *["Sync Post-Hook"] * 4,
            *["Background Pre-Hook"] * 2,
            *["Background Post-Hook"] * 2,
        ]
        assert (server.directory / "tmp" / "agent.db").exists()
        assert server.terminate() in (0, -15)


def test_a_changed_file_starts_it_anew(example: ServerProcess) -> None:
    with example as server:
        (server.directory / EXAMPLE.name).touch()
        wait_until(lambda: server.log().count("Application startup complete") > 1, what="the reload")
        wait_until(lambda: server.client.get("/health").status_code == 200, what="the answer after it")
        server.terminate()


def test_importing_it_needs_no_key_and_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / EXAMPLE.name).write_text(EXAMPLE.read_text())
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import {EXAMPLE.stem}"], cwd=tmp_path, env=environment, check=True
    )
    assert {path.name for path in tmp_path.iterdir()} <= {EXAMPLE.name, "__pycache__"}
