"""The floor: the same route and the same work without a framework for agents.

FastAPI, the openai client, one row of SQLite (`synchronous=FULL`) for each run; hooks are `BackgroundTasks`, which
are lost when the process ends.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

import uvicorn
from fastapi import BackgroundTasks, FastAPI, Form, HTTPException
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from benchmarks.served import AGENT_ID, MODEL_ID, Options, background_hooks, read_options


class Rows:
    """One table with one row for each run."""

    def __init__(self, file: str) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE runs (seq INTEGER PRIMARY KEY, session_id TEXT, document TEXT)")
        self._connection.execute("CREATE INDEX runs_of_session ON runs (session_id, seq)")

    def add(self, run: dict[str, Any]) -> None:
        """Store a run, durably."""
        row = (run["session_id"], json.dumps(run))
        self._connection.execute("INSERT INTO runs (session_id, document) VALUES (?, ?)", row)

    def last(self, session_id: str, count: int) -> list[dict[str, Any]]:
        """The last runs of a session, oldest first."""
        found = self._connection.execute(
            "SELECT document FROM runs WHERE session_id = ? ORDER BY seq DESC LIMIT ?", (session_id, count)
        )
        return [json.loads(document) for (document,) in found][::-1]


class Floor:
    """The one endpoint."""

    def __init__(self, options: Options) -> None:
        self._history = options.history
        self._hooks = background_hooks(options)
        self._client = AsyncOpenAI(api_key="stub", base_url=options.model_url)
        self._rows = Rows(options.database)

    async def run_agent(
        self,
        agent_id: str,
        tasks: BackgroundTasks,
        message: Annotated[str, Form()],
        stream: Annotated[bool, Form()] = False,
        session_id: Annotated[str | None, Form()] = None,
    ) -> Any:
        """Run the agent."""
        if agent_id != AGENT_ID:
            raise HTTPException(404)
        run: dict[str, Any] = {
            "run_id": str(uuid.uuid4()),
            "session_id": session_id or str(uuid.uuid4()),
            "agent_id": agent_id,
            "created_at": time.time(),
        }
        messages = self._context(run["session_id"], message)
        if stream:
            events = self._stream(run, messages, tasks)
            return StreamingResponse(events, media_type="text/event-stream", background=tasks)
        completion = await self._client.chat.completions.create(model=MODEL_ID, messages=messages)
        self._finish(run, messages[-1], completion.choices[0].message.content or "", tasks)
        return run

    def _context(self, session_id: str, message: str) -> list[ChatCompletionMessageParam]:
        earlier = self._rows.last(session_id, self._history) if self._history else []
        messages: list[ChatCompletionMessageParam] = [said for run in earlier for said in run["messages"]]
        return [*messages, {"role": "user", "content": message}]

    async def _stream(
        self, run: dict[str, Any], messages: list[ChatCompletionMessageParam], tasks: BackgroundTasks
    ) -> AsyncIterator[str]:
        yield _event("RunStarted", {"run_id": run["run_id"]})
        parts = []
        chunks = await self._client.chat.completions.create(model=MODEL_ID, messages=messages, stream=True)
        async for chunk in chunks:
            if chunk.choices and (text := chunk.choices[0].delta.content):
                parts.append(text)
                yield _event("RunContent", {"run_id": run["run_id"], "content": text})
        self._finish(run, messages[-1], "".join(parts), tasks)
        yield _event("RunCompleted", {"run": run})

    def _finish(
        self, run: dict[str, Any], question: ChatCompletionMessageParam, content: str, tasks: BackgroundTasks
    ) -> None:
        run |= {
            "status": "completed",
            "content": content,
            "messages": [question, {"role": "assistant", "content": content}],
            "finished_at": time.time(),
        }
        self._rows.add(run)
        for hook in self._hooks:
            tasks.add_task(hook, run_output=run)


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps({'event': name, **data})}\n\n"


async def get_health() -> dict[str, str]:
    """Whether it serves."""
    return {"status": "ok"}


def main() -> None:
    """Serve until killed."""
    options = read_options()
    app = FastAPI()
    app.add_api_route("/agents/{agent_id}/runs", Floor(options).run_agent, methods=["POST"], response_model=None)
    app.add_api_route("/health", get_health)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
