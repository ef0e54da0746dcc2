"""`hookline run`: one run of an agent in this process, with its hooks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from typing import Any, TextIO

import click

from hookline.agent_os import AgentOS
from hookline.cli.due import announce_due
from hookline.cli.loading import app_option, find_app, plugins_option, required_app
from hookline.cli.output import json_option, print_json
from hookline.deliveries import DeliveryStatus
from hookline.errors import ConfigurationError, HooklineError
from hookline.events import EventName
from hookline.execution.live_run import LiveRun
from hookline.ids import ID_ALPHABET, is_id
from hookline.plugins.checking import meant
from hookline.runnable import Runnable
from hookline.runs import RunOutput, RunStatus
from hookline.storage import DeliveryFilter

_MOST_NAMED = 200
_GIVEN_UP = frozenset({DeliveryStatus.DEAD, DeliveryStatus.DISCARDED, DeliveryStatus.PARKED})


@click.command()
@click.argument("agent")
@click.argument("message")
@click.option("--session", "session_id", metavar="ID", help="The session that the run belongs to; default: a new one.")
@click.option("--user", "user_id", metavar="ID", help="Whose run it is.")
@click.option("--stream", is_flag=True, help="Print the text as it comes.")
@app_option
@plugins_option
@json_option
def run(
    agent: str,
    message: str,
    session_id: str | None,
    user_id: str | None,
    stream: bool,
    reference: str | None,
    as_json: bool,
) -> None:
    """Run AGENT on MESSAGE, print what it says, and wait for its background hooks.

    What of them failed and is due again later is not waited for: it stays in the ledger, for a server to retry. What
    else is due in the ledger is executed here, too.

    A MESSAGE of - is read from standard input. With --json the run itself is printed, and what hooks print goes to
    standard error. The exit status is 0 only if the run is completed.
    """
    if as_json and stream:
        raise click.UsageError("give one of --stream and --json")
    app = required_app(reference)
    text = _text_of(message)
    # What comes of the run is said below; of an exception in somebody's code its traceback is wanted, too.
    logging.getLogger("hookline.runs").addFilter(lambda record: bool(record.exc_info))
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr if as_json else stdout):
        agent_os = find_app(app).agent_os.load()
        runnable = _find_runnable(agent_os, agent)
        _check_id("--session", session_id, agent_os.settings.max_id_length)
        _check_id("--user", user_id, agent_os.settings.max_id_length)
        shown = _Shown(stdout, as_json=as_json, stream=stream)
        announce_due(agent_os.database)
        output = asyncio.run(_run(agent_os, runnable, text, session_id, user_id, shown))
    if output.status is not RunStatus.COMPLETED:
        raise HooklineError(_outcome(output))


class _Shown:
    """Prints a run to people or to a program."""

    def __init__(self, out: TextIO, *, as_json: bool, stream: bool) -> None:
        self.stream = stream
        self._out = out
        self._as_json = as_json

    async def follow(self, live: LiveRun) -> RunOutput:
        """Print the run while it goes on, or when it has ended."""
        if self.stream:
            await self._print_text(live)
            return await live.finished()
        output = await live.finished()
        if self._as_json:
            print_json(output.to_dict(), file=self._out)
        elif isinstance(output.content, str):
            click.echo(output.content, file=self._out)
        elif output.content is not None:
            print_json(output.content, file=self._out)
        return output

    async def _print_text(self, live: LiveRun) -> None:
        began = False
        try:
            async for event in live.events():
                if event.event is EventName.RUN_CONTENT and event.content:
                    click.echo(event.content, nl=False, file=self._out)
                    began = True
        finally:
            if began:
                click.echo(file=self._out)


async def _run(
    agent_os: AgentOS, runnable: Runnable, text: str, session_id: str | None, user_id: str | None, shown: _Shown
) -> RunOutput:
    async with agent_os.lifespan():
        live = agent_os.start_run(runnable, text, session_id=session_id, user_id=user_id, stream=shown.stream)
        try:
            output = await shown.follow(live)
        finally:  # also when the user interrupts it
            live.cancel()
            live.hand_over()
        await agent_os.drain()
        await _warn_of_undelivered(agent_os, output.run_id)
        return output


async def _warn_of_undelivered(agent_os: AgentOS, run_id: str) -> None:
    page = await agent_os.storage.list_deliveries(DeliveryFilter(run_id=run_id), limit=_MOST_NAMED, cursor=None)
    given_up, left = [], []
    for delivery in (each.delivery for each in reversed(page.items)):
        if delivery.status in _GIVEN_UP:
            given_up.append(f"{delivery.hook} ({delivery.status})")
        elif delivery.status is not DeliveryStatus.DELIVERED:
            left.append(delivery.hook)
    for what, named in (("not delivered", given_up), ("left for a server to retry", left)):
        if named:
            click.echo(f"Warning: {what}: {', '.join(named)}: see hookline deliveries list --run {run_id}", err=True)


def _text_of(message: str) -> str:
    if message == "-":
        try:
            message = sys.stdin.read().removesuffix("\n")
        except UnicodeDecodeError as error:
            raise click.BadParameter(f"standard input is not {error.encoding}", param_hint="MESSAGE") from None
    if not message or message.isspace():
        raise click.BadParameter("must not be blank", param_hint="MESSAGE")
    return message


def _find_runnable(agent_os: AgentOS, id: str) -> Runnable:
    found = [runnable for runnable in agent_os.runnables.values() if runnable.id == id]
    if found:
        return found[0]
    ids = [runnable.id for runnable in agent_os.runnables.values()]
    raise ConfigurationError(f"there is no agent {id!r}{meant(id, ids)}: there is {', '.join(map(repr, ids))}")


def _check_id(option: str, value: str | None, longest: int) -> None:
    if value is None:
        return
    if len(value) > longest or not is_id(value):
        raise click.BadParameter(f"must be made of {ID_ALPHABET}, at most {longest}", param_hint=option)


def _outcome(output: RunOutput) -> str:
    why: list[Any] = [output.reason, output.error.message if output.error else None]
    return f"run {output.run_id} is {output.status}: {': '.join(filter(None, why)) or 'no reason given'}"
