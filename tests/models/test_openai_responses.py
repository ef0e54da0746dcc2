"""`OpenAIResponses` against the stub: what it sends, and what it makes of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from hookline import (
    ConfigurationError,
    Message,
    ModelError,
    ModelRequest,
    ModelResponse,
    ToolCall,
    ToolDefinition,
    Usage,
)
from hookline_openai import OpenAIResponses
from stub_openai import StubOpenAI, marker


@pytest.fixture
def model_class() -> type[OpenAIResponses]:
    return OpenAIResponses


async def ask(model: OpenAIResponses, text: str, **more: Any) -> ModelResponse:
    return await model.respond(ModelRequest([Message("user", text)], **more), lambda _: None)


async def body_of(stub: StubOpenAI, model: OpenAIResponses, text: str = "hi", **more: Any) -> dict[str, Any]:
    """What was sent for one call."""
    await ask(model, text, **more)
    assert stub.stats.last_body
    return stub.stats.last_body


async def failure(model: OpenAIResponses, text: str, *, stream: bool) -> str:
    with pytest.raises(ModelError) as caught:
        await ask(model, text, stream=stream)
    return str(caught.value)


async def test_a_plain_request_keeps_nothing_at_the_provider(stub: StubOpenAI, model: OpenAIResponses) -> None:
    request = ModelRequest([Message("system", "Be kind."), Message("user", "Hello there")])

    response = await model.respond(request, lambda _: None)

    assert response == ModelResponse(Message("assistant", "You said: Hello there"), Usage(4, 4, 8))
    assert stub.stats.last_body == {
        "model": "test-model",
        "input": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello there"}],
        "store": False,
    }
    assert stub.stats.last_headers["authorization"] == "Bearer sk-secret-1234"


async def test_a_stream_is_asked_for(stub: StubOpenAI, model: OpenAIResponses) -> None:
    assert await body_of(stub, model, stream=True) == {
        "model": "test-model",
        "input": [{"role": "user", "content": "hi"}],
        "store": False,
        "stream": True,
    }


async def test_settings_have_the_names_of_this_api(stub: StubOpenAI) -> None:
    model = OpenAIResponses(
        api_key="k",
        base_url=stub.base_url,
        temperature=0.5,
        max_completion_tokens=100,
        reasoning_effort="low",
        options={"reasoning": {"summary": "auto"}, "truncation": "auto", "store": True},
    )

    body = await body_of(stub, model, options={"temperature": 0})
    await model.aclose()

    assert body == {
        "model": "gpt-4o-mini",
        "input": [{"role": "user", "content": "hi"}],
        "temperature": 0,
        "max_output_tokens": 100,
        "reasoning": {"effort": "low", "summary": "auto"},
        "truncation": "auto",
        "store": True,
    }


async def test_a_conversation_with_tool_calls_is_sent_whole(stub: StubOpenAI, model: OpenAIResponses) -> None:
    calls = [ToolCall("c1", "add", '{"a":1}'), ToolCall("c2", "now")]
    conversation = [
        Message("user", "1 + 1?"),
        Message("assistant", "Let me see.", tool_calls=calls),
        Message("tool", "2", tool_call_id="c1"),
        Message("tool", None, tool_call_id="c2"),
        Message("assistant", None),
        Message("assistant", tool_calls=calls[:1]),
        Message("tool", "3", tool_call_id="c1"),
    ]

    await model.respond(ModelRequest(conversation), lambda _: None)

    assert stub.stats.last_body
    assert stub.stats.last_body["input"] == [
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a":1}'},
        {"type": "function_call", "call_id": "c2", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "2"},
        {"type": "function_call_output", "call_id": "c2", "output": ""},
        {"role": "assistant", "content": ""},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
    ]


async def test_tools_are_sent_flat_and_not_strict(stub: StubOpenAI, model: OpenAIResponses) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "integer"}}}
    tool = ToolDefinition("add", "Add two numbers.", parameters)

    assert (await body_of(stub, model, tools=[tool]))["tools"] == [
        {
            "type": "function",
            "name": "add",
            "description": "Add two numbers.",
            "parameters": parameters,
            "strict": False,
        }
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_without_ids_get_some(model: OpenAIResponses, stream: bool) -> None:
    response = await ask(model, marker(tool=['add:{"a": 1}', 'add:{"a": 2}'], ids="no"), stream=stream)

    calls = response.message.tool_calls or []
    assert [(call.name, call.arguments) for call in calls] == [("add", '{"a": 1}'), ("add", '{"a": 2}')]
    assert len({call.id for call in calls} - {""}) == 2


OPEN = {"title": "My Answer!", "type": "object", "properties": {"x": {"type": "integer"}}}
CLOSED = {**OPEN, "required": ["x"], "additionalProperties": False}


@pytest.mark.parametrize(("schema", "strict"), [(OPEN, False), (CLOSED, True)])
async def test_an_output_schema_is_sent_beside_other_settings_of_the_text(
    stub: StubOpenAI, model: OpenAIResponses, schema: dict[str, Any], strict: bool
) -> None:
    options = {"text": {"verbosity": "low"}}

    body = await body_of(stub, model, marker(text='{"x": 1}'), output_schema=schema, options=options)

    assert body["text"] == {
        "verbosity": "low",
        "format": {"type": "json_schema", "name": "My_Answer_", "schema": schema, "strict": strict},
    }
    assert options == {"text": {"verbosity": "low"}}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_that_failed(model: OpenAIResponses, stream: bool) -> None:
    error = await failure(model, marker(failed="The server had an error."), stream=stream)

    assert error == "model 'test-model': the provider reported an error: The server had an error."


@pytest.mark.parametrize("status", ["cancelled", "queued", "in_progress"])
async def test_a_response_that_is_not_complete(model: OpenAIResponses, status: str) -> None:
    error = await failure(model, marker(finish=status), stream=False)

    assert error == f"model 'test-model': sent no whole answer: its status is {status!r}"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "answered without an output"),
        ("text", "the output item is not an object but '\"hello\"'"),
        ("parts", "text is of the type list, not text"),
    ],
)
async def test_what_is_no_response(model: OpenAIResponses, kind: str, reason: str) -> None:
    assert reason in await failure(model, marker(garbage=kind), stream=False)


def test_what_would_keep_the_history_elsewhere_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"OpenAIResponses\(id='x'\): options must not hold conversation, prev"
    ):
        OpenAIResponses("x", options={"previous_response_id": "resp_1", "conversation": "conv_1"})
