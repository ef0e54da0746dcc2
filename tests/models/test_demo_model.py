"""`DemoModel`: what it answers, when it calls a tool, and with which arguments."""

from __future__ import annotations

import enum
import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from hookline import Message, Model, ModelRequest, ModelResponse, Tool, ToolCall, Usage
from hookline_demo import DemoModel, models
from hookline_demo.example_values import NoExampleError, example_of


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


def roll_a_die(sides: int = 6) -> int:
    return sides


def paint_house(color: Color, coats: Annotated[int, Field(ge=1, le=5)], name: str) -> None: ...


def look_up(key: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]) -> None: ...


TOOLS = [Tool(function).definition for function in (roll_a_die, paint_house, look_up)]


async def reply(*messages: Message | str, **more: Any) -> ModelResponse:
    conversation = [Message("user", each) if isinstance(each, str) else each for each in messages]
    pieces: list[str] = []
    response = await DemoModel(delay=0).respond(ModelRequest(conversation, **more), pieces.append)
    if more.get("stream"):
        assert "".join(pieces) == (response.message.content or "")
    return response


async def test_it_repeats_what_was_said_and_counts_words() -> None:
    response = await reply(Message("system", "Be kind."), "Hello  there")

    assert response.message == Message("assistant", "You said: Hello  there")
    assert response.usage == Usage(4, 4, 8)


async def test_the_last_thing_said_counts() -> None:
    response = await reply("one", Message("assistant", "You said: one"), "two")

    assert response.message.content == "You said: two"


@pytest.mark.parametrize("messages", [(), (" ",)])
async def test_nothing_was_said(messages: tuple[str, ...]) -> None:
    assert (await reply(*messages)).message.content == "You said nothing."


async def test_a_stream_comes_word_by_word() -> None:
    pieces: list[str] = []
    request = ModelRequest([Message("user", "Hello\nthere, you")], stream=True)

    await DemoModel(delay=0).respond(request, pieces.append)

    assert pieces == ["You ", "said: ", "Hello\n", "there, ", "you"]


@pytest.mark.parametrize("said", ["Please roll a die.", "ROLL the DIE", "die? roll!"])
async def test_it_calls_the_tool_that_is_mentioned(said: str) -> None:
    response = await reply(said, tools=TOOLS)

    assert response.message == Message("assistant", tool_calls=[ToolCall("call_1", "roll_a_die", "{}")])


@pytest.mark.parametrize("said", ["roll on", "Who died?", "hello", "look it up: ABC"])
async def test_it_calls_none_that_is_not_mentioned_or_cannot_be_filled(said: str) -> None:
    response = await reply(said, tools=TOOLS)

    assert response.message.content == f"You said: {said}"


async def test_arguments_come_from_the_message() -> None:
    response = await reply("Paint my house blue, 9 or 3 coats", tools=TOOLS)

    (call,) = response.message.tool_calls or []
    assert json.loads(call.arguments) == {"color": "blue", "coats": 3, "name": "Paint my house blue, 9 or 3 coats"}
    assert Tool(paint_house).validate(call.arguments)["color"] is Color.BLUE


async def test_it_calls_all_tools_that_are_mentioned_at_once() -> None:
    response = await reply("Roll a die and paint my house red", tools=TOOLS)

    calls = response.message.tool_calls or []
    assert [(call.id, call.name) for call in calls] == [("call_1", "roll_a_die"), ("call_2", "paint_house")]


async def test_it_tells_what_the_tool_answered() -> None:
    asked = await reply("roll a die", tools=TOOLS)
    (call,) = asked.message.tool_calls or []

    response = await reply(
        "roll a die", asked.message, Message("tool", "4", tool_call_id=call.id), tools=TOOLS, stream=True
    )

    assert response.message == Message("assistant", "roll_a_die says: 4")


async def test_a_tool_may_be_called_again_in_the_next_turn() -> None:
    first = [
        Message("user", "roll a die"),
        Message("assistant", tool_calls=[ToolCall("call_1", "roll_a_die")]),
        Message("tool", "4", tool_call_id="call_1"),
        Message("assistant", "roll_a_die says: 4"),
    ]

    response = await reply(*first, "roll the die again", tools=TOOLS)

    (call,) = response.message.tool_calls or []
    assert call.id != "call_1"


class Person(BaseModel):
    name: str = Field(max_length=10)
    age: int = Field(ge=18)
    email: Annotated[str, Field(json_schema_extra={"format": "email"})]
    colors: list[Color] = Field(min_length=2)
    mood: Literal["good", "bad"]
    score: float | None
    best_friend: Person | None = None


async def test_it_makes_up_what_an_output_schema_asks_for() -> None:
    response = await reply("A bad mood and a long name", output_schema=Person.model_json_schema())

    person = Person.model_validate_json(response.message.content or "")
    assert person.mood == "bad"
    assert person.age == 18
    assert person.name == "A bad mood"


@pytest.mark.parametrize(
    "annotation",
    [bool, float, None, dict[str, int], list[int], Literal["a"], int | str, Annotated[int, Field(gt=3, lt=5)], Any],
)
def test_examples_fit_their_schema(annotation: Any) -> None:
    adapter = TypeAdapter(annotation)

    adapter.validate_python(example_of(adapter.json_schema(), "-7 and 2.5"))


@pytest.mark.parametrize(
    ("schema", "said", "value"),
    [
        ({"type": "integer"}, "minus -7", -7),
        ({"type": "integer"}, "none", 0),
        ({"type": "number"}, "2.5 pounds", 2.5),
        ({"type": "integer", "maximum": -2}, "5", -2),
        ({"type": "integer", "exclusiveMinimum": 3}, "3", 4),
        ({"type": ["null", "string"]}, "x", "x"),
        ({"type": "string", "minLength": 4}, "x", "x..."),
        ({"type": "null"}, "x", None),
    ],
)
def test_examples_take_what_was_said_where_it_fits(schema: dict[str, Any], said: str, value: object) -> None:
    assert example_of(schema, said) == value


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "x"},
        {"type": "integer", "minimum": 3, "maximum": 1},
        {"type": "strange"},
        {"$ref": "#/$defs/Nowhere"},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"anyOf": [{"type": "string", "pattern": "x"}]},
    ],
)
def test_what_cannot_be_made_up_is_said(schema: dict[str, Any]) -> None:
    with pytest.raises(NoExampleError):
        example_of(schema, "x")


async def test_it_is_a_model_of_the_plugin() -> None:
    model = models()["demo"]("tiny")

    assert isinstance(model, Model)
    assert repr(model) == "DemoModel(id='tiny')"
    model.open()
    await model.aclose()
