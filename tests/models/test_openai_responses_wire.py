"""The pieces of the Responses API's wire format that the stub does not send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline import Message, ModelResponse, ToolCall, Usage
from hookline_openai.answers import AnswerError
from hookline_openai.responses_wire import StreamedResponse, read_answer


def event(kind: str, **fields: object) -> bytes:
    data = json.dumps({"type": kind, **fields})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def delta(text: object) -> bytes:
    return event("response.output_text.delta", delta=text)


def completed(*items: object, **fields: object) -> bytes:
    return event("response.completed", response={"status": "completed", "output": list(items), **fields})


def read(*chunks: bytes) -> tuple[list[str], ModelResponse]:
    answer = StreamedResponse()
    pieces = [piece for chunk in chunks for piece in answer.feed(chunk)]
    return pieces, answer.result()


def text(content: object) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": content}]}


def call(id_: str, name: str, arguments: object) -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{id_}", "call_id": id_, "name": name, "arguments": arguments}


def test_items_that_are_not_repeated_at_the_end_count_in_their_order() -> None:
    pieces, response = read(
        delta("Hi"),
        event("response.output_item.done", output_index=1, item=call("b", "now", None)),
        event("response.output_item.done", output_index=0, item=call("a", "add", {"x": 1})),
        event("response.output_item.done", output_index=2, item=text("Hi")),
        completed(usage={"input_tokens": 1, "output_tokens": 2}),
    )

    assert pieces == ["Hi"]
    calls = [ToolCall("a", "add", '{"x": 1}'), ToolCall("b", "now", "{}")]
    assert response == ModelResponse(Message("assistant", "Hi", calls), Usage(1, 2, 3))


def test_items_that_hookline_did_not_ask_for_are_passed_over() -> None:
    search = {"type": "web_search_call", "status": "completed"}

    _, response = read(completed(search, {"type": None}, text("Found.")))

    assert response.message == Message("assistant", "Found.")


@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "One."}, {"text": "Two."}]},
        {"type": "reasoning", "summary": [], "content": [{"text": "One."}, {"type": "reasoning_text", "text": "Two."}]},
    ],
)
def test_reasoning_is_the_summary_or_the_text_itself(item: dict[str, Any]) -> None:
    _, response = read(completed(item, text("Yes.")))

    assert response.reasoning == "One.\n\nTwo."


def test_reasoning_that_is_not_shown_is_none() -> None:
    _, response = read(completed({"type": "reasoning", "summary": [], "encrypted_content": "x"}, text("Yes.")))

    assert response.reasoning is None


def test_a_tool_call_that_was_cut_is_kept_for_its_tool_to_refuse() -> None:
    response = {
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [call("a", "add", '{"x": ')],
    }

    assert read_answer(json.dumps(response).encode()).message.tool_calls == [ToolCall("a", "add", '{"x": ')]


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([event("error", message="overloaded", code="server_error")], "the provider reported an error: overloaded"),
        ([event("error", error={"message": "overloaded"})], "the provider reported an error: overloaded"),
        ([event("response.failed", response={"status": "failed"})], "error: no reason given"),
        ([delta("Hi")], "the stream ended in the midst of the answer"),
        ([b"<html>busy</html>"], "the stream ended in the midst of the answer: '<html>busy</html>'"),
        ([b"data: [DONE]\n\n"], "the stream ended in the midst of the answer"),
        ([event("response.completed", response=3)], "the response is not an object"),
        ([delta(3)], "delta is of the type int, not text"),
        ([completed(call("a", "", "{}"))], "a tool call names no tool"),
        ([completed(call("a", "add", [1]))], "arguments are of the type list"),
        ([completed(3)], "the output item is not an object"),
    ],
)
def test_what_is_no_answer(chunks: list[bytes], reason: str) -> None:
    with pytest.raises(AnswerError) as caught:
        read(*chunks)

    assert reason in str(caught.value)


def test_a_piece_that_is_cut_is_not_told() -> None:
    with pytest.raises(AnswerError, match=r"the stream ended in the midst of the answer$"):
        read(delta("Hi"), b'data: {"delta": "a secr')


@given(st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
def test_whatever_is_in_a_response_it_is_read_or_refused(value: Any) -> None:
    for body in (
        value,
        {"output": value},
        {"status": value, "output": []},
        {"output": [], "error": value, "usage": value, "incomplete_details": value},
        {"output": [{"type": value}]},
        {"output": [{"type": "message", "content": value}]},
        {"output": [text(value)]},
        {"output": [call("a", value, value)]},
        {"output": [{"type": "function_call", "call_id": value, "name": "add"}]},
        {"output": [{"type": "reasoning", "summary": value, "content": value}]},
    ):
        try:
            response = read_answer(json.dumps(body).encode())
        except AnswerError:
            continue
        assert response.message.role == "assistant"
        assert response.message.content is not None or response.message.tool_calls
