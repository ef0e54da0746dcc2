"""Event streams: ours are read by any reader that follows the standard; the provider's may come as they like."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hookline import EventName, Message, RunEvent
from hookline.jsontext import dumps
from hookline_fastapi.event_stream import PING, frame_of
from hookline_openai import chat_wire, responses_wire
from hookline_openai.answers import AnswerError, StreamedAnswer

ANYTHING = st.text(st.characters() | st.sampled_from("\r\n\x00\x85\u2028\ud83d\ude00\ufeff: "), max_size=30)
"""Text of all code points: line ends of all kinds, NUL, lone surrogates."""

DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANYTHING, inner, max_size=3),
    max_leaves=8,
)
NAME = ANYTHING.filter(lambda name: name not in ("event", "run_id", "sequence"))


def parse(stream: bytes) -> Iterator[tuple[str, str, str]]:
    """The events of a stream as `id`, `event`, `data`: the algorithm of the HTML standard, section 9.2.6."""
    text = stream.decode().removeprefix("\ufeff")
    last_id, event, data = "", "", list[str]()
    for line in re.split(r"\r\n|\n|\r", text)[:-1]:
        if not line:
            if data:
                yield last_id, event or "message", "\n".join(data)
            event, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id" and "\x00" not in value:
            last_id = value
        elif name == "event":
            event = value
        elif name == "data":
            data.append(value)


@given(st.lists(st.dictionaries(NAME, DATA, max_size=4), max_size=4))
@example(
    [
        {"content": "a\rb\nc\r\nd\u2028e\u2029f\x85g\x00h\x0b\x0c\x1ci\ufeff"},
        {"content": "\ud83d"},
        {"\ude00": "\ud83d"},
    ]
)
def test_any_event_is_read_as_it_was_written(contents: list[dict[str, Any]]) -> None:
    events = [
        RunEvent(EventName.RUN_CONTENT, "a-run", number, content) for number, content in enumerate(contents, start=1)
    ]
    stream = PING + PING.join(frame_of(event) for event in events)
    found = list(parse(stream))
    assert [(id_, name) for id_, name, _ in found] == [(str(event.sequence), "RunContent") for event in events]
    assert [json.loads(data) for _, _, data in found] == [as_json(event) for event in events]


@given(st.dictionaries(ANYTHING, DATA), st.booleans())
def test_terminal_event_is_read_as_it_was_written(run: dict[str, Any], released: bool) -> None:
    data = {"run": run, "content_released": True} if released else {"run": run}
    event = RunEvent(EventName.RUN_FAILED, "a-run", 9, data)
    for document in ("", dumps(run)):
        ((id_, name, text),) = parse(frame_of(event, document))
        assert (id_, name) == ("9", "RunFailed")
        assert json.loads(text) == as_json(event)


def as_json(event: RunEvent) -> Any:
    """What any reader of JSON makes of an event: two halves of a surrogate pair that stand side by side are one."""
    return json.loads(json.dumps(event.to_dict()))


# The provider's streams.

WORDS = (
    "choices", "delta", "content", "refusal", "reasoning", "tool_calls", "function", "name", "arguments", "index", "id",
    "finish_reason", "usage", "prompt_tokens", "total_tokens", "error", "message", "type", "response", "output", "item",
    "output_index", "status", "incomplete_details", "reason", "summary", "text", "call_id",
)  # fmt: skip
VALUES = st.sampled_from(
    ["stop", "length", "content_filter", "response.output_text.delta", "response.output_item.done", "error", "message",
     "response.completed", "response.incomplete", "completed", "failed", "function_call", "reasoning", "hello", ""]
)  # fmt: skip
PIECE = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | VALUES | ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=20,
)
CHUNK = st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({}, optional={"delta": PIECE, "finish_reason": PIECE}), max_size=2)}
)
DONE_ITEM = st.fixed_dictionaries({"type": st.just("response.output_item.done"), "output_index": PIECE, "item": PIECE})
ENDED = st.fixed_dictionaries(
    {"type": st.just("response.completed"), "response": st.fixed_dictionaries({"output": st.lists(PIECE, max_size=3)})}
)
LINE_END = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINE = st.one_of(
    (PIECE | CHUNK | DONE_ITEM | ENDED).map(lambda value: b"data: " + json.dumps(value).encode()),
    st.sampled_from([b"data: [DONE]", b"data:", b": ping", b"event: message", b"id: 1", b"retry: 5", b"data", b""]),
    st.binary(max_size=20),
    st.binary(max_size=20).map(lambda data: b"data: " + data),
)
STREAM = st.lists(st.tuples(LINE, LINE_END), max_size=8).map(lambda lines: b"".join(a + b for a, b in lines))
ANSWERS: list[Callable[[], StreamedAnswer]] = [chat_wire.StreamedChat, responses_wire.StreamedResponse]
READERS = [chat_wire, responses_wire]


def outcome(make: Callable[[], StreamedAnswer], portions: list[bytes]) -> tuple[list[str], object]:
    """The pieces of text, and then the message or what is wrong."""
    answer, pieces = make(), list[str]()
    try:
        for portion in portions:
            pieces.extend(answer.feed(portion))
        response = answer.result()
    except AnswerError as error:
        return pieces, str(error)
    check_sendable(response.message)
    for call in response.message.tool_calls or ():
        call.id = re.sub("^call_[0-9a-f]{32}$", "made up", call.id)
    return pieces, (response.message, response.usage, response.reasoning)


def check_sendable(message: Message) -> None:
    """It can be sent back to a provider as a part of the history."""
    json.dumps(message.to_dict(), ensure_ascii=False).encode()


@pytest.mark.parametrize("make", ANSWERS)
@given(stream=STREAM, cuts=st.lists(st.integers(0, 400), max_size=10))
@example(stream=b'data: {"choices":[{"delta":{"content":"hi"}}]}\r\rdata: [DONE]\r\r', cuts=[47, 48])
@example(stream=b"data: " + b"[" * 100_000 + b"\n\n", cuts=[])
@example(stream=b'data: {"error":' + b"[" * 900 + b"1" + b"]" * 900 + b"}\n\n", cuts=[])
@example(stream=b"data: " + b"[" * 900 + b"]" * 900 + b"\n\n", cuts=[])
@example(stream=b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\ndata: [DONE]\n\n', cuts=[])
@example(stream=b"data: " + b"1" * 5000 + b"\n\n", cuts=[])
def test_any_stream_in_any_portions_is_one_answer_or_an_error(
    make: Callable[[], StreamedAnswer], stream: bytes, cuts: list[int]
) -> None:
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    portions = [stream[start:end] for start, end in itertools.pairwise(bounds)]
    whole = outcome(make, [stream])
    assert repr(outcome(make, portions)) == repr(whole)
    if len(stream) < 500:
        assert repr(outcome(make, [stream[at : at + 1] for at in range(len(stream))])) == repr(whole)


@pytest.mark.parametrize("wire", READERS, ids=["chat", "responses"])
@given(body=st.binary(max_size=50) | (PIECE | CHUNK).map(lambda value: json.dumps(value).encode()))
@example(body=b"[" * 100_000)
@example(body=b'{"choices":[{"message":{"content":"\\ud83d"}}]}')
@example(body=b'{"output":[{"type":"message","content":[{"text":"\\ude00"}]}]}')
@example(body=b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"a","arguments":"\\ud83d"}}]}}]}')
def test_any_body_is_an_answer_or_an_error(wire: Any, body: bytes) -> None:
    try:
        response = wire.read_answer(body)
    except AnswerError as error:
        assert str(error)  # noqa: PT017 - one of the two outcomes
    else:
        check_sendable(response.message)


def test_halves_of_a_character_are_put_together() -> None:
    answer = chat_wire.StreamedChat()
    halves = [b'data: {"choices":[{"delta":{"content":"\\u%s"}}]}\n\n' % half for half in (b"d83d", b"de00")]
    pieces = [piece for half in halves for piece in answer.feed(half)]
    list(answer.feed(b"data: [DONE]\n\n"))
    assert answer.result().message.content == "😀"
    assert json.loads("".join(dumps(piece)[1:-1] for piece in pieces).join('""')) == "😀"
