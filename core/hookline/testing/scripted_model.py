"""`ScriptedModel`: a model that answers what the test says."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import itertools
import re
from collections.abc import Awaitable, Callable
from typing import Any

from hookline import jsontext
from hookline.errors import ModelError
from hookline.messages import Message, ToolCall
from hookline.models import ModelRequest, ModelResponse

__all__ = ["Reply", "ScriptedModel", "call_tool"]

Answer = str | Message | ModelResponse | BaseException
Reply = Answer | Callable[[ModelRequest], Answer | Awaitable[Answer]]
"""A text, a message, a whole response, an exception to raise, or a function (sync or async) that gives one."""

_ids = itertools.count(1)


def call_tool(name: str, /, **arguments: Any) -> Message:
    """Make a model's message that calls one tool; join the `tool_calls` of several to call them at once."""
    call = ToolCall(id=f"call_{next(_ids)}", name=name, arguments=jsontext.dumps(arguments))
    return Message("assistant", tool_calls=[call])


class ScriptedModel:
    """A model that gives its replies one after the other, from any event loop.

    Args:
        replies: see `Reply`.
        id: the model's id.
        repeat: give the last reply again and again.
        chunks: in how many pieces text is streamed; default: word by word.

    Attributes:
        requests: what it was asked, in order; `messages` as they were at that moment.
    """

    def __init__(
        self,
        *replies: Reply,
        id: str = "scripted",
        repeat: bool = False,
        chunks: int | None = None,
    ) -> None:
        self.id = id
        self.requests: list[ModelRequest] = []
        self._replies = replies
        self._repeat = repeat
        self._chunks = chunks
        self._turns = itertools.count()

    def open(self) -> None:
        """Do nothing: there is nothing to open."""

    async def respond(self, request: ModelRequest, emit: Callable[[str], None]) -> ModelResponse:
        """Give the next reply.

        Raises:
            ModelError: there is none left.
        """
        self.requests.append(dataclasses.replace(request, messages=list(request.messages)))
        reply = self._next_reply()
        if callable(reply):
            answer = reply(request)
            reply = await answer if inspect.isawaitable(answer) else answer
        response = _response(reply)
        if request.stream and response.message.content:
            for piece in _pieces(response.message.content, self._chunks):
                emit(piece)
                await asyncio.sleep(0)
        return response

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    def _next_reply(self) -> Reply:
        turn = next(self._turns)
        if self._repeat and self._replies:
            return self._replies[min(turn, len(self._replies) - 1)]
        if turn >= len(self._replies):
            raise ModelError(
                f"model {self.id!r} was asked {turn + 1} times and has {len(self._replies)} replies:"
                " give it more, or repeat=True"
            )
        return self._replies[turn]


def _response(answer: Answer) -> ModelResponse:
    if isinstance(answer, BaseException):
        raise answer
    if isinstance(answer, ModelResponse):
        return answer
    return ModelResponse(answer if isinstance(answer, Message) else Message("assistant", answer))


def _pieces(text: str, count: int | None) -> list[str]:
    if count is None:
        return re.findall(r"\s*\S+\s*$|\s*\S+", text) or [text]
    bounds = [len(text) * number // count for number in range(count + 1)]
    return [text[start:end] for start, end in itertools.pairwise(bounds) if start < end]
