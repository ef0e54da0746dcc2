"""The app of the process tests: `$HOOKS` chooses the hooks, which append what they do to `$EVENTS`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hookline import Agent, AgentOS, Delivery, RunContext, RunInput, RunOutput, guardrail, hook
from hookline_openai import OpenAIChat
from hookline_sql import SqliteDb

ENV = os.environ


def write(**fields: object) -> None:
    line = json.dumps({"time": time.time(), "pid": os.getpid(), **fields}) + "\n"
    with Path(ENV["EVENTS"]).open("a") as file:
        file.write(line)


def flag(name: str) -> bool:
    """Whether the test has made a file of that name in the server's directory."""
    return Path(name).exists()


def background(name: str, body: Callable[[], Any] | None = None, **options: Any) -> Callable[..., Any]:
    """A background post-hook that writes its start and its end."""

    @hook(run_in_background=True, name=name, **options)
    async def called(run_output: RunOutput, delivery: Delivery) -> None:
        write(hook=name, event="start", run_id=run_output.run_id, attempt=delivery.attempt)
        if body is not None:
            await body()
        write(hook=name, event="end", run_id=run_output.run_id)

    return called


def sync_background(name: str, body: Callable[[], Any], **options: Any) -> Callable[..., Any]:
    @hook(run_in_background=True, name=name, **options)
    def called(run_output: RunOutput) -> None:
        write(hook=name, event="start", run_id=run_output.run_id)
        body()
        write(hook=name, event="end", run_id=run_output.run_id)

    return called


async def fail() -> None:
    raise RuntimeError("failed on purpose")


async def fail_until_mended() -> None:
    if not flag("mended"):
        raise RuntimeError("not mended yet")


async def hold_first_time() -> None:
    if not flag("go"):
        await asyncio.Event().wait()


async def hang() -> None:
    await asyncio.Event().wait()


async def swallow() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            write(hook="swallow", event="swallowed")


async def exit_by_exception() -> None:
    raise SystemExit(3)


async def end_process() -> None:
    os._exit(7)


def block() -> None:
    threading.Event().wait()


async def block_loop() -> None:
    time.sleep(2.5)  # noqa: ASYNC251 - wrong on purpose


async def sleep_3() -> None:
    await asyncio.sleep(3)


@guardrail
async def backend_is_down(run_input: RunInput) -> None:
    raise ConnectionError("the moderation backend is down")


@guardrail
def output_backend_is_down(run_output: RunOutput) -> None:
    raise ConnectionError("the moderation backend is down")


def sync_half_second(run_output: RunOutput) -> None:
    if "slow" in run_output.messages[0].content:  # type: ignore[operator]
        time.sleep(0.5)


def inline_3_seconds(run_output: RunOutput) -> None:
    time.sleep(3)


def count_up(run_context: RunContext) -> None:
    run_context.session_state["n"] = run_context.session_state.get("n", 0) + 1


@hook(run_in_background=True, name="pre-1")
def log_request(run_context: RunContext) -> None:
    write(hook="pre-1", event="start", run_id=run_context.run_id)


NOOPS = [background(f"hook-{number}") for number in (1, 2, 3)]

POST_HOOKS: dict[str, list[Callable[..., Any]]] = {
    "none": [],
    "three": NOOPS,
    "hold-second": [NOOPS[0], background("hook-2", hold_first_time), NOOPS[2]],
    "fail-until-mended": [background("hook-1", fail_until_mended, retries=20), *NOOPS[1:]],
    "on-failure": [background("on-failure", on=("failed",)), background("on-success")],
    "raise-first": [background("hook-1", fail, retries=0), *NOOPS[1:]],
    "retry-once": [background("hook-1", fail, retries=1), *NOOPS[1:]],
    "misbehaved": [
        background("hang", hang, timeout=0.5, retries=0),
        background("exit", exit_by_exception, retries=0),
        background("swallow", swallow, timeout=0.5, retries=0),
        sync_background("block", block, timeout=0.5, retries=0),
        background("last"),
    ],
    "killer": [background("killer", end_process), background("after")],
    "block-loop": [background("blocker", block_loop), background("after")],
    "sleep-3": [background("sleep", sleep_3)],
    "server-wide": [inline_3_seconds],
    "sync-inline": [sync_half_second],
    "count": [count_up],
    "output-guard-down": [output_backend_is_down],
}
PRE_HOOKS: dict[str, list[Callable[..., Any]]] = {
    "input-guard-down": [backend_is_down],
    "on-failure": [log_request],
}


class KillingDb(SqliteDb):
    """Ends the process with SIGKILL right after the first outcome was committed."""

    def open(self) -> Any:
        storage = super().open()
        finish_run = storage.finish_run

        async def finish_and_die(request: Any) -> bool:
            stored = await finish_run(request)
            if not flag("killed"):
                Path("killed").touch()  # noqa: ASYNC240 - the last thing that this process does
                os.kill(os.getpid(), signal.SIGKILL)
            return stored

        storage.finish_run = finish_and_die  # type: ignore[method-assign]
        return storage


def make() -> AgentOS:
    preset = ENV.get("HOOKS", "none")
    database = KillingDb if ENV.get("KILL_AFTER_COMMIT") else SqliteDb
    agent = Agent(
        "a",
        model=OpenAIChat(id="stub", base_url=ENV["STUB_URL"], max_retries=0),
        db=database(db_file="ledger.db"),
        pre_hooks=PRE_HOOKS.get(preset, []),
        post_hooks=POST_HOOKS.get(preset, []),
    )
    return AgentOS(agents=[agent], run_hooks_in_background=bool(ENV.get("IN_BACKGROUND")))


agent_os = make()
app = agent_os.get_app()

if __name__ == "__main__":
    sys.exit(agent_os.serve(app, port=int(ENV["PORT"])))  # type: ignore[func-returns-value]
