"""The served app's agent in somebody's own app: `$KIND` says whether as `base` app or in a `mount` at `/ai`."""

from __future__ import annotations

import importlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from hookline import AgentOS

served_app: Any = importlib.import_module("served_app")  # it stands beside this file
[agent] = served_app.agent_os.runnables.values()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    served_app.write(event="own opens")
    yield
    served_app.write(event="own closes")


def add_to_base_app() -> tuple[AgentOS, FastAPI]:
    app = FastAPI(lifespan=lifespan)
    agent_os = AgentOS(agents=[agent], base_app=app)
    agent_os.get_app()
    return agent_os, app


def mount() -> tuple[AgentOS, FastAPI]:
    agent_os = AgentOS(agents=[agent])
    app = FastAPI(lifespan=agent_os.lifespan)
    app.mount("/ai", agent_os.get_app())
    return agent_os, app


agent_os, app = mount() if os.environ["KIND"] == "mount" else add_to_base_app()


@app.get("/mine")
def mine() -> str:
    return "mine"


if __name__ == "__main__":
    agent_os.serve(app, port=int(os.environ["PORT"]), root_path=os.environ.get("ROOT_PATH", ""))
