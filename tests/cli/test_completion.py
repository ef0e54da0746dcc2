"""`hookline completion`, and what the shells then ask."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from command_line import CommandLine
from fake_distributions import FakeSite


def completed(hookline: CommandLine, line: str) -> list[str]:
    """What bash would offer for the last word of a line."""
    words = line.split(" ")
    hookline.env.update(_HOOKLINE_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    done = hookline()
    assert done.status == 0
    assert done.stderr == ""
    return [item.partition(",")[2] for item in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_hookline(hookline: CommandLine, shell: str) -> None:
    done = hookline("completion", shell)

    assert done.status == 0
    assert f"_HOOKLINE_COMPLETE={shell}_complete" in done.stdout


def test_an_unknown_shell_is_a_usage_error(hookline: CommandLine) -> None:
    done = hookline("completion", "tcsh")

    assert done.status == 2
    assert "'bash', 'zsh', 'fish'" in done.stderr


def test_commands_and_options_are_completed(hookline: CommandLine, site: FakeSite) -> None:
    site.install(
        "x",
        "import click\nfrom hookline import hookimpl\n@click.command()\ndef docs(): ...\n"
        "@hookimpl\ndef commands():\n    return [docs]\n",
    )

    assert completed(hookline, "hookline do") == ["docs", "doctor"]
    assert completed(hookline, "hookline deliveries re") == ["redrive"]
    assert completed(hookline, "hookline deliveries list --st") == ["--status"]
    assert "dead" in completed(hookline, "hookline deliveries list --status d")


def test_completing_prints_no_warning(hookline: CommandLine, site: FakeSite) -> None:
    site.install("x", "raise RuntimeError('broken')")
    assert completed(hookline, "hookline ser") == ["serve"]

    hookline.write("hookline.toml", "databse = 'x'\n")
    assert completed(hookline, "hookline ser") == ["serve"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_takes_the_script(hookline: CommandLine) -> None:
    hookline.write("script", hookline("completion", "bash").stdout)
    hookline.write("hookline", f'#!/bin/sh\nexec "{sys.executable}" -m hookline "$@"\n')
    (hookline.directory / "hookline").chmod(0o755)

    asked = subprocess.run(
        [
            "bash",
            "--norc",
            "-c",
            "source ./script; COMP_WORDS=(hookline comp); COMP_CWORD=1; "
            '_hookline_completion ./hookline; echo "${COMPREPLY[@]}"',
        ],
        cwd=hookline.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert asked.stdout == "completion\n"
