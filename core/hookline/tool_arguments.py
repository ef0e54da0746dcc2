"""A tool's arguments: from a signature to a JSON Schema, and from a model's JSON to keyword arguments."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, Optional

from hookline.errors import ConfigurationError, HooklineError
from hookline.runs import RunContext

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

INJECTED = ("run_context", "agent")
"""Parameters of these names are given by the engine, not by the model."""

_MOST_COMPLAINTS = 10
_LONGEST_VALUE = 80


class ToolArgumentsError(HooklineError):
    """A model's arguments do not fit the tool; the message is written for the model."""


@dataclass(frozen=True, slots=True)
class ToolArguments:
    """What a tool takes.

    Attributes:
        tool: the tool's name.
        schema: the JSON Schema of the object that the model writes.
        injected: parameters that the engine gives: which of `INJECTED` goes to which parameter.
    """

    tool: str
    schema: dict[str, Any]
    injected: Mapping[str, str]
    _adapter: TypeAdapter[dict[str, Any]]

    def validate(self, text: str) -> dict[str, Any]:
        """Read the JSON text that a model wrote; nothing at all, or `null`, stands for no arguments.

        Raises:
            ToolArgumentsError: it does not fit, told field by field.
        """
        from pydantic import ValidationError

        if text.strip() in ("", "null"):
            text = "{}"
        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            complaints = list(_complaints(error, text, self.schema["properties"]))
        more = len(complaints) - _MOST_COMPLAINTS
        shown = complaints[:_MOST_COMPLAINTS] + ([f"and {more} more"] if more > 0 else [])
        raise ToolArgumentsError(f"{self.tool} cannot take these arguments:\n" + "\n".join(f"- {c}" for c in shown))


def unwrapped(function: object) -> object:
    """What a partial calls in the end."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def read_parameters(tool: str, function: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    """Read what a function takes, as far as that needs no annotation to be found.

    Raises:
        ConfigurationError: it takes what a model cannot give.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError, NameError) as error:
        raise ConfigurationError(f"tool {tool!r} has no signature that can be read: {error}") from error
    bound = function.keywords if isinstance(function, functools.partial) else {}
    visible = [parameter for parameter in parameters if parameter.name not in bound]
    for parameter in visible:
        if problem := _problem_of(parameter):
            raise ConfigurationError(f"tool {tool!r}: parameter {parameter.name!r} {problem}")
    return visible


def _problem_of(parameter: inspect.Parameter) -> str | None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return "stands for many, and a model must know each: name them, or take one list or dict"
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return "goes by position only, and a model gives all by name: take the / out of the signature"
    if parameter.annotation is not parameter.empty or parameter.name in INJECTED:
        return None
    if parameter.name == "self":
        return "belongs to a method: leave the method as it is, and give the bound one, tools=[thing.method]"
    return f"has no annotation: write {parameter.name}: str, or whatever it is"


