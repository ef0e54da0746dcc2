"""The servers: one, and now and then a second one on the same ledger."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from chaos.ledger import Ledger
from server_process import ServerProcess

APP = Path(__file__).parent / "app.py"
TESTS = Path(__file__).parents[1]
SHUTDOWN_SECONDS = 2.0
END_SECONDS = SHUTDOWN_SECONDS + 13.0
"""How long a server may take to end after SIGTERM: what it gives runs, and hookline's own graces."""


class FaultyEndError(Exception):
    """A server did not end as it has to."""


class Fleet:
    """Two server processes in one directory: `main` serves, `other` joins it for some faults.

    `up`: those that clients are sent to.
    """

    def __init__(self, directory: Path, model_url: str) -> None:
        paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {
            "STUB_URL": model_url,
            "PYTHONPATH": os.pathsep.join(paths),
            "HOOKLINE_SHUTDOWN_TIMEOUT": f"{SHUTDOWN_SECONDS:g}",
        }
        self.main, self.other = (ServerProcess(directory, env=env, arguments=[str(APP)]) for _ in range(2))
        self.up: list[ServerProcess] = []
        self.ledger = Ledger(directory / "ledger.db")
        self.journal_file = self.main.events_file

    def targets(self) -> list[str]:
        """The URLs that clients are sent to."""
        return [server.url for server in self.up]

    def swap(self) -> None:
        """The other one is the main one from now on."""
        self.main, self.other = self.other, self.main

    async def start(self, server: ServerProcess, *, answers: bool = True) -> None:
        """Start one, and wait until it answers unless told otherwise."""
        await asyncio.to_thread(server.start, answers=answers)
        if answers:
            self.up.append(server)

    async def kill(self, server: ServerProcess) -> None:
        """SIGKILL."""
        self._leave_out(server)
        await asyncio.to_thread(server.kill)

    async def terminate(self, server: ServerProcess, *, kill_after: float | None = None) -> None:
        """SIGTERM, then, if it has not ended by then, SIGKILL; wait for the end.

        Raises:
            FaultyEndError: it did not end in time, or not as it has to.
        """
        self._leave_out(server)
        pid = server.pid
        ending = asyncio.create_task(asyncio.to_thread(server.terminate, END_SECONDS))
        if kill_after is not None:
            await asyncio.wait((ending,), timeout=kill_after)
            if not ending.done():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
        try:
            status = await ending
        except subprocess.TimeoutExpired:
            raise FaultyEndError(f"a server did not end within {END_SECONDS:g} s of SIGTERM") from None
        if status != 0 and not (kill_after is not None and status == -signal.SIGKILL):
            raise FaultyEndError(f"a server ended with status {status} after SIGTERM")

    def freeze(self, server: ServerProcess) -> None:
        """SIGSTOP."""
        self._leave_out(server)
        os.kill(server.pid, signal.SIGSTOP)

    def thaw(self, server: ServerProcess) -> None:
        """SIGCONT."""
        os.kill(server.pid, signal.SIGCONT)
        self.up.append(server)

    async def taken_over(self, limit: float) -> float | None:
        """Wait until nothing in the ledger is held by a process that is not up; returns the seconds, None if over."""
        began = time.monotonic()
        while self.ledger.held_by_others({server.pid for server in self.up}):
            if time.monotonic() - began > limit:
                return None
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    def close(self) -> None:
        """Kill what is left."""
        self.ledger.close()
        for server in (self.main, self.other):
            server.kill()
            server.client.close()

    def _leave_out(self, server: ServerProcess) -> None:
        if server in self.up:
            self.up.remove(server)
