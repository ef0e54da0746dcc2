"""`hookline demo`: an agent without a key, whose hooks survive a `kill -9`."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import click

from hookline.agent import Agent
from hookline.agent_os import AgentOS
from hookline.cli.address import find_address_trouble
from hookline.cli.ledger_file import find_ledger_trouble
from hookline.cli.trouble import stop_for
from hookline.hooks import hook
from hookline.hookspecs import hookimpl
from hookline.runs import RunOutput

REPORT_SECONDS = 5.0


def _say(run_id: str, text: str) -> None:
    now = datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
    click.echo(f"{now}  run {run_id[:8]}  {text}")


def roll_a_die(sides: int = 6) -> int:
    """Roll a die and tell what it shows."""
    return random.randint(1, sides)  # noqa: S311 - a toy


def count_words(run_output: RunOutput) -> None:
    """Before the response."""
    words = len(str(run_output.content).split())
    _say(run_output.run_id, f"count_words (inline): {words} words; now the response is sent")


@hook(run_in_background=True)
async def write_log(run_output: RunOutput) -> None:
    """After the response, first."""
    _say(run_output.run_id, f"write_log (background): the run took {run_output.metrics.duration or 0:.3f} s")


@hook(run_in_background=True)
async def send_report(run_output: RunOutput) -> None:
    """After the response, second: slow enough to be killed in the middle."""
    _say(run_output.run_id, f"send_report (background): begins, and takes {REPORT_SECONDS:g} s")
    await asyncio.sleep(REPORT_SECONDS)
    _say(run_output.run_id, "send_report (background): done")


class Welcome:
    """A plugin given in code: it says what to do once the server is about to listen."""

    plugin_name = "welcome"

    def __init__(self, url: str) -> None:
        self._url = url

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, agent_os: AgentOS) -> AsyncIterator[None]:
        """Print the first lines."""
        click.echo(_welcome(self._url, agent_os.storage.description, os.getpid()))
        yield


def _welcome(url: str, ledger: str, pid: int) -> str:
    return f"""
hookline demo: the agent `demo` at {url}, its ledger is {ledger}

  1. Run the agent: the answer comes at once, send_report takes {REPORT_SECONDS:g} s more.

       curl {url}/agents/demo/runs -F message="roll a die" -F stream=false

  2. While send_report waits, kill the server:

       kill -9 {pid}

  3. Start it again in this directory, with the same command: send_report runs, nothing is lost.

Streaming:   curl -N {url}/agents/demo/runs -F message="roll a die" -F stream=true
Deliveries:  curl {url}/deliveries
The API:     {url}/docs
"""


def make_demo(url: str) -> AgentOS:
    """The demo's AgentOS; its model and its ledger come from plugins, by name."""
    agent = Agent(
        "demo",
        name="Demo",
        model="demo:demo",
        instructions="Repeat what the user says; roll a die when asked to.",
        tools=[roll_a_die],
        post_hooks=[count_words, write_log, send_report],
    )
    return AgentOS("demo", agents=[agent], plugins=[Welcome(url)])


@click.command()
@click.option("--port", default=7777, show_default=True, type=click.IntRange(1, 65_535), help="The port to listen on.")
def demo(port: int) -> None:
    """Serve a demo agent that needs no key; its ledger is hookline.db in this directory."""
    agent_os = make_demo(f"http://127.0.0.1:{port}").load()
    stop_for(find_address_trouble("127.0.0.1", port))
    stop_for(find_ledger_trouble(agent_os.database))
    agent_os.serve(agent_os.get_app(), port=port)
