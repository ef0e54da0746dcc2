"""The stub of OpenAI's APIs as the far end of `ModelContract`."""

from __future__ import annotations

import asyncio
import itertools
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from hookline import ModelResponse, ToolCall, ToolDefinition, Usage
from hookline.testing import Exchange, RemoteEnd
from stub_openai import StubOpenAI, marker

_TEXT = "Grüße 👋, piece by piece"


class StubEnd(RemoteEnd):
    """Each exchange has a marker of its own, so that counts of one message do not mix with another's."""

    def __init__(self, stub: StubOpenAI) -> None:
        self.stub = stub
        self._numbers = itertools.count(1)

    def text(self) -> Exchange:
        return self._exchange()

    def reasoning(self) -> Exchange:
        return self._exchange(reasoning="They want pieces: überlegen wir.")

    def tool_calls(self, tools: Sequence[ToolDefinition]) -> Exchange:
        calls = [(tool.name, {"sides": 20, "label": "é"} if number == 0 else {}) for number, tool in enumerate(tools)]
        said = marker(tool=[f"{name}:{json.dumps(arguments)}" for name, arguments in calls])
        return Exchange(user=said, tool_calls=calls)

    def tool_results(self, calls: Sequence[ToolCall], response: ModelResponse) -> Sequence[str]:
        assert self.stub.stats.last_body
        given = self.results_in(self.stub.stats.last_body)
        return [given[call.id] for call in calls]

    @abstractmethod
    def results_in(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """The tools' results in a request's body, by the id of the call."""

    def failing(self, status: int, *, times: int | None = None, retry_after: float | None = None) -> Exchange:
        options: dict[str, Any] = {"status": status, "times": times, "retry_after": retry_after}
        return self._exchange(**{name: value for name, value in options.items() if value is not None})

    def dropping(self) -> Exchange:
        return self._exchange(drop=1)

    def holding(self) -> Exchange:
        return self._exchange(gate="held", after=1)

    async def held(self) -> None:
        await self.stub.arrived("held")

    def release(self) -> None:
        self.stub.open_gate("held")

    async def left(self) -> None:
        while not self.stub.stats.aborted:  # noqa: ASYNC110 - the stub tells by counts
            await asyncio.sleep(0.005)

    def requests(self) -> int:
        return self.stub.stats.calls

    def _exchange(self, *, reasoning: str | None = None, **options: object) -> Exchange:
        if reasoning is not None:
            options["reasoning"] = reasoning
        user = f"number {next(self._numbers)} {marker(text=_TEXT, **options)}"
        asked, answered = len(user.split()), len(_TEXT.split())
        usage = Usage(asked, answered, asked + answered)
        return Exchange(user=user, text=_TEXT, reasoning=reasoning, usage=usage)
