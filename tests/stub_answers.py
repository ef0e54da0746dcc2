"""What the stub of OpenAI's API answers, as bytes of HTTP; `stub_openai` tells what a marker can ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

_MARKER = re.compile(r"\[\[stub ([^\]]*)\]\]")
_DONE = b"data: [DONE]\n\n"

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


@dataclass
class Call:
    """One call of the completions endpoint: what was asked, and what the marker says."""

    body: dict[str, Any]
    user_text: str
    options: list[tuple[str, str]]

    @classmethod
    def read(cls, body: dict[str, Any]) -> Call:
        texts = [message["content"] for message in body["messages"] if message["role"] == "user"]
        text = texts[-1] if texts else ""
        found = _MARKER.search(text)
        pairs = [pair.partition("=") for pair in found[1].split()] if found else []
        return cls(body, text, [(name, unquote(value)) for name, _, value in pairs])

    def get(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.options if key == name), default)

    def number(self, name: str, default: float = 0) -> float:
        return float(self.get(name) or default)

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self.options)

    @property
    def text(self) -> str:
        if self.has("text"):
            return self.get("text")
        if self.has("chunks"):
            return " ".join(f"piece-{number + 1}" for number in range(int(self.number("chunks"))))
        return "You said: " + _MARKER.sub("", self.user_text).strip()

    @property
    def pieces(self) -> list[str]:
        if not (self.has("chunks") and self.has("text")):
            return re.findall(r"\S+\s*", self.text)
        text, count = self.text, int(self.number("chunks"))
        return [text[len(text) * n // count : len(text) * (n + 1) // count] for n in range(count)]

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        if self.body["messages"][-1]["role"] == "tool":
            return []
        calls = []
        for index, value in enumerate(value for key, value in self.options if key == "tool"):
            name, _, arguments = value.partition(":")
            call = {"type": "function", "function": {"name": name, "arguments": arguments or "{}"}}
            if self.get("ids") != "no":
                call["id"] = f"call_{index}"
            calls.append(call)
        return calls

    @property
    def finish(self) -> str:
        return self.get("finish", "tool_calls" if self.tool_calls else "stop")

    @property
    def usage(self) -> dict[str, int] | None:
        if self.get("usage") == "no":
            return None
        asked = sum(len((message.get("content") or "").split()) for message in self.body["messages"])
        answered = len(self.text.split())
        return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def json_response(content: object, status: int = 200, *headers: str, kind: str = "application/json") -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"content-type: {kind}", *headers]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def error_response(call: Call) -> bytes:
    headers = [f"retry-after: {call.get('retry_after')}"] if call.has("retry_after") else []
    message = call.get("message", "the stub was told to fail")
    return json_response({"error": {"message": message, "type": "stub"}}, int(call.number("status")), *headers)


def garbage_response(call: Call) -> bytes:
    kind = call.get("garbage")
    if kind == "html":
        return json_response(b"<html>maintenance</html>", kind="text/html")
    if kind == "json":
        return json_response(b'{"choices": [{')
    shapes: dict[str, object] = {
        "list": [1, 2],
        "null": None,
        "empty": {"choices": []},
        "text": {"choices": [{"message": "hello", "finish_reason": "stop"}]},
        "parts": {"choices": [{"message": {"content": [1]}, "finish_reason": "stop"}]},
    }
    return json_response(shapes[kind])


def whole_answer(call: Call) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": call.text, "refusal": None}
    if call.tool_calls:
        message |= {"content": None, "tool_calls": call.tool_calls}
    if call.has("refusal"):
        message |= {"content": None, "refusal": call.get("refusal")}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": call.finish}
    answer = {
        "id": "chatcmpl-stub",
        "object": "chat.completion",
        "created": 0,
        "model": "stub",
        "choices": [choice],
    }
    return answer | ({"usage": call.usage} if call.usage else {})


def _chunk(**fields: object) -> dict[str, Any]:
    return {"id": "chatcmpl-stub", "object": "chat.completion.chunk", "created": 0, "model": "stub", **fields}


def delta(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return _chunk(choices=[{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])


def event(content: object) -> bytes:
    return _framed(b"data: " + json.dumps(content).encode() + b"\n\n")


def _framed(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def end_of_stream(call: Call) -> Iterator[bytes]:
    if call.has("refusal"):
        yield event(delta({"refusal": call.get("refusal")}))
    for piece in _tool_pieces(call):
        yield event(delta({"tool_calls": [piece]}))
    yield event(delta({}, call.finish))
    if call.usage and call.body.get("stream_options", {}).get("include_usage"):
        yield event(_chunk(choices=[], usage=call.usage))
    yield _framed(_DONE)


def _tool_pieces(call: Call) -> Iterator[dict[str, Any]]:
    """All calls begin, then their arguments come in halves, turn by turn; without an index: call by call."""
    begun = [{**each, "function": {**each["function"], "arguments": ""}} for each in call.tool_calls]
    pieces = [_halves(each["function"]["arguments"]) for each in call.tool_calls]
    if call.get("index") == "no":
        for begin, halves in zip(begun, pieces, strict=True):
            yield begin
            yield from ({"function": {"arguments": half}} for half in halves)
        return
    yield from ({"index": index, **begin} for index, begin in enumerate(begun))
    for half in (0, 1):
        for index, halves in enumerate(pieces):
            yield {"index": index, "function": {"arguments": halves[half]}}


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]
