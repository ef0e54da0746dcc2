"""Filters that let nothing through: is the name known at all?"""

from __future__ import annotations

import uuid

import pytest

from command_line import CommandLine


@pytest.fixture
def ledger(hookline: CommandLine, app: str) -> str:
    """The description of a ledger with one delivery, of the hook `write_report` of the agent `a`."""
    assert hookline("run", "a", "hello", "--app", app).status == 0
    return f"sqlite:///{hookline.directory / 'ledger.db'}"


def test_an_unknown_name_is_told_what_was_meant(hookline: CommandLine, ledger: str) -> None:
    done = hookline("deliveries", "list", "--db", "ledger.db", "--hook", "write_reprot", "--runnable", "b")

    assert (done.status, done.stdout) == (0, "no deliveries\n")
    assert done.stderr.splitlines() == [
        f"Warning: there is no hook 'write_reprot' in {ledger}; did you mean 'write_report'?",
        f"Warning: there is no runnable 'b' in {ledger}",
    ]


@pytest.mark.parametrize("arguments", [["redrive"], ["redrive", "--dry-run"], ["discard", "--reason", "y"]])
def test_mending_warns_too(hookline: CommandLine, ledger: str, arguments: list[str]) -> None:
    done = hookline("deliveries", *arguments, "--db", "ledger.db", "--hook", "write", "--json")

    assert (done.status, done.json["matched"]) == (0, 0)
    assert done.stderr == f"Warning: there is no hook 'write' in {ledger}\n"


@pytest.mark.parametrize("what", ["run", "replay"])
def test_an_unknown_id_is_said(hookline: CommandLine, ledger: str, what: str) -> None:
    unknown = str(uuid.uuid4())

    done = hookline("deliveries", "list", "--db", "ledger.db", f"--{what}", unknown)

    assert (done.status, done.stderr) == (0, f"Warning: there is no {what} {unknown} in {ledger}\n")


def test_what_is_known_is_no_mistake(hookline: CommandLine, app: str, ledger: str) -> None:
    for arguments in (["--hook", "write_report", "--runnable", "a", "--status", "dead"], ["--user", "nobody"]):
        done = hookline("deliveries", "list", "--db", "ledger.db", *arguments)
        assert (done.stdout, done.stderr) == ("no deliveries\n", "")
    with_app = hookline("deliveries", "list", "--app", app, "--hook", "log_run")
    assert (with_app.stdout, with_app.stderr) == ("no deliveries\n", "")
    near = hookline("deliveries", "list", "--app", app, "--hook", "log_ru")
    assert near.stderr.endswith("did you mean 'log_run'?\n")
