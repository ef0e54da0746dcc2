"""A model's API that costs next to nothing: chat completions with one fixed answer, streamed or not.

Servers under measurement talk to it in place of a provider, so that what is left is their own work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from typing import Any

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n%b\r\n\r\n"
_USAGE = {"prompt_tokens": 20, "completion_tokens": 400, "total_tokens": 420}


class Answer:
    """The answer as it goes over the wire, made once.

    Args:
        size: its length in bytes.
        chunks: how many events of a stream it is spread over.
    """

    def __init__(self, size: int, chunks: int) -> None:
        text = ("The quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[:size]
        body = json.dumps(self._completion(text)).encode()
        self.plain = _HEAD % (b"application/json", b"content-length: %d" % len(body)) + body
        width = max(1, -(-size // chunks))
        deltas = [{"content": text[start : start + width]} for start in range(0, size, width)]
        events = [json.dumps(self._chunk(delta)).encode() for delta in deltas]
        events += [json.dumps(self._chunk({}, finish_reason="stop")).encode()]
        events += [json.dumps(self._chunk(None) | {"usage": _USAGE}).encode(), b"[DONE]"]
        self.stream_head = _HEAD % (b"text/event-stream", b"transfer-encoding: chunked")
        self.stream = [_http_chunk(b"data: %b\n\n" % event) for event in events]

    def _completion(self, text: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return self._envelope("chat.completion", [choice]) | {"usage": _USAGE}

    def _chunk(self, delta: dict[str, str] | None, finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return self._envelope("chat.completion.chunk", [] if delta is None else [choice])

    def _envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": "stub", "choices": choices}


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Stub(asyncio.Protocol):
    """One connection, kept alive; requests come one after the other."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._streaming: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (body := self._next_request()) is not None:
            self._respond(body)

    def _next_request(self) -> bytes | None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        length = _CONTENT_LENGTH.search(self._received, 0, end)
        body_end = end + 4 + (int(length[1]) if length else 0)
        if len(self._received) < body_end:
            return None
        body = bytes(self._received[end + 4 : body_end])
        del self._received[:body_end]
        return body

    def _respond(self, body: bytes) -> None:
        assert self._transport is not None
        if body and json.loads(body).get("stream"):
            self._streaming = asyncio.get_running_loop().create_task(self._stream(self._transport))
        else:
            self._transport.write(self._answer.plain)

    async def _stream(self, transport: asyncio.Transport) -> None:
        transport.write(self._answer.stream_head)
        for event in self._answer.stream:
            if transport.is_closing():
                return
            transport.write(event)
            await asyncio.sleep(0)
        transport.write(b"0\r\n\r\n")


async def _serve(port: int, answer: Answer) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Stub(answer), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--size", type=int, default=2048, help="bytes of the answer (default 2048)")
    parser.add_argument("--chunks", type=int, default=64, help="events with content in a stream (default 64)")
    options = parser.parse_args()
    asyncio.run(_serve(options.port, Answer(options.size, options.chunks)))


if __name__ == "__main__":
    main()
