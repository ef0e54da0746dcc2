"""`OpenAIChat` against the stub: what it sends, and what it makes of the answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from hookline import (
    ConfigurationError,
    Message,
    Model,
    ModelError,
    ModelRequest,
    ModelResponse,
    ToolCall,
    ToolDefinition,
    Usage,
)
from hookline_openai import OpenAIChat, models
from stub_openai import StubOpenAI, marker


@pytest.fixture
def model_class() -> type[OpenAIChat]:
    return OpenAIChat


def asking(text: str, **more: Any) -> ModelRequest:
    return ModelRequest([Message("user", text)], **more)


def unexpected(piece: str) -> None:
    raise AssertionError(f"a piece without a stream: {piece!r}")


async def streamed(model: Model, request: ModelRequest) -> tuple[list[str], ModelResponse]:
    pieces: list[str] = []
    return pieces, await model.respond(request, pieces.append)


async def test_a_plain_answer(stub: StubOpenAI, model: OpenAIChat) -> None:
    request = ModelRequest([Message("system", "Be kind."), Message("user", "Hello there")])

    response = await model.respond(request, unexpected)

    assert response.message == Message("assistant", "You said: Hello there")
    assert response.usage == Usage(4, 4, 8)
    assert stub.stats.last_body == {
        "model": "test-model",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello there"}],
    }
    assert stub.stats.last_headers["authorization"] == "Bearer sk-secret-1234"


async def test_a_streamed_answer(stub: StubOpenAI, model: OpenAIChat) -> None:
    pieces, response = await streamed(model, asking("Hello there", stream=True))

    assert pieces == ["You ", "said: ", "Hello ", "there"]
    assert response.message == Message("assistant", "You said: Hello there")
    assert response.usage == Usage(2, 4, 6)
    assert stub.stats.last_body
    assert stub.stats.last_body["stream_options"] == {"include_usage": True}


async def test_settings_and_options_are_sent_and_what_is_not_set_is_not(stub: StubOpenAI) -> None:
    model = OpenAIChat(
        api_key="k",
        base_url=stub.base_url,
        temperature=0.5,
        top_p=0.9,
        max_completion_tokens=100,
        reasoning_effort="low",
        options={"top_k": 3, "seed": 1},
        default_headers={"x-team": "blue"},
    )

    await model.respond(asking("hi", options={"seed": 2, "temperature": 0}), unexpected)
    await model.aclose()

    assert stub.stats.last_body == {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0,
        "top_p": 0.9,
        "max_completion_tokens": 100,
        "reasoning_effort": "low",
        "top_k": 3,
        "seed": 2,
    }
    assert stub.stats.last_headers["x-team"] == "blue"


async def test_key_and_address_come_from_the_environment(stub: StubOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    model = OpenAIChat()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-environment\n")
    monkeypatch.setenv("OPENAI_BASE_URL", stub.base_url)

    response = await model.respond(asking("hi"), unexpected)
    await model.aclose()

    assert response.message.content == "You said: hi"
    assert stub.stats.last_headers["authorization"] == "Bearer sk-from-environment"


async def test_a_conversation_with_tool_calls_is_sent_whole(stub: StubOpenAI, model: OpenAIChat) -> None:
    calls = [ToolCall("c1", "add", '{"a":1}'), ToolCall("c2", "now")]
    conversation = [
        Message("user", "1 + 1?"),
        Message("assistant", tool_calls=calls),
        Message("tool", "2", tool_call_id="c1"),
        Message("tool", None, tool_call_id="c2"),
        Message("assistant", None),
        Message("user", "Thanks"),
    ]

    await model.respond(ModelRequest(conversation), unexpected)

    assert stub.stats.last_body
    assert stub.stats.last_body["messages"] == [
        {"role": "user", "content": "1 + 1?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
                {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
        {"role": "tool", "content": "", "tool_call_id": "c2"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Thanks"},
    ]


TOOLS = [ToolDefinition("add", "Add two numbers.", {"type": "object", "properties": {"a": {"type": "integer"}}})]


async def test_tools_are_sent(stub: StubOpenAI, model: OpenAIChat) -> None:
    await model.respond(asking("hi", tools=TOOLS), unexpected)

    assert stub.stats.last_body
    assert stub.stats.last_body["tools"] == [
        {
            "type": "function",
            "function": {"name": "add", "description": "Add two numbers.", "parameters": TOOLS[0].parameters},
        }
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_parallel_tool_calls_are_put_together(model: OpenAIChat, stream: bool) -> None:
    text = marker(tool=['add:{"a": 1, "b": 2}', "now", 'add:{"a": 3, "b": 4}'])

    pieces, response = await streamed(model, asking(text, tools=TOOLS, stream=stream))

    assert pieces == []
    assert response.message == Message(
        "assistant",
        tool_calls=[
            ToolCall("call_0", "add", '{"a": 1, "b": 2}'),
            ToolCall("call_1", "now", "{}"),
            ToolCall("call_2", "add", '{"a": 3, "b": 4}'),
        ],
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("index", ["yes", "no"])
async def test_tool_calls_without_ids_get_some(model: OpenAIChat, stream: bool, index: str) -> None:
    text = marker(tool=['add:{"a": 1}', 'add:{"a": 2}'], ids="no", index=index)

    _, response = await streamed(model, asking(text, stream=stream))

    calls = response.message.tool_calls or []
    assert [(call.name, call.arguments) for call in calls] == [("add", '{"a": 1}'), ("add", '{"a": 2}')]
    assert len({call.id for call in calls}) == 2
    assert all(call.id for call in calls)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "answered without a choice"),
        ("text", "the message is not an object but '\"hello\"'"),
        ("parts", "content is of the type list, not text"),
    ],
)
async def test_what_is_no_completion(model: OpenAIChat, kind: str, reason: str) -> None:
    with pytest.raises(ModelError, match=re.escape(reason)):
        await model.respond(asking(marker(garbage=kind)), unexpected)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_without_usage_counts_nothing(model: OpenAIChat, stream: bool) -> None:
    _, response = await streamed(model, asking(marker(usage="no"), stream=stream))

    assert response.usage == Usage(0, 0, 0)


OPEN = {"title": "My Answer!", "type": "object", "properties": {"x": {"type": "integer"}}}
CLOSED = {**OPEN, "required": ["x"], "additionalProperties": False}


@pytest.mark.parametrize(("schema", "strict"), [(OPEN, False), (CLOSED, True)])
async def test_an_output_schema_is_sent(
    stub: StubOpenAI, model: OpenAIChat, schema: dict[str, Any], strict: bool
) -> None:
    text = marker(text='{"x": 1}')

    response = await model.respond(asking(text, output_schema=schema), unexpected)

    assert json.loads(response.message.content or "") == {"x": 1}
    assert stub.stats.last_body
    assert stub.stats.last_body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "My_Answer_", "schema": schema, "strict": strict},
    }


def test_an_option_that_hookline_sets_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must not hold messages, stream: hookline sets these itself"):
        OpenAIChat(options={"stream": True, "messages": [], "seed": 1})


def test_it_is_a_model_and_hides_its_key() -> None:
    model = OpenAIChat("gpt-x", api_key="sk-secret")

    assert isinstance(model, Model)
    assert repr(model) == "OpenAIChat(id='gpt-x')"
    assert "sk-secret" not in str(vars(model).get("options"))


def test_the_plugin_offers_both_by_name() -> None:
    offered = models()

    assert repr(offered["openai"]("gpt-x")) == "OpenAIChat(id='gpt-x')"
    assert repr(offered["openai-responses"]("gpt-x")) == "OpenAIResponses(id='gpt-x')"


def test_making_one_imports_no_library_and_needs_no_key() -> None:
    code = """
import sys
from hookline_openai import OpenAIChat, OpenAIResponses
OpenAIChat(id="gpt-4o-mini")
OpenAIResponses(id="gpt-4o-mini")
assert not {"openai", "httpx2", "pydantic"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
