"""The chat completions API as plain data: what is asked, and what an answer must look like."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hookline import Message, ModelRequest, ModelResponse, ToolCall, ToolDefinition, Usage
from hookline_openai.strict import allows_strict

RESERVED = frozenset({"model", "messages", "tools", "stream", "stream_options", "response_format", "n"})
"""Fields of a request that hookline sets."""

_LONGEST_QUOTE = 300


class AnswerError(Exception):
    """What came back is not an answer."""


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
        body["response_format"] = _response_format(request.output_schema)
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


def _response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    name = re.sub(r"[^a-zA-Z0-9_-]+", "_", str(schema.get("title") or "answer"))[:64]
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": schema, "strict": allows_strict(schema)},
    }


def read_answer(body: bytes) -> ModelResponse:
    """The answer in the body of a response.

    Raises:
        AnswerError: it is a refusal, withheld by the provider's filter, or no answer at all.
    """
    data = _decode(body)
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        raise AnswerError(f"answered without a choice: {_quote(body)}")
    choice = _as_object(choices[0], "choice")
    message = _as_object(choice.get("message"), "message")
    content = _text(message, "content")
    _check_end(choice.get("finish_reason"), _text(message, "refusal"))
    calls = _CallPieces()
    for number, call in enumerate(_list(message, "tool_calls")):
        calls.add({**_as_object(call, "tool call"), "index": number})
    return _response(content, calls.whole(), choice.get("finish_reason"), _usage(data.get("usage")))


class StreamedAnswer:
    """The answer that the bytes of an event stream add up to."""

    def __init__(self) -> None:
        self._rest = b""
        self._texts: list[str] = []
        self._refusal: list[str] = []
        self._calls = _CallPieces()
        self._finish: str | None = None
        self._done = False
        self._usage = Usage()

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Take some bytes and give the pieces of text that they complete.

        Raises:
            AnswerError: the provider reports an error, or sends what is no piece of an answer.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                event = line[5:].strip()
                if event == b"[DONE]":
                    self._done = True
                elif event and (text := self._take(_decode(event))):
                    yield text

    def result(self) -> ModelResponse:
        """The whole answer, once the stream has ended.

        Raises:
            AnswerError: it is incomplete, a refusal, or withheld by the provider's filter.
        """
        if not self._done and self._finish is None:
            raise AnswerError(f"the stream ended in the midst of the answer{self._unread()}")
        _check_end(self._finish, "".join(self._refusal))
        return _response("".join(self._texts), self._calls.whole(), self._finish, self._usage)

    def _take(self, data: Mapping[str, Any]) -> str | None:
        if data.get("error"):
            raise AnswerError(f"the provider reported an error: {_error_text(data['error'])}")
        if data.get("usage"):
            self._usage = _usage(data["usage"])
        choices = _list(data, "choices")
        if not choices:
            return None
        choice = _as_object(choices[0], "choice")
        self._finish = choice.get("finish_reason") or self._finish
        delta = choice.get("delta")
        return self._take_delta(_as_object(delta, "delta")) if delta else None

    def _take_delta(self, delta: Mapping[str, Any]) -> str | None:
        if refusal := _text(delta, "refusal"):
            self._refusal.append(refusal)
        for piece in _list(delta, "tool_calls"):
            self._calls.add(_as_object(piece, "tool call"))
        text = _text(delta, "content")
        if text:
            self._texts.append(text)
        return text

    def _unread(self) -> str:
        return "" if self._texts or not self._rest.strip() else f": {_quote(self._rest)}"


class _CallPieces:
    """Tool calls, put together from pieces that name them by index, by id, or not at all."""

    def __init__(self) -> None:
        self._calls: list[ToolCall] = []
        self._by_index: dict[int, ToolCall] = {}

    def add(self, piece: Mapping[str, Any]) -> None:
        """Take one piece: a call's beginning, more of its arguments, or all of it."""
        function = _as_object(piece.get("function") or {}, "function")
        name = _text(function, "name") or ""
        call = self._call_of(piece, begins=bool(name))
        call.name = call.name or name
        call.arguments += _arguments(function.get("arguments"))

    def whole(self) -> list[ToolCall]:
        """The calls, each with an id."""
        for call in self._calls:
            if not call.name:
                raise AnswerError("a tool call names no tool")
            call.id = call.id or f"call_{uuid.uuid4().hex}"
            call.arguments = call.arguments or "{}"
        return self._calls

    def _call_of(self, piece: Mapping[str, Any], *, begins: bool) -> ToolCall:
        id_, index = _text(piece, "id") or "", piece.get("index")
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


def _arguments(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, dict):  # some servers send the object instead of its text
        return json.dumps(value)
    raise AnswerError(f"a tool call's arguments are of the type {type(value).__name__}")


def _response(content: str | None, calls: list[ToolCall], finish: object, usage: Usage) -> ModelResponse:
    if finish == "length" and not content and not calls:
        raise AnswerError("spent all its tokens before it wrote any text: raise max_completion_tokens")
    text = (content or None) if calls else (content or "")
    return ModelResponse(Message("assistant", text, calls or None), usage)


def _check_end(finish: object, refusal: str | None) -> None:
    if finish == "content_filter":
        raise AnswerError("the provider's content filter withheld the answer (finish reason content_filter)")
    if refusal:
        raise AnswerError(f"the model refused: {refusal[:_LONGEST_QUOTE]}")


def _usage(value: object) -> Usage:
    counts = value if isinstance(value, dict) else {}
    asked, answered, total = (
        count if isinstance(count := counts.get(f"{name}_tokens"), int) else 0
        for name in ("prompt", "completion", "total")
    )
    return Usage(asked, answered, total or asked + answered)


def _decode(body: bytes) -> Mapping[str, Any]:
    try:
        return _as_object(json.loads(body), "answer")
    except ValueError as error:
        raise AnswerError(f"answered something that is not JSON: {_quote(body)}") from error


def _as_object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError(f"the {what} is not an object but {_quote(json.dumps(value).encode())}")
    return value


def _list(data: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = data.get(name) or []
    if not isinstance(value, list):
        raise AnswerError(f"{name} is of the type {type(value).__name__}, not a list")
    return value


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise AnswerError(f"{name} is of the type {type(value).__name__}, not text")
    return value


def _error_text(error: object) -> str:
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or error)[:_LONGEST_QUOTE]


def _quote(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "...")
