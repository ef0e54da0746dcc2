"""Commands that read or mend a ledger make none where there is none."""

from __future__ import annotations

import os

import pytest

from command_line import CommandLine

COMMANDS = [
    ["deliveries", "list"],
    ["deliveries", "show", "x"],
    ["deliveries", "redrive", "x"],
    ["deliveries", "redrive", "--hook", "x"],
    ["deliveries", "discard", "x", "--reason", "y"],
    ["db", "prune", "--older-than", "1d"],
    ["db", "upgrade"],
    ["replays", "list"],
    ["replays", "cancel", "x"],
    ["replay", "write_report"],
    ["replay", "write_report", "--dry-run"],
    ["replay", "--resume", "x"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_ledger_of_an_app_must_be_there(hookline: CommandLine, app: str, command: list[str]) -> None:
    done = hookline(*command, "--app", app)

    assert done.status == 1
    file = hookline.directory / "ledger.db"
    assert done.error == (
        f"Error: there is no ledger {file}, which {app} names: is this the directory it is served in?"
    )
    assert not file.exists()


def test_a_url_makes_no_ledger_either(hookline: CommandLine) -> None:
    done = hookline("deliveries", "list", "--db", "sqlite:///typo.db")

    assert (done.status, done.error) == (1, "Error: there is no ledger sqlite:///typo.db")
    assert os.listdir(hookline.directory) == []


def test_a_run_may_make_its_ledger(hookline: CommandLine, app: str) -> None:
    assert hookline("run", "a", "hello", "--app", app).status == 0
    assert len(hookline("deliveries", "list", "--app", app, "--json").json["items"]) == 1
