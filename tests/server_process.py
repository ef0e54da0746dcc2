"""A real server process for tests: started, asked over HTTP, killed, started again on the same files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

T = TypeVar("T")

APPS = Path(__file__).parent / "processes"
SOURCES = Path(__file__).parents[1]


def wait_until(condition: Callable[[], T | None], *, timeout: float = 30.0, what: str = "the condition") -> T:
    """Poll until the condition gives something true, and return that."""
    ends_at = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > ends_at:
            raise AssertionError(f"{what} did not come true within {timeout:g} s")
        time.sleep(0.01)
    return found


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """`python APP` in a directory of its own; its hooks append lines to `events.jsonl` there.

    Args:
        directory: where it runs; its database is there too.
        app: a script of `tests/processes`, which serves on the port in `$PORT`.
        env: what else it needs.
        arguments: the command line instead of `python APP`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        app: str = "served_app.py",
        env: Mapping[str, str] | None = None,
        arguments: list[str] | None = None,
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx2.Client(base_url=self.url, timeout=60)
        self.events_file = directory / "events.jsonl"
        self._arguments = arguments or [str(APPS / app)]
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._log = directory / "server.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(self.log()[-8000:])
        self.kill()
        self.client.close()

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, answers: bool = True, **env: str) -> None:
        """Start it and, unless `answers=False`, wait until it answers."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HOOKLINE_", "OPENAI_"))},
            "PORT": str(self.port),
            "EVENTS": str(self.events_file),
            "OPENAI_API_KEY": "test",
            **self._env,
            **env,
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._arguments],
                cwd=self.directory,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if answers:
            wait_until(self._answers, what="the server's first answer")

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"the server ended with {self._process.returncode}:\n{self.log()[-8000:]}")
        try:
            return self.client.get("/health").status_code == 200
        except httpx2.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL for it and its children, unless it has ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def terminate(self, timeout: float = 30.0) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for its end; returns the exit status."""
        assert self._process is not None
        status = self._process.wait(timeout)
        self._process = None
        return status

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def log(self) -> str:
        """All that it printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def events(self, **fields: object) -> list[dict[str, Any]]:
        """What its hooks wrote, in that order; only lines with these fields."""
        if not self.events_file.exists():
            return []
        lines = [json.loads(line) for line in self.events_file.read_text().splitlines()]
        return [line for line in lines if all(line.get(name) == value for name, value in fields.items())]

    def post_run(self, message: str = "hello", *, agent: str = "a", **fields: str) -> httpx2.Response:
        """Run the agent."""
        return self.client.post(f"/agents/{agent}/runs", data={"message": message, "stream": "false", **fields})

    def get(self, path: str, **query: str | int) -> Any:
        """The JSON at a path."""
        response = self.client.get(path, params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def deliveries(self, **query: str | int) -> list[dict[str, Any]]:
        """The deliveries, oldest first."""
        items: list[dict[str, Any]] = self.get("/deliveries", limit=200, **query)["items"]
        return items[::-1]

    def wait_delivered(self, run_id: str, *, timeout: float = 30.0) -> list[dict[str, Any]]:
        """Wait until all deliveries of a run are delivered."""

        def delivered() -> list[dict[str, Any]] | None:
            rows = self.deliveries(run_id=run_id)
            return rows if rows and all(row["status"] == "delivered" for row in rows) else None

        return wait_until(delivered, timeout=timeout, what=f"the delivery of all hooks of {run_id}")


Serve = Callable[..., ServerProcess]
"""The fixture `serve`: starts the served app with a preset of hooks, more of its environment by keyword."""
