"""`hookline replay`, `hookline replays` and the commands on many deliveries, on a real ledger."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from command_line import CommandLine
from server_process import wait_until

APP = """
import json
import os

from hookline import Agent, AgentOS, Delivery, RunOutput, hook
from hookline.testing import ScriptedModel
from hookline_sql import SqliteDb


@hook(run_in_background=True, name="evaluate", retries=0)
def evaluate(run_output: RunOutput, delivery: Delivery) -> None:
    with open("calls.txt", "a") as file:
        print(run_output.run_id, delivery.replay_id, file=file)
    if os.path.exists("broken"):
        raise RuntimeError("broken on purpose")


@hook(name="inline")
def inline() -> None: ...


agent = Agent("a", model=ScriptedModel("fine", repeat=True), post_hooks=[evaluate, inline])
agent_os = AgentOS(agents=[agent], db=SqliteDb("hookline.db"))
"""


@pytest.fixture
def app(hookline: CommandLine) -> CommandLine:
    """The command line in a directory with an app that has made three runs."""
    (hookline.directory / "app.py").write_text(APP)
    hookline.env["HOOKLINE_APP"] = "app:agent_os"
    for _ in range(3):
        assert hookline("run", "a", "hello").status == 0
    return hookline


def calls(app: CommandLine) -> list[list[str]]:
    """The run and the replay of each call."""
    return [line.split() for line in (app.directory / "calls.txt").read_text().splitlines()]


def test_replay_runs_the_hook_over_stored_runs(app: CommandLine) -> None:
    dry = app("replay", "evaluate", "--dry-run", "--json").json
    assert (dry["replay_id"], dry["status"], dry["matched"]) == (None, "planned", 3)
    done = app("replay", "evaluate", "--since", "1h", "--json")
    assert done.status == 0, done.stderr
    replay = done.json
    assert (replay["status"], replay["made"], replay["delivered"]) == ("completed", 3, 3)
    assert [found for _, found in calls(app)] == ["None"] * 3 + [replay["replay_id"]] * 3
    assert {run for run, _ in calls(app)[:3]} == {run for run, _ in calls(app)[3:]}
    assert app("replays", "list", "--json").json["items"] == [replay]
    assert app("replays", "cancel", replay["replay_id"]).error.endswith("is completed: it has ended")
    listed = app("deliveries", "list", "--replay", replay["replay_id"], "--json").json["items"]
    assert len(listed) == 3
    assert app("replay", "evaluate", "--until", "1h", "--json").json["matched"] == 0


def test_replay_whose_hook_fails_says_so(app: CommandLine) -> None:
    (app.directory / "broken").touch()
    done = app("replay", "evaluate")
    assert done.status == 1
    assert "3 of its deliveries are dead" in done.stderr
    (app.directory / "broken").unlink()
    counted = app("deliveries", "redrive", "--hook", "evaluate", "--dry-run")
    assert counted.stdout == "3 would be redriven\n"
    assert app("deliveries", "redrive", "--hook", "evaluate", "--limit", "2", "--json").json["redriven"] == 2
    gone = app("deliveries", "discard", "--hook", "evaluate", "--reason", "enough", "--older-than", "0s")
    assert gone.stdout == "2 discarded\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evaluat"], "did you mean 'evaluate'?"),
        (["inline"], "only background hooks can be replayed"),
        (["evaluate", "--runnable", "b"], "there is no agent 'b'"),
        (["evaluate", "--phase", "pre"], "there is no pre-hook 'evaluate'"),
        (["evaluate", "--since", "99999999d"], "since is no instant in the years 1 to 9999"),
        (["--resume", "x"], "there is no replay x"),
    ],
)
def test_mistakes_are_one_line(app: CommandLine, arguments: list[str], told: str) -> None:
    assert told in app("replay", *arguments).error


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["evaluate", "--resume", "x"],
        ["--resume", "x", "--since", "1h"],
        ["evaluate", "--since", "yesterday"],
        ["evaluate", "--max-per-second", "0"],
    ],
)
def test_usage(app: CommandLine, arguments: list[str]) -> None:
    assert app("replay", *arguments).status == 2


def test_interrupted_replay_goes_on(app: CommandLine) -> None:
    with app.begin("replay", "evaluate", "--max-per-second", "0.001") as process:
        wait_until(lambda: len(calls(app)) == 4)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
        _, told = process.communicate()
    replay_id = app("replays", "list", "--status", "paused", "--json").json["items"][0]["replay_id"]
    assert f"hookline replay --resume {replay_id}" in told
    assert f"hookline replays cancel {replay_id}" in told
    _lift_the_limit(app.directory / "hookline.db")
    done = app("replay", "--resume", replay_id, "--json").json
    assert (done["status"], done["made"], done["delivered"]) == ("completed", 3, 3)
    assert len(calls(app)) == 6


def _lift_the_limit(ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("UPDATE hookline_replays SET max_per_second = NULL, next_at = 0")
        connection.commit()


def test_prune_and_upgrade(app: CommandLine) -> None:
    def prune(*arguments: str) -> Any:
        return json.loads(app("db", "prune", *arguments, "--json").stdout)

    assert prune() == {"deliveries": 0, "runs": 0, "sessions": 0, "dry_run": False}
    assert prune("--older-than", "0s", "--dry-run") == {"deliveries": 3, "runs": 0, "sessions": 0, "dry_run": True}
    assert prune("--older-than", "0s")["deliveries"] == 3
    assert prune("--runs-older-than", "0s") == {"deliveries": 0, "runs": 3, "sessions": 3, "dry_run": False}
    assert "is up to date: revision" in app("db", "upgrade").stdout
    assert app("db", "prune", "--older-than", "soon").status == 2
