"""`hookline replay` and `hookline replays`: a background hook over runs that are already stored."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import Any, get_args

import click

from hookline.agent_os import AgentOS
from hookline.cli.due import announce_due
from hookline.cli.ledgers import ask, find_ledger, given_on_command_line, ledger_options
from hookline.cli.loading import app_option, find_app, plugins_option, required_app
from hookline.cli.output import json_option, print_fields, print_json, print_listing
from hookline.cli.times import read_instant
from hookline.errors import ConfigurationError, HooklineError
from hookline.replays import PHASES, replay_document
from hookline.runs import FINISHED_STATUSES
from hookline.storage import ReplayRecord, ReplayStatus, Storage

_COLUMNS = {
    "REPLAY": "replay_id",
    "STATUS": "status",
    "HOOK": "hook",
    "RUNNABLES": "runnables",
    "MATCHED": "matched",
    "MADE": "made",
    "DELIVERED": "delivered",
    "DEAD": "dead",
    "CREATED": "created_at",
}
_LOOK_SECONDS = 0.2
_PAGE = 200
_INTERRUPTED = 130
"""The exit status of what SIGINT ended, as shells have it."""


@click.command()
@click.argument("hook", required=False)
@click.option(
    "--since", callback=read_instant, metavar="TIME", help="Runs that finished then or later: 24h, 2026-11-01."
)
@click.option("--until", callback=read_instant, metavar="TIME", help="Runs that finished before; default: now.")
@click.option("--runnable", "runnables", multiple=True, metavar="ID", help="Only runs of this agent; may be repeated.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(sorted(status.value for status in FINISHED_STATUSES)),
    help="Only runs that ended so; may be repeated. Default: those after which the hook is called anyway.",
)
@click.option("--phase", type=click.Choice(PHASES), default="post", show_default=True)
@click.option(
    "--max-per-second", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Not faster than this."
)
@click.option("--dry-run", is_flag=True, help="Only count the runs.")
@click.option("--again", is_flag=True, help="Also where another replay of this hook has not ended.")
@click.option("--resume", metavar="REPLAY_ID", help="Go on with a replay that was interrupted, instead of HOOK.")
@app_option
@plugins_option
@json_option
def replay(
    hook: str | None,
    dry_run: bool,
    again: bool,
    resume: str | None,
    reference: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Run the background hook HOOK over stored runs, as new deliveries, and wait for them.

    Interrupted with Ctrl+C it is paused; --resume goes on where it was. `hookline replays` lists and cancels them. What
    else is due in the ledger is executed here, too.
    """
    if (hook is None) is (resume is None):
        raise click.UsageError("give one of HOOK and --resume")
    if resume is not None and (dry_run or again or any(map(given_on_command_line, chosen))):
        raise click.UsageError("--resume goes on with what was asked for then: leave the other options out")
    app = required_app(reference)
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr if as_json else stdout):  # what hooks print is not the answer
        agent_os = find_app(app).agent_os.load()
        planned = None if hook is None else agent_os.plan_replay(hook, **chosen)
        ledger = find_ledger(app, None)
        if dry_run and planned is not None:
            document = ask(ledger, lambda storage: _count(storage, planned, again=again))
        else:
            ask(ledger, lambda storage: _check(storage, planned, resume, again=again))
            announce_due(ledger, replay_id=resume)
            document = _execute(agent_os, planned, resume)
    if as_json:
        print_json(document)
    else:
        print_fields(document)
    if document["dead"]:
        raise HooklineError(
            f"{document['dead']} of its deliveries are dead: "
            f"see hookline deliveries list --replay {document['replay_id']} --status dead"
        )


async def _count(storage: Storage, planned: ReplayRecord, *, again: bool) -> dict[str, Any]:
    """What a replay would be about; nothing is stored."""
    if not again and (other := await _unfinished(storage, planned)) is not None:
        click.echo(f"Note: {_told(other)}", err=True)
    planned.matched = await storage.count_replay(planned)
    document = await replay_document(storage, planned)
    return {**document, "replay_id": None, "status": "planned"}


async def _check(storage: Storage, planned: ReplayRecord | None, resume: str | None, *, again: bool) -> None:
    """See that a replay may begin or go on, before anything is started."""
    if planned is None:
        await _get(storage, str(resume))
    elif not again and (other := await _unfinished(storage, planned)) is not None:
        raise ConfigurationError(_told(other))


async def _get(storage: Storage, replay_id: str) -> ReplayRecord:
    found = await storage.get_replay(replay_id)
    if found is None:
        raise ConfigurationError(f"there is no replay {replay_id} in {storage.description}")
    return found


