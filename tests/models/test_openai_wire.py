"""The pieces of the chat completions' wire format that the stub does not send."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline import Message, ToolCall, Usage
from hookline_openai.answers import AnswerError
from hookline_openai.chat_wire import StreamedChat, read_answer
from hookline_openai.schemas import allows_strict


def event(content: object) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def delta(**fields: object) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields}]})


DONE = b"data: [DONE]\n\n"


def read(*chunks: bytes) -> tuple[list[str], Message]:
    answer = StreamedChat()
    pieces = [piece for chunk in chunks for piece in answer.feed(chunk)]
    return pieces, answer.result().message


def calls_of(*deltas: dict[str, Any]) -> list[ToolCall] | None:
    _, message = read(*(delta(tool_calls=[each]) for each in deltas), DONE)
    return message.tool_calls


STREAM = (
    b": a comment\r\nid: 7\r\n"
    + delta(content="Grüße ")
    + b"event: message\n"
    + delta(content="👋", role="assistant").replace(b"\n\n", b"\r\n\r\n")
    + event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    + DONE
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_the_bytes_may_come_in_any_portions(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(STREAM)]
    portions = [STREAM[start:end] for start, end in itertools.pairwise(bounds)]

    pieces, message = read(*portions)

    assert pieces == ["Grüße ", "👋"]
    assert message == Message("assistant", "Grüße 👋")


def test_a_server_that_gives_each_call_the_same_index() -> None:
    assert calls_of(
        {"index": 0, "id": "a", "function": {"name": "add", "arguments": '{"x":'}},
        {"index": 0, "function": {"arguments": "1}"}},
        {"index": 0, "id": "b", "function": {"name": "add", "arguments": '{"x":2}'}},
    ) == [ToolCall("a", "add", '{"x":1}'), ToolCall("b", "add", '{"x":2}')]


def test_a_server_that_repeats_id_and_name_in_each_piece() -> None:
    assert calls_of(
        {"index": 0, "id": "a", "function": {"name": "add", "arguments": '{"x":'}},
        {"index": 0, "id": "a", "function": {"name": "add", "arguments": "1}"}},
    ) == [ToolCall("a", "add", '{"x":1}')]


def test_a_server_that_names_calls_by_id_only() -> None:
    assert calls_of(
        {"id": "a", "function": {"name": "add", "arguments": '{"x":'}},
        {"id": "a", "function": {"arguments": "1}"}},
        {"id": "b", "function": {"name": "now"}},
    ) == [ToolCall("a", "add", '{"x":1}'), ToolCall("b", "now", "{}")]


def test_a_server_that_sends_the_id_late() -> None:
    assert calls_of(
        {"index": 0, "function": {"name": "add", "arguments": None}},
        {"index": 0, "id": "a", "function": {"arguments": "{}"}},
    ) == [ToolCall("a", "add", "{}")]


def test_a_server_that_sends_arguments_as_an_object() -> None:
    assert calls_of({"index": 0, "id": "a", "function": {"name": "add", "arguments": {"x": 1}}}) == [
        ToolCall("a", "add", '{"x": 1}')
    ]


def test_text_beside_tool_calls_is_kept() -> None:
    pieces, message = read(
        delta(content="Let me see."), delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "now"}}]), DONE
    )

    assert pieces == ["Let me see."]
    assert message == Message("assistant", "Let me see.", [ToolCall("a", "now")])


@pytest.mark.parametrize(
    "chunk",
    [
        b"data: {\n",
        b"data: 3\n",
        event({"choices": 3}),
        event({"choices": [3]}),
        event({"choices": [{"delta": 3}]}),
        delta(content=3),
        delta(tool_calls=3),
        delta(tool_calls=[3]),
        delta(tool_calls=[{"function": 3}]),
        delta(tool_calls=[{"function": {"name": 3}}]),
        delta(tool_calls=[{"function": {"name": "f", "arguments": [1]}}]),
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"arguments": "{}"}}]),
        event({"error": "out of order"}),
    ],
)
def test_garbage_in_a_stream(chunk: bytes) -> None:
    with pytest.raises(AnswerError):
        read(chunk, DONE)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
def test_whatever_is_in_an_answer_it_is_read_or_refused(value: Any) -> None:
    for body in (
        value,
        {"choices": value},
        {"choices": [value], "usage": value},
        {"choices": [{"message": value, "finish_reason": value}]},
        {"choices": [{"message": {"content": value, "tool_calls": value, "refusal": value}}], "usage": {"x": value}},
        {"choices": [{"message": {"tool_calls": [value]}}]},
        {"choices": [{"message": {"tool_calls": [{"id": value, "function": {"name": value, "arguments": value}}]}}]},
    ):
        try:
            response = read_answer(json.dumps(body).encode())
        except AnswerError:
            continue
        assert response.message.role == "assistant"
        assert response.message.content is not None or response.message.tool_calls


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_comes_under_two_names(name: str) -> None:
    answer = StreamedChat()
    for chunk in (delta(**{name: "Let me "}), delta(**{name: "think."}), delta(content="Yes."), DONE):
        list(answer.feed(chunk))
    body = {"choices": [{"message": {"content": "Yes.", name: "Let me think."}}]}

    assert answer.result().reasoning == read_answer(json.dumps(body).encode()).reasoning == "Let me think."


def test_reasoning_of_an_unknown_form_is_passed_over() -> None:
    body = {"choices": [{"message": {"content": "Yes.", "reasoning": {"effort": "low"}}}]}

    assert read_answer(json.dumps(body).encode()).reasoning is None


def test_usage_that_is_half_told() -> None:
    body = {"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 3, "completion_tokens": None}}

    assert read_answer(json.dumps(body).encode()).usage == Usage(3, 0, 3)


def closed(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (closed(), True),
        (closed(x={"type": "integer", "description": "a number"}), True),
        (closed(x={"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}), True),
        ({**closed(x={"$ref": "#/$defs/Y"}), "$defs": {"Y": closed(z={"enum": ["a"]})}}, True),
        ({**closed(x={"$ref": "#/$defs/Y"}), "$defs": {"Y": {"type": "object", "properties": {}}}}, False),
        (closed(x={"$ref": "#/$defs/Y", "description": "text"}), False),
        (closed(x={"type": "array", "items": {"type": "object"}}), False),
        (closed(x={"type": "string", "default": "a"}), False),
        (closed(x={"type": "string", "format": "uri"}), False),
        ({**closed(x={"type": "string"}), "required": []}, False),
        ({"type": "array", "items": {"type": "string"}}, False),
        ({"anyOf": [closed()]}, False),
    ],
)
def test_strict_mode_is_used_only_where_the_provider_takes_the_schema(schema: dict[str, Any], strict: bool) -> None:
    assert allows_strict(schema) is strict
