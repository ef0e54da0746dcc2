"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A machine that is busy with other things makes no input wrong.
settings.register_profile("hookline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hookline")


STARTS_PROCESSES = {"crasher", "hookline", "project"}
"""Fixtures whose tests run a command, pytest itself or what is to crash as a process of its own."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts processes also where only a fixture does it: one interpreter is enough for these."""
    for item in items:
        if STARTS_PROCESSES & set(getattr(item, "fixturenames", ())):
            item.add_marker("process")


@pytest.fixture
def anyio_backend() -> str:
    """hookline runs on asyncio, as uvicorn does."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the developer's own hookline.toml, hookline.db or environment."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HOOKLINE_APP", "HOOKLINE_PLUGINS", "HOOKLINE_DISABLE_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