async def _unfinished(storage: Storage, planned: ReplayRecord) -> ReplayRecord | None:
    """Another replay of the hook that has not ended; None if there is none."""
    for status in ("running", "paused"):
        cursor = None
        while True:
            page = await storage.list_replays(status=status, limit=_PAGE, cursor=cursor)
            for other in page.items:
                is_of_hook = (other.phase, other.hook) == (planned.phase, planned.hook)
                if is_of_hook and not set(other.runnables).isdisjoint(planned.runnables):
                    return other
            if (cursor := page.next_cursor) is None:
                break
    return None


def _told(other: ReplayRecord) -> str:
    return (
        f"replay {other.replay_id} of this hook is {other.status}: go on with --resume {other.replay_id}, "
        f"cancel it (hookline replays cancel {other.replay_id}), or say --again"
    )


def _execute(agent_os: AgentOS, planned: ReplayRecord | None, resume: str | None) -> dict[str, Any]:
    try:
        return asyncio.run(_run(agent_os, planned, resume))
    except KeyboardInterrupt:  # said already: it is paused
        click.get_current_context().exit(_INTERRUPTED)


async def _run(agent_os: AgentOS, planned: ReplayRecord | None, resume: str | None) -> dict[str, Any]:
    async with agent_os.lifespan():
        if planned is None:
            begun = await _resume(agent_os, str(resume))
        else:
            begun = await agent_os.start_replay(planned)
        try:
            return await _follow(agent_os, begun)
        except asyncio.CancelledError:  # Ctrl+C
            await _pause(agent_os, begun.replay_id)
            raise


async def _resume(agent_os: AgentOS, replay_id: str) -> ReplayRecord:
    found = await _get(agent_os.storage, replay_id)
    return await agent_os.set_replay_status(replay_id, "running") or found  # one that is all made may still be awaited


async def _follow(agent_os: AgentOS, replay: ReplayRecord) -> dict[str, Any]:
    """Wait until all deliveries of a replay are made and done, with a progress bar where somebody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(f"replay of {replay.hook}", total=replay.matched)
        while True:
            found = await agent_os.storage.get_replay(replay.replay_id) or replay
            document = await replay_document(agent_os.storage, found)
            done = sum(document[status] for status in ("delivered", "dead", "discarded", "parked"))
            progress.update(bar, completed=done)
            if found.status != "running" and done >= found.made:
                return document
            await asyncio.sleep(_LOOK_SECONDS)


async def _pause(agent_os: AgentOS, replay_id: str) -> None:
    paused = await agent_os.set_replay_status(replay_id, "paused")
    state = "paused" if paused is not None else "left: its deliveries are all made, and done by whoever serves next"
    click.echo(
        f"replay {replay_id} is {state}\n"
        f"  go on:      hookline replay --resume {replay_id}\n"
        f"  give it up: hookline replays cancel {replay_id}",
        err=True,
    )


@click.group()
def replays() -> None:
    """Look at replays, pause and cancel them.

    The ledger is that of --app, the file --db, or else the one that the settings name (hookline.db).
    """


@replays.command("list")
@click.option("--status", type=click.Choice(get_args(ReplayStatus)))
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 200))
@click.option("--cursor", help="Where a listing before ended.")
@ledger_options
@json_option
def list_replays(
    status: str | None,
    limit: int,
    cursor: str | None,
    reference: str | None,
    database: str | None,
    as_json: bool,
) -> None:
    """List replays, newest first."""

    async def act(storage: Storage) -> tuple[list[dict[str, Any]], str | None]:
        page = await storage.list_replays(status=status, limit=limit, cursor=cursor)
        return [await replay_document(storage, found) for found in page.items], page.next_cursor

    try:
        items, next_cursor = ask(find_ledger(reference, database), act)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--cursor") from None
    print_listing(items, _COLUMNS, as_json=as_json, next_cursor=next_cursor, empty="replays")


def _command_for(name: str, status: ReplayStatus, help_text: str) -> None:
    @replays.command(name, help=help_text)
    @click.argument("replay_id")
    @ledger_options
    @json_option
    def change(replay_id: str, reference: str | None, database: str | None, as_json: bool) -> None:
        async def act(storage: Storage) -> dict[str, Any]:
            found = await _get(storage, replay_id)
            changed = await storage.set_replay_status(replay_id, status, time.time())
            if changed is None:
                raise ConfigurationError(f"replay {replay_id} is {found.status}: it has ended")
            return await replay_document(storage, changed)

        document = ask(find_ledger(reference, database), act)
        if as_json:
            print_json(document)
        else:
            print_fields(document)


_command_for("pause", "paused", "Make no further deliveries for now.")
_command_for("resume", "running", "Let a server that runs go on with it.")
_command_for("cancel", "cancelled", "Make no further deliveries, and discard those that were not begun.")
