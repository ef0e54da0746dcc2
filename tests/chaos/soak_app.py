"""The app of the soak: three background hooks, of whose attempts one in a hundred fails and one hangs."""

from __future__ import annotations

import asyncio
import functools
import os
import time
import zlib
from collections.abc import Callable
from typing import Any

from benchmarks.served import AGENT_ID
from hookline import Agent, AgentOS, Delivery, hook
from hookline_openai import OpenAIChat
from hookline_sql import SqliteDb

TIMEOUT = 1.0
HANG_SECONDS = 5.0
"""Bounded: the thread of a plain function is lost until it returns."""


def seconds_of(delivery: Delivery) -> float:
    """How long an attempt is to take; one in a hundred fails at once."""
    lot = zlib.crc32(f"{delivery.delivery_id}/{delivery.attempt}".encode()) % 100
    if lot == 0:
        raise RuntimeError("failed on purpose")
    return HANG_SECONDS if lot == 1 else 0.0


async def on_the_loop(delivery: Delivery) -> None:
    """A hook that is a coroutine function."""
    await asyncio.sleep(seconds_of(delivery))


def in_a_thread(delivery: Delivery) -> None:
    """A hook that is a plain function."""
    time.sleep(seconds_of(delivery))


def in_background(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A hook of that name, after every completed run."""
    mark = hook(name=name, run_in_background=True, timeout=TIMEOUT, circuit_threshold=0)
    return mark(functools.partial(function))


if __name__ == "__main__":
    agent = Agent(
        AGENT_ID,
        model=OpenAIChat(id="stub", api_key="stub", base_url=os.environ["STUB_URL"]),
        db=SqliteDb(db_file="ledger.db"),
        post_hooks=[
            in_background("one", on_the_loop),
            in_background("two", in_a_thread),
            in_background("three", on_the_loop),
        ],
    )
    agent_os = AgentOS(agents=[agent])
    agent_os.serve(agent_os.get_app(), port=int(os.environ["PORT"]))
