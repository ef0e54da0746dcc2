"""`hookline deliveries` on a real ledger."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_line import CommandLine
from hookline import Agent, AgentOS, RunOutput, Settings, hook
from hookline.testing import ScriptedModel
from hookline_sql import SqliteDb


@hook(run_in_background=True, retries=0)
def send_report(run_output: RunOutput) -> None:
    raise RuntimeError(f"the printer [{run_output.content}] is on fire")


@hook(run_in_background=True)
def write_log(run_output: RunOutput) -> None: ...


async def serve_runs(ledger: Path, count: int, hooks: list[Callable[..., Any]]) -> None:
    """Make runs and wait until their deliveries are done."""
    agent = Agent("a", model=ScriptedModel("red", repeat=True), post_hooks=hooks)
    agent_os = AgentOS(agents=[agent], db=SqliteDb(ledger), settings=Settings(plugins=[])).load()
    async with agent_os.lifespan():
        for _ in range(count):
            run = agent_os.start_run(agent, "hello")
            await run.finished()
            run.hand_over()
            await agent_os.drain()


@pytest.fixture
def ledger(hookline: CommandLine) -> Path:
    """A ledger with one dead delivery and one that is delivered."""
    path = hookline.directory / "ledger.db"
    asyncio.run(serve_runs(path, 1, [send_report, write_log]))
    return path


def listed(hookline: CommandLine, *arguments: str) -> list[dict[str, Any]]:
    done = hookline("deliveries", "list", "--json", *arguments)
    assert done.status == 0, done.stderr
    items: list[dict[str, Any]] = done.json["items"]
    return items


@pytest.fixture
def dead(hookline: CommandLine, ledger: Path) -> str:
    """The id of the dead delivery."""
    (item,) = listed(hookline, "--db", str(ledger), "--status", "dead")
    delivery_id: str = item["delivery_id"]
    return delivery_id


def test_filters_choose(hookline: CommandLine, ledger: Path) -> None:
    every = listed(hookline, "--db", "ledger.db")

    assert {(item["hook"], item["status"]) for item in every} == {("send_report", "dead"), ("write_log", "delivered")}
    assert every[0].keys() == {
        *("delivery_id", "run_id", "runnable", "phase", "hook", "position", "status"),
        *("attempt_count", "max_attempts", "due_at", "last_error", "replay_id"),
    }
    assert [item["hook"] for item in listed(hookline, "--db", "ledger.db", "--hook", "write_log")] == ["write_log"]
    assert len(listed(hookline, "--db", "ledger.db", "--run", every[0]["run_id"])) == 2
    assert listed(hookline, "--db", "ledger.db", "--run", str(uuid.uuid4())) == []
    assert hookline("deliveries", "list", "--db", "ledger.db", "--status", "lost").status == 2


def test_pages_follow_the_cursor(hookline: CommandLine, ledger: Path) -> None:
    first = hookline("deliveries", "list", "--db", "ledger.db", "--limit", "1", "--json").json
    second = hookline(
        "deliveries", "list", "--db", "ledger.db", "--limit", "1", "--json", "--cursor", first["next_cursor"]
    ).json

    assert first["items"][0]["delivery_id"] != second["items"][0]["delivery_id"]
    assert second["next_cursor"] is None
    assert first["next_cursor"] in hookline("deliveries", "list", "--db", "ledger.db", "--limit", "1").stdout
    wrong = hookline("deliveries", "list", "--db", "ledger.db", "--cursor", "nonsense")
    assert wrong.status == 2
    assert "--cursor" in wrong.stderr


def test_the_table_cuts_nothing_off_in_a_pipe(hookline: CommandLine, ledger: Path, dead: str) -> None:
    table = hookline("deliveries", "list", "--db", "ledger.db").stdout

    line = next(line for line in table.splitlines() if line.startswith(dead))
    assert line.rstrip().endswith("the printer [red] is on fire")


def test_show_prints_attempts_with_tracebacks(hookline: CommandLine, dead: str) -> None:
    text = hookline("deliveries", "show", dead, "--db", "ledger.db").stdout
    data = hookline("deliveries", "show", dead, "--db", "ledger.db", "--json").json

    assert f"delivery_id     {dead}" in text
    assert "attempt 1: failed after" in text
    assert "Traceback (most recent call last)" in text
    assert "RuntimeError: the printer [red] is on fire" in text
    assert data["status"] == "dead"
    assert [attempt["error"]["type"] for attempt in data["attempts"]] == ["RuntimeError"]


def test_redrive_and_discard(hookline: CommandLine, dead: str) -> None:
    redriven = hookline("deliveries", "redrive", dead, "--db", "ledger.db", "--json")
    again = hookline("deliveries", "redrive", dead, "--db", "ledger.db")
    unreasoned = hookline("deliveries", "discard", dead, "--db", "ledger.db")
    discarded = hookline("deliveries", "discard", dead, "--db", "ledger.db", "--reason", "no printer any more")
    shown = hookline("deliveries", "show", dead, "--db", "ledger.db", "--json")
    late = hookline("deliveries", "discard", dead, "--db", "ledger.db", "--reason", "again")

    assert redriven.json["status"] == "pending"
    assert (again.status, unreasoned.status, late.status) == (1, 2, 1)
    assert again.error == f"Error: delivery {dead} is pending: only a dead or parked one can be redriven"
    assert "status         discarded" in discarded.stdout
    assert shown.json["discard_reason"] == "no printer any more"
    assert "is discarded" in late.error


def test_an_unknown_delivery_is_one_line(hookline: CommandLine, ledger: Path) -> None:
    for action in (["show", "x"], ["redrive", "x"], ["discard", "x", "--reason", "y"]):
        done = hookline("deliveries", *action, "--db", "ledger.db")
        assert done.status == 1
        assert "there is no delivery x in sqlite:///" in done.error


def test_the_ledger_is_that_of_the_app_the_settings_or_a_url(hookline: CommandLine, app: str, ledger: Path) -> None:
    assert len(listed(hookline, "--app", app)) == 2
    assert len(listed(hookline, "--db", f"sqlite:///{ledger}")) == 2
    assert hookline("deliveries", "list", "--app", app, "--db", "ledger.db").status == 2
    hookline.env = {"HOOKLINE_DATABASE": "ledger.db"}
    assert len(listed(hookline)) == 2
    hookline.env = {"HOOKLINE_APP": "no_such_module:agent_os"}
    assert len(listed(hookline, "--db", "ledger.db")) == 2


def test_no_ledger_is_made_by_looking(hookline: CommandLine) -> None:
    missing = hookline("deliveries", "list", "--db", "typo.db")
    default = hookline("deliveries", "list")

    assert (missing.status, default.status) == (1, 1)
    assert missing.error == "Error: there is no ledger typo.db"
    assert "there is no ledger hookline.db; name another one with --db FILE" in default.error
    assert os.listdir(hookline.directory) == []


def test_a_file_that_is_no_database_is_one_line(hookline: CommandLine) -> None:
    hookline.write("text.db", "this is no database, only some text that is long enough to be read as one\n" * 20)

    done = hookline("deliveries", "list", "--db", "text.db")

    assert done.status == 1
    assert "text.db" in done.error
