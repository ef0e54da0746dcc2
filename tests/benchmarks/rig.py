"""The rig: a stub and servers as processes of their own, on loopback, pinned to cores, ended with the benchmark.

The servers run on core 0, the stub and the client on core 1, where there are two.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.load import Connection, get_request

TESTS = Path(__file__).parents[1]
SERVER_CORE, CLIENT_CORE = 0, 1
START_SECONDS = 60.0
QUIET_SHARE = 0.05
"""A server that takes less of a core than this has nothing left to do."""


@dataclass
class Server:
    """A process that serves on loopback."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far, user and system, to the nanosecond (Linux)."""
        cpu_clock = ~self.process.pid << 3 | 2  # what clock_getcpuclockid(3) gives, which Python does not offer
        return time.clock_gettime(cpu_clock)

    async def settled(self, *, window: float = 0.25, limit: float = 60.0) -> float:
        """Wait until it has nothing left to do; returns its CPU seconds then.

        Raises:
            TimeoutError: it is still busy after `limit` seconds.
        """
        ends_at, last = time.monotonic() + limit, self.cpu_seconds()
        while time.monotonic() < ends_at:
            await asyncio.sleep(window)
            now = self.cpu_seconds()
            if now - last < window * QUIET_SHARE:
                return now
            last = now
        raise TimeoutError(f"{self.name} is still busy {limit:g} s after the last request")

    async def answers(self) -> None:
        """Wait until it answers.

        Raises:
            RuntimeError: it ended instead, or took too long.
        """
        ends_at = time.monotonic() + START_SECONDS
        while time.monotonic() < ends_at and self.process.poll() is None:
            with suppress(OSError, asyncio.IncompleteReadError):
                async with Connection(self.port) as connection:
                    await connection.request(get_request("/health"))
                    return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"{self.name} does not answer:\n{self.log.read_text(errors='replace')[-4000:]}")

    def kill(self) -> None:
        """End it at once, with whatever it is still doing."""
        self.process.kill()
        self.process.wait()


class Rig:
    """Starts the stub and servers, each in a folder of its own; all end when the rig is left.

    Args:
        chunks: how many events with content a streamed answer of the model has.
    """

    def __init__(self, *, chunks: int = 64) -> None:
        self._chunks = chunks
        self._ending = ExitStack()
        self._pinned = len(os.sched_getaffinity(0)) > 1
        self._stub: Server | None = None

    async def __aenter__(self) -> Self:
        self._folder = Path(self._ending.enter_context(tempfile.TemporaryDirectory()))
        if self._pinned:
            os.sched_setaffinity(0, {CLIENT_CORE})
        try:
            self._stub = await self._start("fast_stub", CLIENT_CORE, ["--chunks", str(self._chunks)])
        except BaseException:
            self._ending.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()

    async def serve(self, app: str, *, hooks: int = 0, hook_seconds: float = 0.0, history: int = 0) -> Server:
        """Start `floor` or `hookline`, as `benchmarks.served.Options` says."""
        assert self._stub is not None
        model_url = f"http://127.0.0.1:{self._stub.port}/v1"
        options = ["--model-url", model_url, "--hooks", hooks, "--hook-seconds", hook_seconds, "--history", history]
        return await self._start(f"{app}_app", SERVER_CORE, [str(option) for option in options])

    async def _start(self, module: str, core: int, arguments: list[str]) -> Server:
        server = self._spawn(module, arguments)
        self._ending.callback(server.kill)
        if self._pinned:
            os.sched_setaffinity(server.process.pid, {core})
        await server.answers()
        return server

    def _spawn(self, module: str, arguments: list[str]) -> Server:
        port = _free_port()
        folder = Path(tempfile.mkdtemp(prefix=f"{module}-", dir=self._folder))
        log = folder / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"benchmarks.{module}", "--port", str(port), *arguments],
                cwd=folder,
                env=_environment(),
                stdout=output,
                stderr=output,
            )
        return Server(module.removesuffix("_app"), process, port, log)


def _environment() -> dict[str, str]:
    """This process's, without what would set up hookline or the client; `benchmarks` can be imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOOKLINE_", "OPENAI_"))}
    paths = [str(TESTS), *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
