"""The stub's Responses API: an `Api` of `stub_answers`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stub_answers import Call, ToolCall, event, halves

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def read_call(body: dict[str, Any], /) -> Call:
    return Call.read(body, [_message(item) for item in body["input"]])


def whole_answer(call: Call, /) -> dict[str, Any]:
    return {
        **_begun(),
        "status": _status(call),
        "error": {"code": "server_error", "message": call.get("failed")} if call.has("failed") else None,
        "incomplete_details": {"reason": reason} if (reason := _INCOMPLETE.get(call.get("finish"))) else None,
        "output": [] if call.has("failed") else _output(call),
        "usage": _usage(call),
    }


def garbage(kind: str, /) -> object:
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": [1]}]}
    shapes: dict[str, object] = {
        "empty": {"object": "response", "status": "completed"},
        "text": {"status": "completed", "output": ["hello"]},
        "parts": {"status": "completed", "output": [message]},
    }
    return shapes[kind]


def begin(call: Call, /) -> Iterator[bytes]:
    for name in ("created", "in_progress"):
        yield _event(f"response.{name}", response={**_begun(), "status": "in_progress", "output": []})
    if not call.has("reasoning"):
        return
    item = _reasoning(call)
    place = {"item_id": item["id"], "output_index": 0}
    yield _event("response.output_item.added", output_index=0, item={**item, "summary": []})
    for half in halves(call.get("reasoning")):
        yield _event("response.reasoning_summary_text.delta", **place, summary_index=0, delta=half)
    yield _event("response.output_item.done", output_index=0, item=item)


def piece(call: Call, text: str, /) -> bytes:
    return _event("response.output_text.delta", **_place_of_text(call), delta=text, logprobs=[])


def error(call: Call, /) -> bytes:
    return _event("error", code="server_error", message=call.get("message", "the stub was told to fail"), param=None)


def end(call: Call, /) -> Iterator[bytes]:
    whole = whole_answer(call)
    if call.has("refusal"):
        yield _event("response.refusal.delta", **_place_of_text(call), delta=call.get("refusal"))
    items = whole["output"]
    calls = [(index, item) for index, item in enumerate(items) if item["type"] == "function_call"]
    for index, item in calls:
        yield _event("response.output_item.added", output_index=index, item={**item, "arguments": ""})
    for number in (0, 1):
        for index, item in calls:
            half = halves(item["arguments"])[number]
            yield _event("response.function_call_arguments.delta", output_index=index, item_id=item["id"], delta=half)
    for index, item in enumerate(items):
        if item["type"] != "reasoning":
            yield _event("response.output_item.done", output_index=index, item=item)
    yield _event(f"response.{whole['status']}", response=whole)


def _message(item: dict[str, Any]) -> dict[str, Any]:
    kind = item.get("type", "message")
    if kind == "message":
        return {"role": item["role"], "content": item["content"]}
    if kind == "function_call":
        return {"role": "assistant", "content": None}
    return {"role": "tool", "content": item["output"]}


def _begun() -> dict[str, Any]:
    return {"id": "resp_stub", "object": "response", "created_at": 0, "model": "stub", "error": None}


def _status(call: Call) -> str:
    if call.has("failed"):
        return "failed"
    return "incomplete" if call.get("finish") in _INCOMPLETE else call.get("finish", "completed")


def _output(call: Call) -> list[dict[str, Any]]:
    thought = [_reasoning(call)] if call.has("reasoning") else []
    if call.tool_calls:
        return thought + [_call(index, each) for index, each in enumerate(call.tool_calls)]
    part = {"type": "output_text", "text": call.text, "annotations": [], "logprobs": []}
    if call.has("refusal"):
        part = {"type": "refusal", "refusal": call.get("refusal")}
    message = {"id": "msg_stub", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    return [*thought, message]


def _reasoning(call: Call) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": call.get("reasoning")}]
    return {"id": "rs_stub", "type": "reasoning", "summary": summary}


def _call(index: int, call: ToolCall) -> dict[str, Any]:
    item = {"id": f"fc_{index}", "type": "function_call", "name": call.name, "arguments": call.arguments}
    return item | ({"call_id": call.id} if call.id else {})


def _usage(call: Call) -> dict[str, Any] | None:
    if call.usage is None:
        return None
    asked, answered = call.usage
    return {"input_tokens": asked, "output_tokens": answered, "total_tokens": asked + answered}


def _place_of_text(call: Call) -> dict[str, Any]:
    return {"item_id": "msg_stub", "output_index": int(call.has("reasoning")), "content_index": 0}


def _event(kind: str, **fields: object) -> bytes:
    return event({"type": kind, **fields})
