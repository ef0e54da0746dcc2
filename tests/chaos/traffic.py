"""The traffic: clients who ask for runs in every way there is, and remember what they were told."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

import httpx2

from chaos.plan import choose_acts, compose
from chaos.signals import Signal
from stub_openai import marker

AGENTS = ("after", "around")
SHARED_SESSIONS = 6
LIMIT_SECONDS = 90.0
"""How long a client waits: longer than any server is frozen."""
TERMINAL = frozenset({"RunCompleted", "RunFailed", "RunCancelled", "RunRejected"})


class Mode(StrEnum):
    """How a run is asked for."""

    PLAIN = "plain"
    STREAM = "stream"
    DETACHED = "detached"
    LEAVE = "leave"
    LEAVE_STREAM = "leave the stream"
    CANCEL = "cancel"


PERCENT = {
    Mode.PLAIN: 45,
    Mode.STREAM: 23,
    Mode.DETACHED: 12,
    Mode.LEAVE: 7,
    Mode.LEAVE_STREAM: 10,
    Mode.CANCEL: 3,
}


@dataclass(slots=True)
class Asked:
    """A run that was asked for, and the answer.

    Attributes:
        answer: the HTTP status and a word about it; `lost` when the connection broke, `left` when the client did.
        run_id: the run, where the answer names one.
        run: the whole run, where the answer has it: a 200's body, a terminal event's `run`.
    """

    number: int
    mode: Mode
    agent: str
    session_id: str
    message: str
    answer: str = "lost"
    status: int | None = None
    run_id: str | None = None
    run: dict[str, Any] | None = None


class Traffic:
    """Clients who ask the servers at `targets()` for one run after the other, until `stop` is called."""

    def __init__(self, targets: Callable[[], list[str]], *, seed: int, clients: int) -> None:
        self.asked: list[Asked] = []
        self.answered = Signal()
        self._targets = targets
        self._seed = seed
        self._clients = clients
        self._numbers = itertools.count(1)
        self._stopped = False

    def stop(self) -> None:
        """Ask for no more."""
        self._stopped = True

    async def run(self) -> None:
        """Put the load, until all clients have stopped."""
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=self._clients)
        async with httpx2.AsyncClient(timeout=LIMIT_SECONDS, limits=limits) as http, asyncio.TaskGroup() as group:
            for client in range(self._clients):
                group.create_task(self._be_client(http, Random(f"{self._seed}/{client}")))  # noqa: S311 - no secret

    async def _be_client(self, http: httpx2.AsyncClient, rng: Random) -> None:
        while not self._stopped:
            await asyncio.sleep(rng.expovariate(5.0))
            targets = self._targets()
            if not targets:
                continue
            asked = self._choose(rng)
            self.asked.append(asked)
            try:
                await self._ask(http, rng.choice(targets), asked, rng)
            except httpx2.TransportError:
                continue
            self.answered.give()

    def _choose(self, rng: Random) -> Asked:
        number = next(self._numbers)
        steering = marker(latency=round(rng.uniform(0.0, 0.25), 3), chunks=3, delay=round(rng.uniform(0.0, 0.1), 3))
        shared = rng.random() < 0.3
        return Asked(
            number=number,
            mode=rng.choices(list(PERCENT), weights=list(PERCENT.values()))[0],
            agent=rng.choice(AGENTS),
            session_id=f"shared-{rng.randrange(SHARED_SESSIONS)}" if shared else f"own-{number}",
            message=f"{compose(number, choose_acts(rng))} {steering}",
        )

    async def _ask(self, http: httpx2.AsyncClient, base: str, asked: Asked, rng: Random) -> None:
        fields = {"message": asked.message, "session_id": asked.session_id}
        streamed = asked.mode in {Mode.STREAM, Mode.LEAVE_STREAM}
        detached = asked.mode in {Mode.DETACHED, Mode.CANCEL}
        fields |= {"stream": "true"} if streamed else {"background": "true"} if detached else {}
        patience = rng.uniform(0.0, 0.4) if asked.mode is Mode.LEAVE else LIMIT_SECONDS
        try:
            async with (
                asyncio.timeout(patience),
                http.stream("POST", f"{base}/agents/{asked.agent}/runs", data=fields) as response,
            ):
                if streamed and response.status_code == 200:
                    await _read_stream(response, asked)
                else:
                    await response.aread()
                    _read_answer(response, asked)
        except TimeoutError:
            asked.answer = "left"
        if asked.mode is Mode.CANCEL and asked.status == 202:
            await asyncio.sleep(rng.uniform(0.0, 0.3))
            await http.post(f"{base}/runs/{asked.run_id}/cancel")


def _read_answer(response: httpx2.Response, asked: Asked) -> None:
    body = response.json()
    asked.status = response.status_code
    asked.run_id = body.get("run_id")
    if response.status_code == 200:
        asked.run = body
    asked.answer = f"{response.status_code} {body.get('reason') or body.get('title') or body['status']}"


async def _read_stream(response: httpx2.Response, asked: Asked) -> None:
    event = ""
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            data = json.loads(value)
            asked.run_id = data["run_id"]
            if event in TERMINAL:
                asked.status, asked.run = 200, data["run"]
                asked.answer = f"{event} {data['run']['reason'] or ''}".strip()
            elif asked.mode is Mode.LEAVE_STREAM and event == "RunContent":
                asked.answer = "left"
                return
