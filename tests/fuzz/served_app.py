"""The app that is fuzzed: an agent with a tool, hooks of every kind, and a model that also fails and takes its time.

`$ACCESS` says who may use it. `$DEFECT` breaks it on purpose, to see that the fuzzing notices.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
from collections.abc import Callable, Mapping

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hookline import (
    Agent,
    AgentOS,
    InputCheckError,
    ModelError,
    ModelRequest,
    ModelResponse,
    Principal,
    RunContext,
    RunInput,
    Settings,
    guardrail,
    hook,
    hookimpl,
)
from hookline_demo import DemoModel
from hookline_fastapi.access import EVERYBODY, PRINCIPAL, Access, Gate
from hookline_fastapi.problems import INTERNAL_ERROR, Problem
from hookline_fastapi.responses import JsonText
from hookline_sql import SqliteDb

SLOW_SECONDS = 0.1
TOKEN = "fuzz"  # noqa: S105 - of a server that lives for a minute on loopback


def roll_die() -> int:
    """Roll a die."""
    return secrets.randbelow(6) + 1


class MoodyModel(DemoModel):
    """The demo model, which fails now and then, and is slow now and then."""

    calls = itertools.count()

    async def respond(self, request: ModelRequest, emit: Callable[[str], None]) -> ModelResponse:
        number = next(self.calls)
        if number % 9 == 5:
            raise ModelError("the model is moody")
        if number % 4 == 2:
            await asyncio.sleep(SLOW_SECONDS)
        return await super().respond(request, emit)


inputs = itertools.count()


@guardrail
def check_input(run_input: RunInput) -> None:
    if next(inputs) % 13 == 7:
        raise InputCheckError("not this one", check_trigger="number")


def count_up(run_context: RunContext) -> None:
    run_context.session_state["runs"] = 1 + len(run_context.session_state)


def fails_inline() -> None:
    raise RuntimeError("failed on purpose")


@hook(run_in_background=True)
def log_request(run_input: RunInput, dependencies: dict[str, object]) -> None: ...


@hook(run_in_background=True, on=("completed", "rejected", "failed", "cancelled"))
async def notify() -> None: ...


@hook(run_in_background=True, retries=0, circuit_threshold=0, on=("completed", "failed"))
def is_soon_dead() -> None:
    raise RuntimeError("failed on purpose")


@hook(run_in_background=True, retries=10)
def is_long_retried() -> None:
    raise RuntimeError("failed on purpose, \x00 \ud800")


class OneUser:
    """Knows one user, who is no admin."""

    plugin_name = "one-user"

    @hookimpl
    def authenticate(self, headers: Mapping[str, str]) -> Principal | None:
        return Principal("alice", ()) if headers.get("authorization") == f"Bearer {TOKEN}" else None


def make_agent_os() -> AgentOS:
    """What is served: to everybody, to holders of the key or to one user, as `$ACCESS` says."""
    access = os.environ["ACCESS"]
    agent = Agent(
        "demo",
        model=MoodyModel(delay=0),
        tools=[roll_die],
        db=SqliteDb(db_file="ledger.db"),
        pre_hooks=[check_input, log_request],
        post_hooks=[count_up, fails_inline, notify, is_long_retried, is_soon_dead],
    )
    return AgentOS(
        agents=[agent],
        plugins=[OneUser()] if access == "user" else [],
        settings=Settings(api_keys=[TOKEN] if access == "key" else [], shutdown_timeout=2),
    )


def ignore_authentication(app: FastAPI) -> None:
    async def admit(self: Gate, scope: Scope, access: Access) -> None:
        scope[PRINCIPAL] = EVERYBODY

    Gate.admit = admit  # type: ignore[method-assign]


def answer_undocumented_status(app: FastAPI) -> None:
    answer_agents(app, lambda: JsonText('{"items":[],"next_cursor":null}', 203))


def answer_another_shape(app: FastAPI) -> None:
    answer_agents(app, lambda: JsonText('{"items":[{"id":1}],"next_cursor":null}'))


def break_down(app: FastAPI) -> None:
    answer_agents(app, lambda: Problem(INTERNAL_ERROR, "broken").response())


def answer_agents(app: FastAPI, make: Callable[[], Response]) -> None:
    """Let `GET /agents` answer something else."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await make()(scope, receive, send)

    next(route for route in app.routes if isinstance(route, APIRoute) and route.path == "/agents").app = answer


DEFECTS: dict[str, Callable[[FastAPI], None]] = {
    "ignored-auth": ignore_authentication,
    "undocumented-status": answer_undocumented_status,
    "another-shape": answer_another_shape,
    "server-error": break_down,
}

if __name__ == "__main__":
    agent_os = make_agent_os()
    served = agent_os.get_app()
    if defect := os.environ.get("DEFECT"):
        DEFECTS[defect](served)
    agent_os.serve(served, port=int(os.environ["PORT"]))
