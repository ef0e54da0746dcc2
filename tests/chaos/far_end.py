"""The model's far end in the driver's own process: it counts the calls of each message."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from chaos.signals import Signal
from stub_openai import StubOpenAI

if TYPE_CHECKING:
    from stub_openai import _Request


class FarEnd(StubOpenAI):
    """The stub of OpenAI's APIs, with a count for each message."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_of: Counter[str] = Counter()
        self.called = Signal()

    async def answer(self, request: _Request) -> AsyncIterator[bytes]:
        """Count, then answer as the stub does."""
        if request.method == "POST":
            message = json.loads(request.body)["messages"][-1]["content"]
            self.calls_of[message] += 1
            self.called.give()
        async for data in super().answer(request):
            yield data
