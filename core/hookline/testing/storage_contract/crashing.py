"""Processes that use a ledger and are killed.

`python -m hookline.testing.storage_contract.crashing` is a process that makes them: it reads what is to be done, one
line each, forks a process that does it and is killed at it, and writes a line when that one is gone. Forking saves each
of them the time to start. What the first one imported by opening the database is imported for the others, too.
"""

# ruff: noqa: S101, S603 - tests are made of assertions; the process is this interpreter

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import json
import os
import pickle
import signal
import subprocess
import sys
from types import TracebackType
from typing import Literal, NamedTuple, Self, get_args

from hookline.storage import Database
from hookline.testing.storage_contract.interrupted import OPERATIONS, prepare

Moment = Literal["before", "begun", "under way", "after"]
MOMENTS: tuple[Moment, ...] = get_args(Moment)

_DELAYS: dict[Moment, float] = {"begun": 0.0, "under way": 0.0005}
"""Seconds from the beginning of an operation to the kill."""


class Crash(NamedTuple):
    """What a process does: prepare the ledger, begin an operation, and die at some moment of it."""

    database: Database
    operation: str
    moment: Moment


class Crasher:
    """Makes processes that crash.

    Raises:
        RuntimeError: one could not do what it was told to.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            self._process.kill()

    def crash(self, crash: Crash) -> None:
        """Have a process do that, and wait until it is dead."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(base64.b64encode(pickle.dumps(crash)) + b"\n")
        stdin.flush()
        answer = stdout.readline().decode().strip()
        if answer != str(-signal.SIGKILL):
            raise RuntimeError(
                f"the process that was to be killed {crash.moment} {crash.operation} ended with {answer}"
            )


def _serve() -> None:
    for line in sys.stdin.buffer:
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(readable)
            _die(line, writable)
        os.close(writable)
        with os.fdopen(readable) as pipe:
            imported = pipe.read()
        _, status = os.waitpid(pid, 0)
        for name in json.loads(imported or "[]"):
            if name not in sys.modules:
                with contextlib.suppress(Exception):  # only to save time
                    importlib.import_module(name)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _die(line: bytes, writable: int) -> None:
    try:
        crash: Crash = pickle.loads(base64.b64decode(line))  # noqa: S301 - from the test itself
        asyncio.run(_crash(crash, writable))
    finally:
        sys.stderr.flush()
        os._exit(1)


async def _crash(crash: Crash, writable: int) -> None:
    storage = await asyncio.to_thread(crash.database.open)
    await prepare(storage)
    with os.fdopen(writable, "w") as pipe:
        json.dump(list(sys.modules), pipe)
    if crash.moment != "before":
        task = asyncio.ensure_future(OPERATIONS[crash.operation].operate(storage))
        if crash.moment == "after":
            await task
        else:
            await asyncio.sleep(_DELAYS[crash.moment])
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _serve()
