"""The stub's chat completions API: an `Api` of `stub_answers`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stub_answers import Call, ToolCall, event, framed, halves

_DONE = b"data: [DONE]\n\n"


def read_call(body: dict[str, Any], /) -> Call:
    return Call.read(body, body["messages"])


def whole_answer(call: Call, /) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": call.text, "refusal": None}
    if call.tool_calls:
        message |= {"content": None, "tool_calls": [_whole_call(each) for each in call.tool_calls]}
    if call.has("refusal"):
        message |= {"content": None, "refusal": call.get("refusal")}
    if call.has("reasoning"):
        message["reasoning_content"] = call.get("reasoning")
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(call)}
    answer = {"id": "chatcmpl-stub", "object": "chat.completion", "created": 0, "model": "stub", "choices": [choice]}
    return answer | _usage(call)


def garbage(kind: str, /) -> object:
    shapes: dict[str, object] = {
        "empty": {"choices": []},
        "text": {"choices": [{"message": "hello", "finish_reason": "stop"}]},
        "parts": {"choices": [{"message": {"content": [1]}, "finish_reason": "stop"}]},
    }
    return shapes[kind]


def begin(call: Call, /) -> Iterator[bytes]:
    yield _delta({"role": "assistant", "content": None if call.tool_calls else ""})
    if call.has("reasoning"):
        for half in halves(call.get("reasoning")):
            yield _delta({"reasoning_content": half})


def piece(call: Call, text: str, /) -> bytes:
    del call
    return _delta({"content": text})


def error(call: Call, /) -> bytes:
    return event({"error": {"message": call.get("message", "the stub was told to fail")}})


def end(call: Call, /) -> Iterator[bytes]:
    if call.has("refusal"):
        yield _delta({"refusal": call.get("refusal")})
    for each in _tool_pieces(call):
        yield _delta({"tool_calls": [each]})
    yield _delta({}, _finish(call))
    if call.usage and call.body.get("stream_options", {}).get("include_usage"):
        yield event(_chunk(choices=[], **_usage(call)))
    yield framed(_DONE)


def _finish(call: Call) -> str:
    return call.get("finish", "tool_calls" if call.tool_calls else "stop")


def _usage(call: Call) -> dict[str, Any]:
    if call.usage is None:
        return {}
    asked, answered = call.usage
    return {"usage": {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}}


def _whole_call(call: ToolCall) -> dict[str, Any]:
    whole = {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return whole | ({"id": call.id} if call.id else {})


def _chunk(**fields: object) -> dict[str, Any]:
    return {"id": "chatcmpl-stub", "object": "chat.completion.chunk", "created": 0, "model": "stub", **fields}


def _delta(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return event(_chunk(choices=[{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]))


def _tool_pieces(call: Call) -> Iterator[dict[str, Any]]:
    """All calls begin, then their arguments come in halves, turn by turn; without an index: call by call."""
    begun = [_whole_call(ToolCall(each.id, each.name, "")) for each in call.tool_calls]
    pieces = [halves(each.arguments) for each in call.tool_calls]
    if call.get("index") == "no":
        for beginning, parts in zip(begun, pieces, strict=True):
            yield beginning
            yield from ({"function": {"arguments": part}} for part in parts)
        return
    yield from ({"index": index, **beginning} for index, beginning in enumerate(begun))
    for number in (0, 1):
        for index, parts in enumerate(pieces):
            yield {"index": index, "function": {"arguments": parts[number]}}
