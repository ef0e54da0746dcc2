"""A plugin for hookline: a guardrail against banned words, and a journal of runs.

Whatever uses hookline imports this module, so it imports nothing heavy: the settings bring pydantic along and are
imported when they are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

from hookline import AgentOS, Delivery, InputCheckError, RunInput, RunOutput, guardrail, hook, hookimpl

if TYPE_CHECKING:
    from .settings import WordguardSettings

__all__ = ["lifespan", "post_run", "pre_run", "read_settings"]


@cache
def read_settings() -> WordguardSettings:
    """The settings of this process, read once.

    Raises:
        ConfigurationError: a value or a name is wrong.
    """
    from hookline import plugin_settings

    from .settings import WordguardSettings

    return plugin_settings("wordguard", WordguardSettings)


@hookimpl
@asynccontextmanager
async def lifespan(agent_os: AgentOS) -> AsyncIterator[None]:
    """Read the settings when the server starts: a mistake in them is seen then, and not at the first run."""
    read_settings()
    yield


@hookimpl
@guardrail
def pre_run(run_input: RunInput) -> None:
    """Reject an input that has a banned word in it.

    Raises:
        InputCheckError: it has one; `additional_data` tells which.
    """
    for word in read_settings().banned_words:
        if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", run_input.input_content, re.IGNORECASE):
            raise InputCheckError(
                "the input has a banned word in it", check_trigger="banned_word", additional_data={"word": word}
            )


@hookimpl
@hook(run_in_background=True, timeout=10, on=("completed", "rejected", "failed", "cancelled"))
def post_run(run_output: RunOutput, delivery: Delivery) -> None:
    """Append a line of JSON about the run to the journal.

    An attempt that was interrupted is repeated, so a run can have two lines; `idempotency_key` tells that they are one.
    """
    journal = read_settings().journal
    if journal is None:
        return
    line = {
        "idempotency_key": delivery.idempotency_key,
        "attempt": delivery.attempt,
        "run_id": run_output.run_id,
        "runnable": delivery.runnable,
        "status": run_output.status.value,
    }
    with journal.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
