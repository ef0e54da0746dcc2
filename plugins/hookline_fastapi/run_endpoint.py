"""The hot path: `POST /agents/{agent_id}/runs`, as a bare ASGI endpoint."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hookline import AgentOS, HooklineError, LiveRun, Principal
from hookline.jsontext import dumps
from hookline_fastapi.access import caller_of, check_session
from hookline_fastapi.body import read_body
from hookline_fastapi.event_stream import EventStream
from hookline_fastapi.fields import FieldSpec, read_bool, read_fields, read_id, read_object, read_text
from hookline_fastapi.problems import FieldError, Problem, invalid, not_found, problem_of, problem_of_run
from hookline_fastapi.responses import JsonText


class RunEndpoint:
    """Starts runs of the runnables of one kind.

    Whatever happens after the start of a run, the run is told that its response has been handed over: its
    deliveries wait for that.

    Args:
        agent_os: whose runnables.
        kind: `agent`; the path has a parameter `{kind}_id`.
    """

    def __init__(self, agent_os: AgentOS, kind: str) -> None:
        self._agent_os = agent_os
        self._kind = kind
        self._parameter = f"{kind}_id"
        self._fields = run_fields(agent_os.settings.max_id_length)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        run: LiveRun | None = None
        try:
            response: ASGIApp
            try:
                values = await self._read(scope, receive)
                principal = caller_of(scope)
                await check_session(self._agent_os.storage, principal, values["session_id"])
                run = self._start(scope, values, principal)
                response = await self._respond(run, values, scope, receive)
            except (Problem, HooklineError) as error:
                response = problem_of(error, run_id=_stored_id(run)).response()
            except ClientDisconnect:
                return
            await response(scope, receive, send)
        finally:
            if run is not None:
                run.hand_over()

    async def _read(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        if scope["query_string"]:
            raise invalid([FieldError("query", "a run takes its fields from the body, not from the query string")])
        body = await read_body(scope, receive, self._agent_os.settings.max_body_size)
        values = read_fields(body, self._fields)
        if values["stream"] and values["background"]:
            both = "stream and background exclude each other: ask for one of them"
            raise invalid([FieldError("stream", both), FieldError("background", both)])
        return values

    def _start(self, scope: Scope, values: dict[str, Any], principal: Principal) -> LiveRun:
        runnable_id = scope["path_params"][self._parameter]
        runnable = self._agent_os.runnables.get((self._kind, runnable_id))
        if runnable is None:
            raise not_found(self._kind, runnable_id)
        return self._agent_os.start_run(
            runnable,
            values["message"],
            session_id=values["session_id"],
            user_id=values["user_id"] if principal.user_id is None else principal.user_id,
            metadata=values["metadata"],
            dependencies=values["dependencies"],
            session_state=values["session_state"],
            stream=bool(values["stream"]),
            own_session=not principal.is_admin,
        )

    async def _respond(self, run: LiveRun, values: dict[str, Any], scope: Scope, receive: Receive) -> ASGIApp:
        settings = self._agent_os.settings
        if values["background"]:
            return await _accepted_response(run, scope)
        if values["stream"]:
            if await run.accepted():
                return EventStream(run, ping=settings.sse_ping, cancel_on_leave=settings.cancel_on_disconnect)
            await run.finished()
            return _outcome_response(run)
        if settings.cancel_on_disconnect:
            await _finished_or_left(run, receive)
        else:
            await run.finished()
        return _outcome_response(run)


def run_fields(max_id_length: int) -> dict[str, FieldSpec]:
    """The fields of a run's body."""
    return {
        "message": FieldSpec(read_text, required=True),
        "stream": FieldSpec(read_bool),
        "session_id": FieldSpec(read_id(max_id_length)),
        "user_id": FieldSpec(read_id(max_id_length)),
        "background": FieldSpec(read_bool),
        "metadata": FieldSpec(read_object),
        "session_state": FieldSpec(read_object),
        "dependencies": FieldSpec(read_object),
    }


def _stored_id(run: LiveRun | None) -> str | None:
    return run.run_id if run is not None and run.is_accepted else None


async def _accepted_response(run: LiveRun, scope: Scope) -> Response:
    if not await run.accepted():
        await run.finished()
        return _outcome_response(run)
    document = {"run_id": run.run_id, "session_id": run.session_id, "status": run.output.status.value}
    location = f"{scope.get('root_path', '')}/runs/{run.run_id}"
    return JsonText(dumps(document), 202, {"location": location})


def _outcome_response(run: LiveRun) -> Response:
    problem = problem_of_run(run)
    return JsonText(run.document) if problem is None else problem.response()


async def _finished_or_left(run: LiveRun, receive: Receive) -> None:
    watcher = asyncio.get_running_loop().create_task(_cancel_when_left(run, receive))
    try:
        await run.finished()
    finally:
        watcher.cancel()


async def _cancel_when_left(run: LiveRun, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    run.cancel()
