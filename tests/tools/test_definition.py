"""What a model sees of a tool, and what makes a function unfit to be one."""

from __future__ import annotations

import enum
import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from hookline import ConfigurationError, RunContext, Tool, tool

if TYPE_CHECKING:
    from decimal import Decimal


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    zip_code: int = Field(ge=10000)


@dataclass
class Size:
    width: int
    height: int = 1


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    return Tool.of(function).definition.parameters


def test_a_function_becomes_a_tool_by_its_name_docstring_and_signature() -> None:
    @tool
    def roll_a_die(sides: Annotated[int, "how many sides it has"] = 6) -> int:
        """Roll a die.

        Fair ones only.
        """
        return sides

    assert roll_a_die.definition.name == "roll_a_die"
    assert roll_a_die.definition.description == "Roll a die.\n\nFair ones only."
    assert roll_a_die.definition.parameters == {
        "type": "object",
        "properties": {"sides": {"type": "integer", "description": "how many sides it has", "default": 6}},
        "additionalProperties": False,
    }
    assert roll_a_die(sides=3) == 3


def test_name_and_description_can_be_said() -> None:
    @tool(name="die", description="Throw it.")
    def roll_a_die() -> int:
        """Not this."""
        return 1

    assert (roll_a_die.definition.name, roll_a_die.definition.description) == ("die", "Throw it.")
    assert tool(lambda: 1, name="one").name == "one"
    assert Tool.of(roll_a_die) is roll_a_die


def test_without_a_docstring_the_description_is_empty() -> None:
    def nothing_said() -> None: ...

    assert Tool.of(nothing_said).definition.description == ""


def test_without_parameters_the_schema_is_a_closed_object() -> None:
    def now() -> str:
        return "12:00"

    assert schema_of(now) == {"type": "object", "properties": {}, "additionalProperties": False}


def test_all_kinds_of_types() -> None:
    def paint(
        color: Color,
        finish: Literal["matt", "gloss"],
        address: Address,
        sizes: list[Size],
        note: str | None = None,
        coats: int = Field(2, ge=1, le=5, description="how many times"),
        tags: Annotated[list[str], Field(description="labels", max_length=3)] = [],  # noqa: B006
        rest: dict[str, float] | None = None,
    ) -> None: ...

    schema = schema_of(paint)
    fields = schema["properties"]
    assert fields["color"] == {"$ref": "#/$defs/Color"}
    assert fields["finish"] == {"enum": ["matt", "gloss"], "type": "string"}
    assert fields["address"] == {"$ref": "#/$defs/Address"}
    assert fields["sizes"] == {"items": {"$ref": "#/$defs/Size"}, "type": "array"}
    assert fields["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    assert fields["coats"] == {
        "default": 2,
        "description": "how many times",
        "maximum": 5,
        "minimum": 1,
        "type": "integer",
    }
    assert fields["tags"]["description"] == "labels"
    assert fields["tags"]["maxItems"] == 3
    assert schema["required"] == ["color", "finish", "address", "sizes"]
    assert schema["$defs"]["Address"]["properties"]["zip_code"]["minimum"] == 10000