def make_arguments(tool: str, function: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> ToolArguments:
    """Find the annotations and make the schema; this imports pydantic.

    Raises:
        ConfigurationError: an annotation cannot be found, or has no JSON Schema.
    """
    injected: dict[str, str] = {}
    fields: dict[str, inspect.Parameter] = {}
    for parameter in parameters:
        if parameter.name in INJECTED:
            injected[parameter.name] = parameter.name
            continue
        annotation = _annotation_of(tool, function, parameter)
        if RunContext in (annotation, *typing.get_args(annotation)):
            injected[parameter.name] = "run_context"
        else:
            fields[parameter.name] = parameter.replace(annotation=annotation)
    adapter, schema = _adapter_and_schema(tool, fields)
    return ToolArguments(tool, schema, injected, adapter)


def _annotation_of(tool: str, function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The type that a parameter is annotated with, also where it is written as text."""
    base = _plain_function(function)
    names = {**getattr(base, "__globals__", {}), **_enclosed(base)}
    annotation = parameter.annotation

    def holder() -> None: ...

    holder.__annotations__ = {parameter.name: annotation}
    try:
        found = typing.get_type_hints(holder, names, include_extras=True)[parameter.name]
    except NameError as error:
        raise ConfigurationError(
            f"tool {tool!r}: parameter {parameter.name!r} is annotated as {annotation!r}, and {error.name!r}"
            " cannot be found: define or import it at the top of the module, not inside a function and not"
            " under `if TYPE_CHECKING`"
        ) from error
    except (TypeError, SyntaxError, AttributeError) as error:
        raise ConfigurationError(
            f"tool {tool!r}: parameter {parameter.name!r}: {annotation!r} is no type: {error}"
        ) from error
    return Optional[found] if parameter.default is None else found  # noqa: UP045 - not all forms have |


def _plain_function(function: object) -> Any:
    """The function whose text bears the annotations: under partials, `__call__`, methods and wrappers."""
    inner = unwrapped(function)
    method = inner if inspect.isroutine(inner) else type(inner).__call__
    return inspect.unwrap(getattr(method, "__func__", method))


def _enclosed(base: Any) -> dict[str, Any]:
    """The variables of enclosing functions that the function uses, as far as they are set."""
    found = {}
    for name, cell in zip(base.__code__.co_freevars, base.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not set yet
            continue
    return found


def _adapter_and_schema(
    tool: str, fields: Mapping[str, inspect.Parameter]
) -> tuple[TypeAdapter[dict[str, Any]], dict[str, Any]]:
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

    failures = (PydanticUserError, PydanticUndefinedAnnotation, TypeError)
    try:
        adapter = _adapter(fields)
        return adapter, _schema(adapter, fields)
    except failures as error:
        name = next((name for name in fields if _fails({name: fields[name]}, failures)), "?")
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(
            f"tool {tool!r}: parameter {name!r}: a model cannot be told what to write here: {reason}"
        ) from error


def _fails(fields: Mapping[str, inspect.Parameter], failures: tuple[type[Exception], ...]) -> bool:
    try:
        _schema(_adapter(fields), fields)
    except failures:
        return True
    return False


def _adapter(fields: Mapping[str, inspect.Parameter]) -> TypeAdapter[dict[str, Any]]:
    """A validator of all arguments as one object: a TypedDict, which knows no forbidden field names."""
    from pydantic import ConfigDict, TypeAdapter
    from typing_extensions import TypedDict  # pydantic wants this one

    hints = {name: _field_type(field) for name, field in fields.items()}
    make_type: Any = TypedDict  # type checkers take only literal ones
    arguments = make_type("Arguments", hints)
    arguments.__pydantic_config__ = ConfigDict(extra="forbid")
    return TypeAdapter(arguments)


def _field_type(field: inspect.Parameter) -> Any:
    """The type of one argument as the field of a TypedDict, with what `Field` and plain texts say of it."""
    from pydantic import Field
    from pydantic.fields import FieldInfo

    annotation = field.annotation
    for text in _texts_of(annotation):
        annotation = Annotated[annotation, Field(description=text)]
    if isinstance(field.default, FieldInfo):
        annotation = Annotated[annotation, field.default]
        return annotation if field.default.is_required() else NotRequired[annotation]
    return annotation if field.default is field.empty else NotRequired[annotation]


def _texts_of(annotation: Any) -> list[str]:
    return [extra for extra in getattr(annotation, "__metadata__", ()) if isinstance(extra, str)]


def _schema(adapter: TypeAdapter[dict[str, Any]], fields: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    schema = adapter.json_schema()
    schema.pop("title", None)
    for name, shape in schema["properties"].items():
        if shape.get("title") == name.replace("_", " ").title():
            del shape["title"]  # made up by pydantic from the name, which the model has already
        if name in fields:
            _add_default(shape, fields[name].default)
    return schema


def _add_default(shape: dict[str, Any], default: Any) -> None:
    from pydantic.fields import FieldInfo
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    if default is inspect.Parameter.empty or isinstance(default, FieldInfo):
        return
    try:
        shape["default"] = to_jsonable_python(default)
    except PydanticSerializationError:  # the model need not know it
        return


def _complaints(error: ValidationError, text: str, known: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong, one line each, in terms of the JSON that the model wrote."""
    from pydantic_core import from_json

    problems = error.errors(include_url=False, include_context=False)
    if any(problem["type"] in ("json_invalid", "string_unicode") for problem in problems):
        yield f"they are not valid JSON: {problems[0]['msg'].removeprefix('Invalid JSON: ')}"
        return
    data = from_json(text)
    for problem in problems:
        where = _path(problem["loc"], data, missing=problem["type"] == "missing")
        if not where:
            yield "they must be one JSON object"
        elif problem["type"] == "missing":
            yield f"{where}: missing"
        elif problem["type"] == "extra_forbidden":
            yield f"{where}: unknown; known are: {', '.join(known) or 'none'}" if where in data else f"{where}: unknown"
        else:
            yield f"{where}: {problem['msg']}{_got(problem['input'])}"


def _path(loc: Sequence[int | str], data: Any, *, missing: bool) -> str:
    """The way to a value as one would write it; names of a union's members, which pydantic puts in, left out."""
    path = ""
    for number, step in enumerate(loc):
        if isinstance(data, list) and isinstance(step, int):
            path, data = f"{path}[{step}]", data[step]
        elif isinstance(data, dict) and step in data:
            path, data = f"{path}.{step}", data[step]
        elif missing and number == len(loc) - 1:
            path = f"{path}.{step}"
    return path.removeprefix(".")


def _got(value: object) -> str:
    if not isinstance(value, str | int | float):
        return ""
    text = repr(value) if isinstance(value, str) else str(value).lower()
    return f" (got {text})" if len(text) <= _LONGEST_VALUE else ""
