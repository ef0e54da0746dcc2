"""The command line, and a small app for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import CommandLine
from fake_distributions import FakeSite

APP = """
from hookline import Agent, AgentOS, guardrail, hook
from hookline_demo import DemoModel
from hookline_sql import SqliteDb


@guardrail
def be_polite(run_input): ...


@hook(run_in_background=True, timeout=7, retries=1)
def write_report(run_output): ...


def log_run(run_output): ...


agent = Agent("a", model=DemoModel(), db=SqliteDb("ledger.db"), pre_hooks=[be_polite],
              post_hooks=[write_report, log_run])
agent_os = AgentOS("os", agents=[agent])
something_else = 7


def __getattr__(name):
    if name == "app":
        return agent_os.get_app()
    raise AttributeError(name)
"""


@pytest.fixture
def hookline(tmp_path: Path) -> CommandLine:
    """`hookline` in an empty directory."""
    directory = tmp_path / "work"
    directory.mkdir()
    return CommandLine(directory)


@pytest.fixture
def app(hookline: CommandLine) -> str:
    """The name of an AgentOS in that directory."""
    hookline.write("app.py", APP)
    return "app:agent_os"


@pytest.fixture
def site(tmp_path: Path, hookline: CommandLine) -> FakeSite:
    """A folder on the path of `hookline`."""
    folder = tmp_path / "site"
    folder.mkdir()
    hookline.env["PYTHONPATH"] = str(folder)
    return FakeSite(folder)