def test_a_default_of_none_allows_null() -> None:
    def greet(name: str = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013  # as people write it

    assert schema_of(greet)["properties"]["name"]["anyOf"] == [{"type": "string"}, {"type": "null"}]


def test_a_default_that_json_cannot_hold_is_not_told() -> None:
    marker = object()

    def search(query: str, limit: Any = marker) -> None: ...

    assert "default" not in schema_of(search)["properties"]["limit"]


@pytest.mark.parametrize("name", ["schema", "json", "copy", "model_config", "_private", "validate"])
def test_no_parameter_name_is_forbidden(name: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def f({name}: int) -> int: return {name}", space)  # noqa: S102

    made = Tool.of(space["f"])

    assert made.validate(f'{{"{name}": 3}}') == {name: 3}


def test_context_and_agent_are_injected_and_not_shown() -> None:
    def look_up(key: str, run_context, agent, ctx: RunContext, other: RunContext | None = None) -> None: ...  # type: ignore[no-untyped-def]

    made = Tool.of(look_up)

    assert list(made.definition.parameters["properties"]) == ["key"]
    assert made.injected({"run_context": "c", "agent": "a"}) == {
        "run_context": "c",
        "agent": "a",
        "ctx": "c",
        "other": "c",
    }


class Shop:
    """A shop."""

    def buy(self, item: str) -> str:
        """Buy something."""
        return item

    async def __call__(self, item: str) -> str:
        return item


def test_any_callable_can_be_a_tool() -> None:
    def send(text: str, *, channel: str, token: str) -> str:
        """Send it."""
        return text + channel + token

    sender = Tool.of(functools.partial(send, token="secret"))  # noqa: S106
    method, callee = Tool.of(Shop().buy), Tool.of(Shop())

    assert (sender.name, sender.definition.description) == ("send", "Send it.")
    assert list(sender.definition.parameters["properties"]) == ["text", "channel"]
    assert (method.name, method.definition.description) == ("buy", "Buy something.")
    assert (callee.name, callee.definition.description) == ("Shop", "A shop.")
    assert list(callee.definition.parameters["properties"]) == ["item"]


def test_async_is_told_for_each_kind_of_callable() -> None:
    async def later(text: str) -> str:
        return text

    assert Tool.of(later).is_async
    assert Tool.of(functools.partial(later)).is_async
    assert Tool.of(Shop()).is_async
    assert not Tool.of(Shop().buy).is_async


def test_a_wrapped_function_keeps_its_signature() -> None:
    def shout(text: Color) -> str:
        return text.value.upper()

    @functools.wraps(shout)
    def wrapper(*args: Any, **kwargs: Any) -> str:
        return shout(*args, **kwargs)

    assert list(schema_of(wrapper)["properties"]) == ["text"]


def test_a_local_type_that_the_function_uses_is_found() -> None:
    class Local(BaseModel):
        number: int

    def use(local: Local) -> Local:
        return Local(number=local.number)

    assert schema_of(use)["$defs"]["Local"]["properties"] == {"number": {"title": "Number", "type": "integer"}}


def test_a_return_annotation_is_never_looked_up() -> None:
    def find(key: str) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
        return key

    assert list(schema_of(find)["properties"]) == ["key"]


def refused(make: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        make()
    return str(caught.value)


def test_what_is_wrong_with_a_signature_is_said_when_the_tool_is_made() -> None:
    def naked(city) -> None: ...  # type: ignore[no-untyped-def]

    def many(*cities: str) -> None: ...

    def open_ended(**cities: str) -> None: ...

    def by_position(city: str, /) -> None: ...

    def counting(limit: int) -> Iterator[int]:
        yield limit

    async def counting_later(limit: int) -> AsyncIterator[int]:
        yield limit

    assert refused(lambda: Tool(naked)) == (
        "tool 'naked': parameter 'city' has no annotation: write city: str, or whatever it is"
    )
    assert "tool 'many': parameter 'cities' stands for many" in refused(lambda: Tool(many))
    assert "tool 'open_ended': parameter 'cities' stands for many" in refused(lambda: Tool(open_ended))
    assert "take the / out" in refused(lambda: Tool(by_position))
    assert "give the bound one" in refused(lambda: Tool(Shop.buy))
    assert "tool 'Shop'" in refused(lambda: Tool(Shop))
    assert "is a generator" in refused(lambda: Tool(counting))
    assert "is a generator" in refused(lambda: Tool(counting_later))
    assert "is not a function" in refused(lambda: Tool("text", name="text"))  # type: ignore[arg-type]


def test_names_that_providers_refuse_are_refused() -> None:
    assert "a lambda has no name" in refused(lambda: Tool(lambda: 1))
    for name in ("", "two words", "x" * 65, "näme", "name\n"):
        assert "@tool(name=...)" in refused(lambda name=name: Tool(lambda: 1, name=name))  # type: ignore[misc]


def test_an_annotation_that_cannot_be_found_names_the_mend() -> None:
    class Local: ...

    def local(thing: Local) -> None: ...

    def unchecked(amount: Decimal) -> None: ...

    for function, name in ((local, "Local"), (unchecked, "Decimal")):
        made = Tool(function)
        message = refused(made.prepare)
        assert f"tool {function.__name__!r}" in message
        assert f"{name!r} cannot be found" in message
        assert "at the top of the module" in message


def test_a_type_without_a_schema_is_refused_with_the_parameter_that_has_it() -> None:
    def call(number: int, callback: Callable[[int], int]) -> None: ...

    def draw(number: int, surface: Shop) -> None: ...

    for function, parameter in ((call, "callback"), (draw, "surface")):
        message = refused(Tool(function).prepare)
        assert f"tool {function.__name__!r}: parameter {parameter!r}" in message
        assert "http" not in message


def test_an_annotation_that_is_no_type_is_refused() -> None:
    def odd(number: Color.GREEN) -> None: ...  # type: ignore[name-defined]

    assert "tool 'odd': parameter 'number'" in refused(Tool(odd).prepare)


def test_preparing_twice_keeps_the_first_schema() -> None:
    made = Tool(lambda: 1, name="one")
    made.prepare()
    first = made.definition
    made.prepare()

    assert made.definition is first


def test_defining_a_tool_imports_no_pydantic() -> None:
    code = (
        "import sys; from hookline.tools import tool\n@tool\ndef f(x: int): ...\nassert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
