"""Mistakes of the person who writes the app: each stops the start with one line that names the culprit and the mend."""

from __future__ import annotations

import pytest

from command_line import CommandLine

pytestmark = pytest.mark.process

HEAD = """
from hookline import Agent, AgentOS, guardrail, hook
from hookline_demo import DemoModel
from hookline_sql import SqliteDb


def agent(id, **options):
    return Agent(id, model=DemoModel(), **options)


def audit(): ...


def wants(banana): ...


"""
LATE = """
@hook(run_in_background=True)
@guardrail
def late(run_input): ...


"""

MISTAKES = {
    "agents=[agent('twin'), agent('twin')]": ("'twin'", "give one of them another id"),
    "agents=[agent('a', pre_hooks=[wants])]": ("pre-hook of agent 'a': 'wants'", "or give it a default"),
    "agents=[agent('a', pre_hooks=[late])]": ("'late' is a guardrail", "drop one of the two marks"),
    "agents=[agent('a', db=SqliteDb('one.db')), agent('b', db=SqliteDb('two.db'))]": ("two.db (agent 'b')", "keep one"),
    "agents=[agent('a', post_hooks=[audit])], post_hooks=[audit]": ("'audit'", "with @hook(name=...)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_at_the_start(hookline: CommandLine, mistake: str) -> None:
    culprit, mend = MISTAKES[mistake]
    marked_twice = LATE if "late" in mistake else ""
    hookline.write("app.py", f"{HEAD}{marked_twice}agent_os = AgentOS({mistake})\n")
    done = hookline("serve", "app:agent_os", "--port", "0")
    assert done.status == 1
    assert culprit in done.error
    assert done.error.endswith(mend)
