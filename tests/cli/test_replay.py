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

from hookline import Agent, AgentOS, Delivery, RunOutput, guardrail, hook
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


@guardrail
def judge() -> None: ...


@hook(run_in_background=True)
def early() -> None: ...


agent = Agent("a", model=ScriptedModel("fine", repeat=True), pre_hooks=[judge, early],
              post_hooks=[evaluate, inline])
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
        (["early"], "there is no post-hook 'early', but a pre-hook: say phase=pre (--phase pre)"),
        (["judge"], "'judge' is a guardrail of 'a': it judges runs only while they run"),
        (["zzz"], "there is no post-hook 'zzz': there is evaluate"),
        (["zzz", "--phase", "pre"], "there is no pre-hook 'zzz': there is early"),
        (["evaluat"], "did you mean 'evaluate'?"),
        (["inline"], "only background hooks can be replayed"),
        (["evaluate", "--runnable", "b"], "there is no agent 'b'"),
        (["evaluate", "--phase", "pre"], "there is no pre-hook 'evaluate', but a post-hook: say phase=post"),
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
        ["--resume", "x", "--again"],
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
        assert process.wait(30) == 130
        _, told = process.communicate()
    assert "Aborted" not in told
    replay_id = app("replays", "list", "--status", "paused", "--json").json["items"][0]["replay_id"]
    assert f"hookline replay --resume {replay_id}" in told
    assert f"hookline replays cancel {replay_id}" in told
    _change(app.directory / "hookline.db", "max_per_second = NULL, next_at = 0")
    done = app("replay", "--resume", replay_id, "--json").json
    assert (done["status"], done["made"], done["delivered"]) == ("completed", 3, 3)
    assert len(calls(app)) == 6


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_second_replay_of_a_hook_must_be_meant(app: CommandLine, status: str) -> None:
    first = app("replay", "evaluate", "--json").json["replay_id"]
    _change(app.directory / "hookline.db", f"status = '{status}'")
    told = (
        f"replay {first} of this hook is {status}: go on with --resume {first}, "
        f"cancel it (hookline replays cancel {first}), or say --again"
    )

    assert app("replay", "evaluate").error == f"Error: {told}"
    counted = app("replay", "evaluate", "--dry-run", "--json")
    assert (counted.status, counted.json["matched"], counted.stderr) == (0, 3, f"Note: {told}\n")
    assert app("replay", "early", "--phase", "pre").status == 0
    again = app("replay", "evaluate", "--again", "--json").json
    assert again["replay_id"] != first
    assert again["delivered"] == 3


def test_runs_are_chosen_by_status(app: CommandLine) -> None:
    assert app("replay", "evaluate", "--status", "rejected", "--dry-run", "--json").json["matched"] == 0
    both = app("replay", "evaluate", "--status", "rejected", "--status", "completed", "--dry-run", "--json")
    assert (both.json["matched"], both.json["statuses"]) == (3, ["completed", "rejected"])


def _change(ledger: Path, values: str) -> None:
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute(f"UPDATE hookline_replays SET {values}")  # noqa: S608 - the test's own text
        connection.commit()


def test_prune_and_upgrade(app: CommandLine) -> None:
    def prune(*arguments: str) -> Any:
        return json.loads(app("db", "prune", *arguments, "--json").stdout)

    assert prune() == {"deliveries": 0, "runs": 0, "sessions": 0, "dry_run": False}
    assert prune("--older-than", "0s", "--dry-run") == {"deliveries": 6, "runs": 0, "sessions": 0, "dry_run": True}
    assert prune("--older-than", "0s")["deliveries"] == 6
    assert prune("--runs-older-than", "0s") == {"deliveries": 0, "runs": 3, "sessions": 3, "dry_run": False}
    assert "is up to date: revision" in app("db", "upgrade").stdout
    assert app("db", "prune", "--older-than", "soon").status == 2
