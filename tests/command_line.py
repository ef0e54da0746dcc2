"""`hookline` as a user runs it: a process of its own in a directory of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed, and how it ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.stdout)

    @property
    def error(self) -> str:
        """The one line on stderr that tells what went wrong."""
        lines = self.stderr.splitlines()
        assert len(lines) == 1, self.stderr
        assert "Traceback" not in self.stderr
        assert self.stdout == ""
        return lines[0]


class CommandLine:
    """Runs `python -m hookline` in a directory.

    Args:
        directory: where it runs.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env: dict[str, str] = {}

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Done:
        """Run a command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "hookline", *arguments],
            cwd=self.directory,
            env=self._environment(),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    @contextmanager
    def begin(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command, which is killed if it has not ended by itself."""
        with subprocess.Popen(
            [sys.executable, "-m", "hookline", *arguments],
            cwd=self.directory,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_interrupts,  # noqa: PLW1509 - this process has no thread that could hold a lock
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HOOKLINE_", "OPENAI_"))}
        return {**inherited, **self.env}

    def write(self, name: str, text: str) -> None:
        """Write a file into the directory."""
        (self.directory / name).write_text(text, encoding="utf-8")


def _heed_interrupts() -> None:
    """A shell's background jobs, and what they start, ignore SIGINT; a command at a prompt does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
