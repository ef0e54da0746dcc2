"""What the servers under measurement share: their options and their hooks, so that they differ in nothing else."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

AGENT_ID = "measured"
MODEL_ID = "stub"

BackgroundHook = Callable[..., Awaitable[None]]
"""Called with `run_output`."""


@dataclass(frozen=True)
class Options:
    """How to serve: `hooks` background hooks of `hook_seconds` each, `history` earlier runs given to the model."""

    port: int
    model_url: str
    database: str
    hooks: int
    hook_seconds: float
    history: int


def read_options() -> Options:
    """The command line of a server under measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model-url", required=True)
    parser.add_argument("--database", default="runs.db")
    parser.add_argument("--hooks", type=int, default=0)
    parser.add_argument("--hook-seconds", type=float, default=0.0)
    parser.add_argument("--history", type=int, default=0)
    return Options(**vars(parser.parse_args()))


def background_hooks(options: Options) -> list[BackgroundHook]:
    """Async hooks that do nothing, or sleep, each with a name of its own."""
    return [_hook(f"hook_{number}", options.hook_seconds) for number in range(1, options.hooks + 1)]


def _hook(name: str, seconds: float) -> BackgroundHook:
    async def wait(run_output: object) -> None:
        await asyncio.sleep(seconds)

    wait.__name__ = wait.__qualname__ = name
    return wait
