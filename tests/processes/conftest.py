"""Servers and the stub for the process tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from server_process import Serve, ServerProcess
from stub_openai import StubProcess


@pytest.fixture
def stub() -> Iterator[StubProcess]:
    """The model's far end."""
    with StubProcess() as process:
        yield process


@pytest.fixture
def serve(tmp_path: Path, stub: StubProcess) -> Iterator[Serve]:
    """Start the served app with a preset of hooks; more of its environment by keyword."""
    with ExitStack() as stack:

        def start(hooks: str = "none", **env: str) -> ServerProcess:
            settings = {"STUB_URL": stub.base_url, "HOOKS": hooks, "HOOKLINE_SHUTDOWN_TIMEOUT": "2", **env}
            return stack.enter_context(ServerProcess(tmp_path, env=settings))

        yield start
