"""From what a model wrote to what the function gets, and from what it returns to what the model reads."""

from __future__ import annotations

import datetime
import enum
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from hookline import Tool, tool
from hookline.tools import ToolArgumentsError, ToolResultError


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    zip_code: int = Field(ge=10000)

    @field_validator("street")
    @classmethod
    def not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("a street has a name")
        return value


@dataclass
class Size:
    width: int
    height: int = 1


@tool
def paint(
    color: Color,
    addresses: list[Address],
    size: Size,
    when: datetime.date | None = None,
    finish: Literal["matt", "gloss"] = "matt",
    coats: int = Field(2, ge=1),
) -> None:
    """Paint a house."""


ADDRESS = {"street": "Main", "zip_code": 12345}


def complaints(arguments: object) -> list[str]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    with pytest.raises(ToolArgumentsError) as caught:
        paint.validate(text)
    head, *lines = str(caught.value).split("\n")
    assert head == "paint cannot take these arguments:"
    assert "pydantic" not in str(caught.value)
    assert "http" not in str(caught.value)
    return lines


def test_arguments_reach_the_function_as_its_own_types() -> None:
    text = json.dumps({"color": "red", "addresses": [ADDRESS], "size": {"width": 3}, "when": "2026-05-01", "coats": 1})

    assert paint.validate(text) == {
        "color": Color.RED,
        "addresses": [Address(street="Main", zip_code=12345)],
        "size": Size(3, 1),
        "when": datetime.date(2026, 5, 1),
        "coats": 1,
    }


def test_defaults_are_left_to_the_function_but_those_of_fields_are_filled() -> None:
    @tool
    def search(
        query: str,
        limit: int = 10,
        page: int = Field(1, ge=1),
        tags: list[str] = Field(default_factory=list),  # noqa: B008
    ) -> None: ...

    assert search.validate('{"query": "x"}') == {"query": "x", "page": 1, "tags": []}


@pytest.mark.parametrize("text", ["", "  ", "{}", "null", "\n{ }\n"])
def test_no_arguments_come_in_many_forms(text: str) -> None:
    assert Tool(lambda: 1, name="now").validate(text) == {}


def test_numbers_written_as_text_are_taken() -> None:
    @tool
    def roll(sides: int) -> None: ...

    assert roll.validate('{"sides": "6"}') == {"sides": 6}


def test_broken_json_is_told() -> None:
    for text in ('{"color": ', "{bad", "[" * 5000, '{"color": "\ud800"}'):
        (line,) = complaints(text)
        assert line.startswith("- they are not valid JSON: ")


@pytest.mark.parametrize("text", ["[1]", '"red"', "3", "true"])
def test_anything_but_an_object_is_told(text: str) -> None:
    assert complaints(text) == ["- they must be one JSON object"]


def test_every_wrong_field_is_told() -> None:
    lines = complaints(
        {
            "color": "green",
            "addresses": [ADDRESS, {"street": "  ", "zip_code": "abc"}, {"street": "x"}],
            "when": "yesterday",
            "finish": "shiny",
            "coats": 0,
            "colour": "red",
        }
    )

    assert lines == [
        "- color: Input should be 'red' or 'blue' (got 'green')",
        "- addresses[1].street: Value error, a street has a name (got '  ')",
        "- addresses[1].zip_code: Input should be a valid integer, unable to parse string as an integer (got 'abc')",
        "- addresses[2].zip_code: missing",
        "- size: missing",
        "- when: Input should be a valid date or datetime, input is too short (got 'yesterday')",
        "- finish: Input should be 'matt' or 'gloss' (got 'shiny')",
        "- coats: Input should be greater than or equal to 1 (got 0)",
        "- colour: unknown; known are: color, addresses, size, when, finish, coats",
    ]


def test_an_unknown_field_inside_is_told_by_its_path() -> None:
    lines = complaints({"color": "red", "addresses": [], "size": {"width": 1, "depth": 2}})

    assert lines == ["- size.depth: Unexpected keyword argument (got 2)"]


def test_the_names_of_a_unions_members_are_left_out() -> None:
    @tool
    def find(where: int | Address | list[str]) -> None: ...

    with pytest.raises(ToolArgumentsError) as caught:
        find.validate('{"where": {"street": "x", "zip_code": "y"}}')

    assert "where.zip_code: Input should be a valid integer" in str(caught.value)
    assert "Address" not in str(caught.value)
    assert "list[str]" not in str(caught.value)


def test_a_long_list_of_complaints_is_cut() -> None:
    lines = complaints({"color": "red", "size": {"width": 1}, "addresses": [1] * 30})

    assert len(lines) == 11
    assert lines[-1] == "- and 20 more"


def test_a_long_value_is_not_repeated() -> None:
    (line,) = complaints({"color": "x" * 200, "size": {"width": 1}, "addresses": []})

    assert line == "- color: Input should be 'red' or 'blue'"


@given(st.text(max_size=40) | st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists))
def test_whatever_a_model_writes_only_one_error_comes_out(written: Any) -> None:
    for text in (str(written), json.dumps(written), json.dumps({"addresses": written, "size": written})):
        with pytest.raises(ToolArgumentsError):
            paint.validate(text)


class Point(BaseModel):
    x: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is\n", "as it is\n"),
        ("", ""),
        (None, "null"),
        (6, "6"),
        (True, "true"),
        ({"ä": [1, 2.5]}, '{"ä":[1,2.5]}'),
        (Point(x=1), '{"x":1}'),
        ([Size(1)], '[{"width":1,"height":1}]'),
        (Color.RED, '"red"'),
        (datetime.date(2026, 5, 1), '"2026-05-01"'),
        ({"when": {1: (1, 2)}}, '{"when":{"1":[1,2]}}'),
        ("\ud800", "\ud800"),
        (["\ud800"], '["\\ud800"]'),
    ],
)
def test_results_become_text(value: object, text: str) -> None:
    assert paint.result_text(value) == text


def circle() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


@pytest.mark.parametrize("value", [object(), b"\xff", circle(), {"x": Tool}, float("nan")])
def test_a_result_without_a_json_form_names_the_tool_and_the_mend(value: object) -> None:
    with pytest.raises(ToolResultError, match=r"tool 'paint' returned a .*: return text, plain data"):
        paint.result_text(value)


def test_descriptions_by_annotation_do_not_change_what_is_read() -> None:
    @tool
    def add(a: Annotated[int, "the first"], b: Annotated[int, Field(ge=0), "the second"]) -> int:
        return a + b

    assert add(**add.validate('{"a": 1, "b": 2}')) == 3
    assert add.definition.parameters["properties"]["b"]["description"] == "the second"
    with pytest.raises(ToolArgumentsError, match="b: Input should be greater than or equal to 0"):
        add.validate('{"a": 1, "b": -2}')
