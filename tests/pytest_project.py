"""Projects of people who test with hookline's fixtures: what the fixture `project` is, and an app for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Project = Callable[..., pytest.RunResult]
"""Writes the modules given as keywords, and runs a pytest of their own over them."""

APP = """
import asyncio
from hookline import Agent, AgentOS, Delivery, RunInput, hook
from hookline.testing import ScriptedModel
from hookline_sql import SqliteDb

@hook(run_in_background=True)
async def notify(delivery: Delivery):
    if delivery.attempt == 1:
        raise OSError("nobody there")

def look(run_input: RunInput): ...

agent = Agent(
    "support", model=ScriptedModel("fine", repeat=True), pre_hooks=[look], post_hooks=[notify],
    db=SqliteDb("production.db"),
)
agent_os = AgentOS(agents=[agent])
app = agent_os.get_app()

@app.get("/mine")
def mine():
    return {"mine": True}
"""
