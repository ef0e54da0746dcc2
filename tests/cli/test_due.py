"""`hookline run` and `hookline replay` execute what else is due: they say so before."""

from __future__ import annotations

import pytest

from command_line import CommandLine
from server_process import ServerProcess

pytestmark = pytest.mark.process

APP = """
import os
from contextlib import asynccontextmanager

from hookline import Agent, AgentOS, hook, hookimpl
from hookline_demo import DemoModel
from hookline_sql import SqliteDb


@hook(run_in_background=True, retries=0)
def report(run_output):
    if os.path.exists("broken"):
        raise RuntimeError("broken on purpose")
    open("reported", "a").close()


@hook(run_in_background=True)
def evaluate(run_output): ...


class Told:
    plugin_name = "told"

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, agent_os):
        open("opened", "a").close()
        yield


agent = Agent("a", model=DemoModel(), db=SqliteDb("ledger.db"), post_hooks=[report, evaluate])
agent_os = AgentOS(agents=[agent], plugins=[Told()])
"""


@pytest.fixture
def due(hookline: CommandLine) -> CommandLine:
    """A directory with an app in whose ledger one delivery is due, of the hook `report`."""
    hookline.write("app.py", APP)
    hookline.write("broken", "")
    hookline.env["HOOKLINE_APP"] = "app:agent_os"
    assert hookline("run", "a", "hello").status == 0
    for name in ("broken", "opened"):
        (hookline.directory / name).unlink()
    assert hookline("deliveries", "redrive", "--hook", "report").stdout == "1 redriven\n"
    return hookline


def test_counting_opens_nothing(due: CommandLine) -> None:
    counted = due("replay", "evaluate", "--dry-run", "--json")
    unknown = due("replay", "--resume", "x")

    assert (counted.json["matched"], counted.stderr) == (1, "")
    assert "there is no replay x" in unknown.error
    for name in ("opened", "reported"):
        assert not (due.directory / name).exists()


@pytest.mark.parametrize("command", [["run", "a", "hello"], ["replay", "evaluate"]])
def test_what_else_is_executed_is_said(due: CommandLine, command: list[str]) -> None:
    first, second = due(*command), due(*command)

    assert (first.status, first.stderr) == (0, "1 other delivery is due and runs here, too\n")
    assert (due.directory / "reported").exists()
    assert (second.status, second.stderr) == (0, "")


@pytest.mark.parametrize("command", [["run", "a", "hello"], ["replay", "evaluate"]])
def test_a_server_beside_it_is_nothing_to_warn_of(due: CommandLine, command: list[str]) -> None:
    arguments = ["-m", "hookline", "serve", "app:agent_os", "--port"]
    process = ServerProcess(due.directory, arguments=arguments)
    arguments.append(str(process.port))
    with process as served:
        served.wait_delivered(served.post_run().raise_for_status().json()["run_id"])

        done = due(*command)

        assert (done.status, done.stderr) == (0, "")
        assert served.terminate() == 0
