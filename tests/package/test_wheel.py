"""The wheel: what is in it, and that it works in a fresh virtual environment, from an empty directory."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

import pytest

from package.installed import PROJECT, Environment, run

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

PACKAGES = {"hookline", *(path.parent.name for path in PROJECT.glob("plugins/*/__init__.py"))}
BUNDLED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["entry-points"]["hookline"]


def test_it_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == PACKAGES
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    assert any(name.startswith("hookline_sql/migrations/") and name.endswith(".py") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".db")]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_neither_core_nor_plugins_is_a_package() -> None:
    assert not (PROJECT / "core" / "__init__.py").exists()
    assert not (PROJECT / "plugins" / "__init__.py").exists()


def test_it_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    fresh = Environment.create(tmp_path / "venv", wheel)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    listed = fresh.plugins(elsewhere)
    states = {item["name"]: item["state"] for item in listed}
    assert {"demo", "fastapi", "openai", "sql"} <= BUNDLED.keys()
    assert states == dict.fromkeys(BUNDLED, "active")
    assert {item["distribution"] for item in listed} == {"hookline"}

    agent = "from hookline import Agent; from hookline_demo import DemoModel; from hookline_sql import SqliteDb; "
    ask = "print(Agent('a', model=DemoModel(), db=SqliteDb(db_file='deep/down/a.db')).run('hello').status)"
    assert run(fresh.python, "-c", agent + ask, cwd=elsewhere).strip() == "completed"
    assert (elsewhere / "deep" / "down" / "a.db").exists()
