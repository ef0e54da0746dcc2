"""`DemoModel`: it answers by a few rules, the same each time."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Sequence

from hookline import Message, ModelRequest, ModelResponse, ToolCall, ToolDefinition, Usage
from hookline_demo.example_values import NoExampleError, example_of

_FILLERS = frozenset({"a", "an", "the", "my", "some", "of", "for", "to", "get", "tool"})


class DemoModel:
    """A model without a key, for demonstrations and tests.

    It repeats what the user said. If the user's message has all the words of a tool's name ("roll a die" for
    `roll_a_die`), it calls that tool, or several at once, with arguments taken from the message as far as they can be,
    and then tells what came back. Where an `output_schema` is asked for, it makes up a value of it. It counts words as
    tokens.

    Args:
        id: the model's id; it changes nothing.
        delay: seconds between two words of a stream.
    """

    def __init__(self, id: str = "demo", *, delay: float = 0.02) -> None:
        self.id = id
        self.delay = delay

    def __repr__(self) -> str:
        return f"DemoModel(id={self.id!r})"

    def open(self) -> None:
        """Do nothing: there is nothing to open."""

    async def respond(self, request: ModelRequest, emit: Callable[[str], None]) -> ModelResponse:
        """Answer by the rules that the class tells; a stream comes word by word."""
        message = _answer(request)
        if request.stream and message.content:
            await self._stream(message.content, emit)
        return ModelResponse(message, _usage(request.messages, message))

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    async def _stream(self, text: str, emit: Callable[[str], None]) -> None:
        for number, piece in enumerate(re.findall(r"\S+\s*", text)):
            if number:
                await asyncio.sleep(self.delay)
            emit(piece)


def _answer(request: ModelRequest) -> Message:
    said = next((m.content or "" for m in reversed(request.messages) if m.role == "user"), "")
    results = _tool_results(request.messages)
    if not results and (calls := _tool_calls(request.tools, said, first=len(request.messages))):
        return Message("assistant", tool_calls=calls)
    if request.output_schema is not None:
        return Message("assistant", json.dumps(example_of(request.output_schema, said)))
    if results:
        return Message("assistant", " ".join(f"{name} says: {result}" for name, result in results))
    return Message("assistant", f"You said: {said}" if said.strip() else "You said nothing.")


def _tool_results(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """What the tools answered since the user spoke: their names and results."""
    since = next((n for n in reversed(range(len(messages))) if messages[n].role == "user"), -1) + 1
    latest = messages[since:]
    names = {call.id: call.name for message in latest for call in message.tool_calls or ()}
    return [
        (names.get(message.tool_call_id or "", "the tool"), message.content or "")
        for message in latest
        if message.role == "tool"
    ]


def _tool_calls(tools: Iterable[ToolDefinition], said: str, *, first: int) -> list[ToolCall]:
    """Calls of the tools that were mentioned; each call adds a message, so ids counted from there never recur."""
    words = set(_words(said))
    calls: list[ToolCall] = []
    for tool in tools:
        wanted = set(_words(tool.name)) - _FILLERS
        if wanted and wanted <= words:
            try:
                arguments = example_of(tool.parameters, said)
            except NoExampleError:
                continue
            calls.append(ToolCall(id=f"call_{first + len(calls)}", name=tool.name, arguments=json.dumps(arguments)))
    return calls


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _usage(messages: Sequence[Message], answer: Message) -> Usage:
    asked = sum(len((message.content or "").split()) for message in messages)
    written = [answer.content or "", *(f"{call.name} {call.arguments}" for call in answer.tool_calls or ())]
    answered = sum(len(text.split()) for text in written)
    return Usage(asked, answered, asked + answered)
