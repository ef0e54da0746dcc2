"""The chat completions API as plain data: what is asked, and what an answer must look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hookline import Message, ModelRequest, ModelResponse, ToolCall, ToolDefinition, Usage
from hookline_openai.answers import (
    AnswerError,
    StreamedAnswer,
    arguments_of,
    check_withheld,
    complete_call,
    decode,
    list_of,
    model_response,
    object_of,
    quote,
    text_of,
    usage_of,
)
from hookline_openai.schemas import named_schema

PATH = "/chat/completions"

RESERVED = frozenset({"model", "messages", "tools", "stream", "stream_options", "response_format", "n"})
"""Fields of a request that hookline sets."""


def request_body(model_id: str, options: Mapping[str, Any], request: ModelRequest) -> dict[str, Any]:
    """The body of one request; the request's own options win over the model's."""
    body: dict[str, Any] = {
        **options,
        **request.options,
        "model": model_id,
        "messages": [_message_data(message) for message in request.messages],
    }
    if request.tools:
        body["tools"] = [_tool_data(tool) for tool in request.tools]
    if request.output_schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": named_schema(request.output_schema)}
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def _message_data(message: Message) -> dict[str, Any]:
    data: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        data["tool_calls"] = [_call_data(call) for call in message.tool_calls]
    elif message.content is None:
        data["content"] = ""
    if message.tool_call_id is not None:
        data["tool_call_id"] = message.tool_call_id
    return data


def _call_data(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _tool_data(tool: ToolDefinition) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def read_answer(body: bytes) -> ModelResponse:
    """The answer in the body of a response.

    Raises:
        AnswerError: it is a refusal, withheld by the provider's filter, or no answer at all.
    """
    data = decode(body)
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        raise AnswerError(f"answered without a choice: {quote(body)}")
    choice = object_of(choices[0], "choice")
    message = object_of(choice.get("message"), "message")
    content = text_of(message, "content")
    finish = choice.get("finish_reason")
    check_withheld(filtered=finish == "content_filter", refusal=text_of(message, "refusal"))
    calls = _CallPieces()
    for number, call in enumerate(list_of(message, "tool_calls")):
        calls.add({**object_of(call, "tool call"), "index": number})
    return model_response(
        content, calls.whole(), _usage(data.get("usage")), reasoning=_reasoning(message), cut=finish == "length"
    )


class StreamedChat(StreamedAnswer):
    """The answer that a stream of completion chunks adds up to."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls = _CallPieces()
        self._finish: str | None = None
        self._usage = Usage()

    def take(self, data: Mapping[str, Any]) -> str | None:
        """See `StreamedAnswer.take`.

        Raises:
            AnswerError: it is no piece of an answer.
        """
        if data.get("usage"):
            self._usage = _usage(data["usage"])
        choices = list_of(data, "choices")
        if not choices:
            return None
        choice = object_of(choices[0], "choice")
        self._finish = choice.get("finish_reason") or self._finish
        delta = choice.get("delta")
        return self._take_delta(object_of(delta, "delta")) if delta else None

    def result(self) -> ModelResponse:
        """See `StreamedAnswer.result`.

        Raises:
            AnswerError: there is no answer.
        """
        if not self.done and self._finish is None:
            raise self.broken_off()
        check_withheld(filtered=self._finish == "content_filter", refusal="".join(self._refusal))
        return model_response(
            "".join(self._texts),
            self._calls.whole(),
            self._usage,
            reasoning="".join(self._reasoning),
            cut=self._finish == "length",
        )

    def _take_delta(self, delta: Mapping[str, Any]) -> str | None:
        if refusal := text_of(delta, "refusal"):
            self._refusal.append(refusal)
        if reasoning := _reasoning(delta):
            self._reasoning.append(reasoning)
        for piece in list_of(delta, "tool_calls"):
            self._calls.add(object_of(piece, "tool call"))
        text = text_of(delta, "content")
        if text:
            self._texts.append(text)
        return text


class _CallPieces:
    """Tool calls, put together from pieces that name them by index, by id, or not at all."""

    def __init__(self) -> None:
        self._calls: list[ToolCall] = []
        self._by_index: dict[int, ToolCall] = {}

    def add(self, piece: Mapping[str, Any]) -> None:
        """Take one piece: a call's beginning, more of its arguments, or all of it."""
        function = object_of(piece.get("function") or {}, "function")
        name = text_of(function, "name") or ""
        call = self._call_of(piece, begins=bool(name))
        call.name = call.name or name
        call.arguments += arguments_of(function.get("arguments"))

    def whole(self) -> list[ToolCall]:
        """The calls, each with an id."""
        return [complete_call(call) for call in self._calls]

    def _call_of(self, piece: Mapping[str, Any], *, begins: bool) -> ToolCall:
        id_, index = text_of(piece, "id") or "", piece.get("index")
        known = self._by_index.get(index) if isinstance(index, int) else self._last(id_, begins=begins)
        # Some servers give every call the same index, and only the id tells them apart.
        if known is not None and not (begins and id_ and known.id and known.id != id_):
            known.id = known.id or id_
            return known
        call = ToolCall(id=id_, name="", arguments="")
        self._calls.append(call)
        if isinstance(index, int):
            self._by_index[index] = call
        return call

    def _last(self, id_: str, *, begins: bool) -> ToolCall | None:
        if not self._calls or (begins and not id_):
            return None
        last = self._calls[-1]
        return None if id_ and last.id != id_ else last


def _reasoning(message: Mapping[str, Any]) -> str | None:
    """The reasoning text: OpenAI's own API sends none, other servers do, under one of two names."""
    for name in ("reasoning_content", "reasoning"):
        if isinstance(text := message.get(name), str):
            return text
    return None


def _usage(value: object) -> Usage:
    return usage_of(value, "prompt_tokens", "completion_tokens")
