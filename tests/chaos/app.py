"""The app that chaos befalls: two agents whose background hooks do what the message says, and counted sessions."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable
from typing import Any

from chaos.journal import Journal
from chaos.plan import RETRIES, TIMEOUT, Act, acts_of
from hookline import Agent, AgentOS, Delivery, RunContext, RunInput, hook
from hookline_openai import OpenAIChat
from hookline_sql import SqliteDb

SLOW_SECONDS = TIMEOUT * 0.3
HANG_SECONDS = TIMEOUT * 3.0
"""Bounded: the thread of a plain function is lost until it returns."""

journal = Journal(os.environ["EVENTS"])


class Attempt:
    """One call of a hook, written down when it begins and when it has come to its proper end."""

    def __init__(self, run_input: RunInput, run_context: RunContext, delivery: Delivery) -> None:
        self.act = acts_of(run_input.input_content)[delivery.hook]
        self._line = (run_context.run_id, delivery.hook, delivery.delivery_id, delivery.attempt)
        journal.write("start", *self._line)
        if self.act is Act.RAISE or (self.act is Act.RAISE_ONCE and delivery.attempt == 1):
            raise RuntimeError("failed on purpose")

    @property
    def seconds(self) -> float:
        """How long it is to take."""
        if self.act in {Act.HANG, Act.SWALLOW}:
            return HANG_SECONDS
        return SLOW_SECONDS if self.act is Act.SLOW else 0.0

    def end(self) -> None:
        """Say that it has done what it had to."""
        if self.act.ends_badly:
            raise RuntimeError("hung on purpose")
        journal.write("end", *self._line)


async def on_the_loop(run_input: RunInput, run_context: RunContext, delivery: Delivery) -> None:
    """A hook that is a coroutine function."""
    attempt = Attempt(run_input, run_context, delivery)
    try:
        await asyncio.sleep(attempt.seconds)
    except asyncio.CancelledError:
        if attempt.act is not Act.SWALLOW:
            raise
        await asyncio.sleep(attempt.seconds)
    attempt.end()


def in_a_thread(run_input: RunInput, run_context: RunContext, delivery: Delivery) -> None:
    """A hook that is a plain function."""
    attempt = Attempt(run_input, run_context, delivery)
    time.sleep(attempt.seconds)
    attempt.end()


async def take_time(run_input: RunInput) -> None:
    """A pre-hook that is not done at once: the run has its session by then, and is not accepted yet."""
    await asyncio.sleep(len(run_input.input_content) % 4 / 10)


def count_up(run_context: RunContext) -> None:
    """Count the completed runs of the session."""
    run_context.session_state["runs"] = run_context.session_state.get("runs", 0) + 1


def in_background(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A hook of that name, called after every ending of a run."""
    mark = hook(
        name=name,
        run_in_background=True,
        timeout=TIMEOUT,
        retries=RETRIES,
        backoff=0.3,
        circuit_threshold=0,  # a pause of the hook would only prolong the end
        on=("completed", "failed", "cancelled"),
    )
    return mark(functools.partial(function))


def make() -> AgentOS:
    """Agent `after` has three background post-hooks; `around` has the first of them as a pre-hook."""
    model = OpenAIChat(id="stub", api_key="stub", base_url=os.environ["STUB_URL"], max_retries=0)
    one, two, three = (
        in_background("one", on_the_loop),
        in_background("two", in_a_thread),
        in_background("three", on_the_loop),
    )
    return AgentOS(
        agents=[
            Agent("after", model=model, post_hooks=[count_up, one, two, three]),
            Agent("around", model=model, pre_hooks=[take_time, one], post_hooks=[count_up, two, three]),
        ],
        db=SqliteDb(db_file="ledger.db"),
    )


if __name__ == "__main__":
    agent_os = make()
    agent_os.serve(agent_os.get_app(), port=int(os.environ["PORT"]))
