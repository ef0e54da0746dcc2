"""Wheels, a fresh virtual environment with them, and what a user runs there."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import pytest

from server_process import free_port, wait_until

PROJECT = Path(__file__).parents[2]

APP = """
from hookline import Agent, AgentOS, Settings
from hookline_demo import DemoModel

agent_os = AgentOS(agents=[Agent("demo", model=DemoModel())], settings=Settings(%s))
"""


def clean_environment() -> dict[str, str]:
    """The environment of this process without what would lead to other code or other settings."""
    ours = ("HOOKLINE_", "OPENAI_", "PYTHON", "PYTEST_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command that must succeed; what it printed."""
    done = subprocess.run(
        command, cwd=cwd, env={**clean_environment(), **(env or {})}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills once in a test session, whichever of the session's processes comes first."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, finished = shared / name, shared / f"{name}.finished"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            folder.mkdir()  # fails for those who come after one that failed
            make(folder)
            finished.touch()
    return folder


def build_wheel(project: Path, folder: Path) -> None:
    """Build the wheel of a project as its maintainers do, into a folder."""
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, project, cwd=folder)


def only_wheel(folder: Path) -> Path:
    """The one wheel in a folder."""
    [wheel] = folder.glob("*.whl")
    return wheel


def write_wheel(
    folder: Path, *, distribution: str, plugin: str, module: str, source: str, metadata: Sequence[str] = ()
) -> Path:
    """Write the wheel of a plugin that is one module.

    Args:
        folder: where to put it.
        distribution: the distribution's name.
        plugin: the name of its entry point.
        module: the name of its module.
        source: the module's code.
        metadata: more lines of its metadata.
    """
    stem = f"{distribution.replace('-', '_')}-1.0"
    info = f"{stem}.dist-info"
    lines = ["Metadata-Version: 2.3", f"Name: {distribution}", "Version: 1.0", *metadata]
    files = {
        f"{module}.py": source,
        f"{info}/METADATA": "\n".join(lines) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[hookline]\n{plugin} = {module}\n",
    }
    record = "".join(f"{name},sha256={_digest(text)},{len(text.encode())}\n" for name, text in files.items())
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(name, text)
    return wheel


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def write_app(directory: Path, settings: str = "") -> None:
    """Write `app.py`: the agent `demo`, with these keywords for `Settings`."""
    (directory / "app.py").write_text(APP % settings)


class Environment:
    """A virtual environment.

    Args:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.python = folder / "bin" / "python"
        self.hookline = folder / "bin" / "hookline"

    @classmethod
    def create(cls, folder: Path, *requirements: str | Path) -> Self:
        """Make one, and install into it."""
        venv.create(folder, with_pip=True)
        made = cls(folder)
        run(made.python, "-m", "pip", "install", "--quiet", *requirements, cwd=folder)
        return made

    def plugins(self, directory: Path, *arguments: str, env: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """What `hookline plugins --json` lists in a directory."""
        listing = json.loads(run(self.hookline, "plugins", *arguments, "--json", cwd=directory, env=env))
        assert listing["next_cursor"] is None
        items: list[dict[str, Any]] = listing["items"]
        return items


class InstalledServer:
    """`hookline serve app:agent_os` of an environment, in the directory of `app.py`.

    Args:
        environment: where hookline is installed.
        directory: where it runs.
        arguments: more of the command line.
        env: more of its environment.
    """

    def __init__(
        self, environment: Environment, directory: Path, *arguments: str, env: Mapping[str, str] | None = None
    ) -> None:
        port = free_port()
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        self._command: list[str | Path] = [
            environment.hookline,
            "serve",
            "app:agent_os",
            "--port",
            str(port),
            *arguments,
        ]
        self._directory = directory
        self._env = {**clean_environment(), **(env or {})}
        self._log = directory / "server.log"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._directory, env=self._env, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_until(self._answers, timeout=60, what="the server's first answer")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(self.log()[-8000:])
        self._end()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log()[-8000:]
        try:
            return self.client.get("/health").status_code == 200
        except httpx2.TransportError:
            return False

    def _end(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self.client.close()

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def log(self) -> str:
        """All that it printed."""
        return self._log.read_text(errors="replace")

    def ask(self, message: str) -> httpx2.Response:
        """Run the agent `demo`."""
        return self.client.post("/agents/demo/runs", data={"message": message})

    def items(self, path: str) -> list[dict[str, Any]]:
        """The items of a listing that fits on one page."""
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        assert response.json()["next_cursor"] is None
        items: list[dict[str, Any]] = response.json()["items"]
        return items
