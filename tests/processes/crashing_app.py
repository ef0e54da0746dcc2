"""The app of the crash points: a server that is started again whenever it has ended, as a supervisor does.

The file `point` in its directory says where the process ends next, e.g. `finish_run before`; it is removed then. What
hooks and model do is appended to `$EVENTS`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hookline_sql.ledger  # noqa: F401 - imported once, not by each process
from hookline import Agent, AgentOS, Delivery, Message, ModelRequest, Settings, hook
from hookline.testing import ScriptedModel
from hookline_sql import SqliteDb
from watched_db import Moment, WatchedDb

POINT = Path("point").absolute()
STATUS = 9
ENDS = ("completed", "failed", "cancelled")


def write(**fields: object) -> None:
    with Path(os.environ["EVENTS"]).open("a") as file:
        file.write(json.dumps({"pid": os.getpid(), **fields}) + "\n")


def is_awaited(point: str) -> bool:
    return POINT.exists() and POINT.read_text().startswith(point)


def end_at_the_point(operation: str, moment: Moment) -> None:
    if is_awaited(f"{operation} {moment}"):
        POINT.unlink()
        os._exit(STATUS)


async def answer(request: ModelRequest) -> Message:
    said = request.messages[-1].content or ""
    write(model=said)
    if said.startswith("wait"):
        await asyncio.Event().wait()
    return Message("assistant", f"You said: {said}")


def background(name: str, **options: Any) -> Callable[..., Any]:
    @hook(run_in_background=True, name=name, **options)
    async def called(delivery: Delivery) -> None:
        write(hook=name, event="start", run_id=delivery.run_id)
        if name == "slow" and is_awaited("exchange: start"):  # its start is told of before its end, then
            await asyncio.Event().wait()
        if name == "stumbling" and delivery.attempt == 1:
            raise RuntimeError("failed on purpose")

    return called


agent_os = AgentOS(
    agents=[
        Agent(
            "a",
            model=ScriptedModel(answer, repeat=True),
            pre_hooks=[background("pre")],
            post_hooks=[
                background("slow", on=ENDS),
                background("stumbling", on=ENDS, retries=9, backoff=0.01),
                background("last", on=ENDS),
            ],
        )
    ],
    db=WatchedDb(SqliteDb(db_file="ledger.db"), end_at_the_point),
    settings=Settings(max_interruptions=1000),  # one delivery may be under way at many of the points
)
app = agent_os.get_app()


def serve_again_and_again() -> None:
    while True:
        if (pid := os.fork()) == 0:
            agent_os.serve(app, port=int(os.environ["PORT"]))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        write(ended=os.waitstatus_to_exitcode(status), at=time.time())


if __name__ == "__main__":
    sys.exit(serve_again_and_again())  # type: ignore[func-returns-value]
