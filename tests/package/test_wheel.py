"""The wheel: what is in it, and that it works in a fresh virtual environment, from an empty directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

PROJECT = Path(__file__).parents[2]
PACKAGES = {"hookline", "hookline_fastapi", "hookline_sql", "hookline_openai", "hookline_demo"}


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HOOKLINE_", "PYTHON"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, PROJECT, cwd=out)
    [built] = out.glob("*.whl")
    return built


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
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    listing = json.loads(run(tmp_path / "venv" / "bin" / "hookline", "plugins", "--json", cwd=elsewhere))
    assert listing["next_cursor"] is None
    states = {item["name"]: item["state"] for item in listing["items"]}
    assert states == {"demo": "active", "fastapi": "active", "openai": "active", "sql": "active"}
    assert {item["distribution"] for item in listing["items"]} == {"hookline"}

    agent = "from hookline import Agent; from hookline_demo import DemoModel; from hookline_sql import SqliteDb; "
    ask = "print(Agent('a', model=DemoModel(), db=SqliteDb(db_file='deep/down/a.db')).run('hello').status)"
    assert run(python, "-c", agent + ask, cwd=elsewhere).strip() == "completed"
    assert (elsewhere / "deep" / "down" / "a.db").exists()
