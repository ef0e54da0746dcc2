"""What a call of the stub asks for, and its answers in any API as bytes of HTTP; `stub_openai` tells of the markers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import unquote

_MARKER = re.compile(r"\[\[stub ([^\]]*)\]\]")

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


@dataclass
class Call:
    """One call of an endpoint: what was asked, and what the marker says.

    `messages` have a `role` and a `content`, whatever form the API gives them.
    """

    body: dict[str, Any]
    messages: list[dict[str, Any]]
    user_text: str
    options: list[tuple[str, str]]

    @classmethod
    def read(cls, body: dict[str, Any], messages: list[dict[str, Any]]) -> Call:
        texts = [message["content"] for message in messages if message["role"] == "user"]
        text = texts[-1] if texts else ""
        found = _MARKER.search(text)
        pairs = [pair.partition("=") for pair in found[1].split()] if found else []
        return cls(body, messages, text, [(name, unquote(value)) for name, _, value in pairs])

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
    def tool_calls(self) -> list[ToolCall]:
        if self.messages[-1]["role"] == "tool":
            return []
        named = [value.partition(":") for key, value in self.options if key == "tool"]
        return [
            ToolCall(None if self.get("ids") == "no" else f"call_{index}", name, arguments or "{}")
            for index, (name, _, arguments) in enumerate(named)
        ]

    @property
    def usage(self) -> tuple[int, int] | None:
        """The words that were asked and answered."""
        if self.get("usage") == "no":
            return None
        asked = sum(len((message.get("content") or "").split()) for message in self.messages)
        return asked, len(self.text.split())


@dataclass
class ToolCall:
    id: str | None
    name: str
    arguments: str


class Api(Protocol):
    """How an API reads a call and writes each part of its answer."""

    def read_call(self, body: dict[str, Any], /) -> Call: ...
    def whole_answer(self, call: Call, /) -> dict[str, Any]: ...
    def garbage(self, kind: str, /) -> object: ...
    def begin(self, call: Call, /) -> Iterator[bytes]: ...
    def piece(self, call: Call, text: str, /) -> bytes: ...
    def error(self, call: Call, /) -> bytes: ...
    def end(self, call: Call, /) -> Iterator[bytes]: ...


def json_response(content: object, status: int = 200, *headers: str, kind: str = "application/json") -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"content-type: {kind}", *headers]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def error_response(call: Call) -> bytes:
    headers = [f"retry-after: {call.get('retry_after')}"] if call.has("retry_after") else []
    message = call.get("message", "the stub was told to fail")
    return json_response({"error": {"message": message, "type": "stub"}}, int(call.number("status")), *headers)


def garbage_response(call: Call, api: Api) -> bytes:
    kind = call.get("garbage")
    if kind == "html":
        return json_response(b"<html>maintenance</html>", kind="text/html")
    if kind == "json":
        return json_response(b'{"choices": [{')
    plain: dict[str, object] = {"list": [1, 2], "null": None}
    return json_response(plain[kind] if kind in plain else api.garbage(kind))


def event(content: object) -> bytes:
    return framed(b"data: " + json.dumps(content).encode() + b"\n\n")


def framed(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]
