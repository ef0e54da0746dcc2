"""`ScriptedModel`: the model of other tests."""

from __future__ import annotations

import json

import pytest

from hookline import Message, Model, ModelError, ModelRequest, ModelResponse, Usage
from hookline.testing import ScriptedModel, call_tool


def asking(text: str, *, stream: bool = False) -> ModelRequest:
    return ModelRequest([Message("user", text)], stream=stream)


def ignore(piece: str) -> None:
    del piece


async def content(model: Model, text: str = "hi") -> str | None:
    return (await model.respond(asking(text), ignore)).message.content


async def test_replies_come_in_order_in_every_form() -> None:
    async def later(request: ModelRequest) -> str:
        return f"later {request.messages[-1].content}"

    model = ScriptedModel(
        "text",
        Message("assistant", "message"),
        ModelResponse(Message("assistant", "response"), Usage(1, 2, 3)),
        lambda request: Message("assistant", f"called with {len(request.messages)}"),
        later,
    )

    assert [await content(model) for _ in range(5)] == [
        "text",
        "message",
        "response",
        "called with 1",
        "later hi",
    ]


async def test_exceptions_are_raised_as_they_are() -> None:
    error = ModelError("no", status_code=503)
    model = ScriptedModel(error, lambda _: ValueError("from a function"))

    with pytest.raises(ModelError) as caught:
        await content(model)
    assert caught.value is error
    with pytest.raises(ValueError, match="from a function"):
        await content(model)


async def test_requests_are_kept_as_they_were() -> None:
    model = ScriptedModel("one", "two")
    messages = [Message("user", "hi")]
    await model.respond(ModelRequest(messages), ignore)
    messages.append(Message("assistant", "one"))
    await model.respond(ModelRequest(messages), ignore)

    assert [len(request.messages) for request in model.requests] == [1, 2]


async def test_when_it_has_no_more_to_say_it_tells_so() -> None:
    model = ScriptedModel("one", id="short")
    await content(model)

    with pytest.raises(ModelError, match=r"model 'short' was asked 2 times and has 1 replies"):
        await content(model)
    with pytest.raises(ModelError, match="has 0 replies"):
        await content(ScriptedModel(repeat=True))


async def test_the_last_reply_can_be_repeated() -> None:
    model = ScriptedModel("one", "two", repeat=True)

    assert [await content(model) for _ in range(4)] == ["one", "two", "two", "two"]


@pytest.mark.parametrize(
    ("chunks", "pieces"),
    [
        (None, [" a", " bc", "   def "]),
        (1, [" a bc   def "]),
        (2, [" a bc ", "  def "]),
        (100, list(" a bc   def ")),
    ],
)
async def test_text_is_streamed_in_pieces(chunks: int | None, pieces: list[str]) -> None:
    text = " a bc   def "
    seen: list[str] = []

    response = await ScriptedModel(text, chunks=chunks).respond(asking("hi", stream=True), seen.append)

    assert response.message.content == text == "".join(seen)
    assert seen == pieces


async def test_without_a_stream_nothing_is_emitted() -> None:
    seen: list[str] = []
    await ScriptedModel("a b").respond(asking("hi"), seen.append)

    assert seen == []


async def test_tool_calls_have_ids_of_their_own() -> None:
    first, second = call_tool("add", a=1, name="x"), call_tool("now")

    (call,), (other,) = first.tool_calls or [], second.tool_calls or []
    assert (call.name, json.loads(call.arguments)) == ("add", {"a": 1, "name": "x"})
    assert other.arguments == "{}"
    assert call.id != other.id
    assert first.content is None


async def test_it_is_a_model() -> None:
    model = ScriptedModel("x")

    assert isinstance(model, Model)
    model.open()
    await model.aclose()
