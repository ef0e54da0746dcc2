"""Wheels and environments, made once in a test session."""

from __future__ import annotations

from pathlib import Path

import pytest

from package.broken_plugins import BROKEN
from package.installed import PROJECT, Environment, build_wheel, once, only_wheel, write_app


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of hookline."""
    return only_wheel(once(tmp_path_factory, "wheel", lambda folder: build_wheel(PROJECT, folder)))


@pytest.fixture(scope="session")
def wordguard_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the example of a plugin."""
    project = PROJECT / "examples" / "third_party_plugin"
    return only_wheel(once(tmp_path_factory, "wordguard", lambda folder: build_wheel(project, folder)))


@pytest.fixture(scope="session")
def environment(wheel: Path, wordguard_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with hookline, the example of a plugin (and what its tests need), and every broken plugin."""

    def make(folder: Path) -> None:
        broken = [each.write(folder) for each in BROKEN]
        Environment.create(folder / "venv", wheel, f"hookline-wordguard[test] @ {wordguard_wheel.as_uri()}", *broken)

    return Environment(once(tmp_path_factory, "environment", make) / "venv")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with an app; `write_app` gives it settings in code."""
    write_app(tmp_path)
    return tmp_path
