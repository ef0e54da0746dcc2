"""Tools: functions that a model may call.

    @tool
    def roll_a_die(sides: Annotated[int, "how many sides it has"] = 6) -> int:
        '''Roll a die and tell what it shows.'''
        return random.randint(1, sides)

    Agent(name="Gambler", model=..., tools=[roll_a_die, another_plain_function])

**What the model sees** comes from the function: its name, its docstring, and a JSON Schema of its parameters, from
their annotations (all that pydantic knows: literals, enums, dataclasses, models, constraints), their defaults, and
their descriptions (`Annotated[int, "text"]`, or a pydantic `Field`).

**What it does not see**: a parameter named `run_context`, or annotated as `RunContext`, gets the run's context, one
named `agent` the agent; parameters that a `functools.partial` has bound by name are left out.

**What it gets back** is text: a string as it is, anything else as JSON (so None is `null`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, overload

from hookline import jsontext
from hookline.calling import is_async_callable
from hookline.errors import ConfigurationError, HooklineError
from hookline.models import ToolDefinition
from hookline.tool_arguments import ToolArguments, ToolArgumentsError, make_arguments, read_parameters, unwrapped

__all__ = ["Tool", "ToolArgumentsError", "ToolResultError", "tool"]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class ToolResultError(HooklineError):
    """A tool returned what JSON has no form for."""


class Tool:
    """A function that a model may call.

    Args:
        function: sync or async, with an annotation on each parameter: any callable but a class.
        name: what the model calls it: letters, digits, `_` and `-`, at most 64; default: the function's name.
        description: what it does, for the model; default: the docstring.

    Raises:
        ConfigurationError: the function cannot be a tool; the message says what to change.
    """

    def __init__(
        self, function: Callable[..., Any], *, name: str | None = None, description: str | None = None
    ) -> None:
        inner = unwrapped(function)
        self.function = function
        self.name = _name_of(inner) if name is None else name
        _check(self.name, inner)
        self.description = (inspect.getdoc(inner) or "") if description is None else description
        self.is_async = is_async_callable(function)
        self._parameters = read_parameters(self.name, function)
        self._arguments: ToolArguments | None = None
        self._definition: ToolDefinition | None = None

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, as if it were no tool."""
        return self.function(*args, **kwargs)

    @staticmethod
    def of(function: Tool | Callable[..., Any]) -> Tool:
        """Make a tool of a function; a tool is returned as it is."""
        return function if isinstance(function, Tool) else Tool(function)

    def prepare(self) -> None:
        """Find the annotations and make the schema, once; it is done at need, too.

        Raises:
            ConfigurationError: an annotation cannot be found, or has no JSON Schema.
        """
        if self._arguments is None:
            self._arguments = make_arguments(self.name, self.function, self._parameters)

    @property
    def definition(self) -> ToolDefinition:
        """The tool as a model sees it."""
        if self._definition is None:
            self._definition = ToolDefinition(self.name, self.description, self._prepared().schema)
        return self._definition

    def validate(self, arguments: str) -> dict[str, Any]:
        """Read the JSON text that a model wrote, as keyword arguments for the function.

        Raises:
            ToolArgumentsError: it does not fit, told field by field.
        """
        return self._prepared().validate(arguments)

    def injected(self, offered: Mapping[str, Any]) -> dict[str, Any]:
        """Pick the keyword arguments that the model does not give; `run_context` and `agent` must be offered."""
        return {name: offered[what] for name, what in self._prepared().injected.items()}

    def result_text(self, value: Any) -> str:
        """Write down what the function returned: a string as it is, anything else as JSON.

        Raises:
            ToolResultError: JSON has no form for it.
        """
        if isinstance(value, str):
            return value
        from pydantic_core import to_jsonable_python

        try:
            return jsontext.dumps(to_jsonable_python(value))
        except ValueError as error:
            raise ToolResultError(
                f"tool {self.name!r} returned a {type(value).__name__} that JSON has no form for ({error}):"
                " return text, plain data, a dataclass or a pydantic model"
            ) from error

    def _prepared(self) -> ToolArguments:
        self.prepare()
        assert self._arguments is not None  # noqa: S101 - `prepare` has set it
        return self._arguments


@overload
def tool(function: Callable[..., Any], /, *, name: str | None = None, description: str | None = None) -> Tool: ...
@overload
def tool(*, name: str | None = None, description: str | None = None) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None, /, *, name: str | None = None, description: str | None = None
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function: `@tool`, or `@tool(name=..., description=...)`.

    Raises:
        ConfigurationError: see `Tool`.
    """
    if function is not None:
        return Tool(function, name=name, description=description)
    return lambda function: Tool(function, name=name, description=description)


def _name_of(inner: object) -> str:
    return str(getattr(inner, "__name__", type(inner).__name__))


def _check(name: str, inner: object) -> None:
    if name == "<lambda>":
        raise ConfigurationError("a lambda has no name for the model: write tool(lambda ..., name='a_name')")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"tool {name!r}: a tool's name is 1 to 64 letters, digits, _ or -: give it one with @tool(name=...)"
        )
    if inspect.isclass(inner) or not callable(inner):
        raise ConfigurationError(f"tool {name!r}: {inner!r} is not a function, a method or a callable object")
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise ConfigurationError(f"tool {name!r} is a generator: return one value instead of yielding several")
