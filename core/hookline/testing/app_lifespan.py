"""The lifespan of an ASGI app, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def app_lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    """Start an ASGI app as a server does, and end it.

    Gives the state that the app's lifespan has left for requests.

    Raises:
        Exception: what the app's own lifespan raised.
        RuntimeError: the app says that it failed and raised nothing.
    """
    state: dict[str, Any] = {}
    lifespan = _Lifespan(app, state)
    await lifespan.tell("startup")
    try:
        yield state
    finally:
        await lifespan.tell("shutdown")
        await lifespan.app


class _Lifespan:
    """The conversation with an app, whose side is one task from its start to its end."""

    def __init__(self, app: Any, state: dict[str, Any]) -> None:
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        self.app = asyncio.get_running_loop().create_task(app(scope, self._told.get, self._said.put), name="app")

    async def tell(self, what: str) -> None:
        self._told.put_nowait({"type": f"lifespan.{what}"})
        answer = asyncio.get_running_loop().create_task(self._said.get())
        await asyncio.wait({answer, self.app}, return_when=asyncio.FIRST_COMPLETED)
        said = answer.result() if answer.done() else {"type": "nothing"}
        answer.cancel()
        if said["type"] == f"lifespan.{what}.complete":
            return
        await asyncio.wait({self.app}, timeout=1)
        if self.app.done():
            self.app.result()
        raise RuntimeError(f"the app's {what} failed: {said.get('message') or 'it ended without a word'}")
