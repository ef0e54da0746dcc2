"""Values made up for a JSON Schema, out of what the user said where that fits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

_DEEPEST = 8

_TEXTS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T12:00:00Z",
    "time": "12:00:00",
    "duration": "PT1H",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class NoExampleError(ValueError):
    """No value could be made up."""


def example_of(schema: Mapping[str, Any], said: str) -> Any:
    """Make up a value of a schema.

    Objects get their required fields; a choice takes the first value that was said, or else its first; a number takes
    the first number that was said and is in range; a text takes all that was said.

    Raises:
        NoExampleError: it asks for too much: a pattern, a form that is not known, or something endless.
    """
    return _Maker(schema.get("$defs", {}), said).make(schema, 0)


class _Maker:
    def __init__(self, definitions: Mapping[str, Any], said: str) -> None:
        self._definitions = definitions
        self._said = said

    def make(self, schema: Mapping[str, Any], depth: int) -> Any:
        if depth > _DEEPEST:
            raise NoExampleError("the schema is endless")
        if "$ref" in schema:
            name = str(schema["$ref"]).rpartition("/")[2]
            if name not in self._definitions:
                raise NoExampleError(f"the schema refers to {name!r}, which it does not define")
            return self.make(self._definitions[name], depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._choice(schema["enum"])
        for union in ("anyOf", "oneOf", "allOf"):
            if union in schema:
                return self._first(schema[union], depth)
        return self._of_type(schema, depth)

    def _of_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type", "string")
        if isinstance(kind, list):
            return self._first([{**schema, "type": each} for each in kind], depth)
        makers: dict[str, Callable[[], Any]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: [self.make(schema.get("items", {}), depth + 1) for _ in range(schema.get("minItems", 1))],
            "string": lambda: self._text(schema),
            "integer": lambda: self._number(schema, whole=True),
            "number": lambda: self._number(schema, whole=False),
            "boolean": lambda: True,
            "null": lambda: None,
        }
        if kind not in makers:
            raise NoExampleError(f"the schema has the type {kind!r}")
        return makers[kind]()

    def _first(self, schemas: list[Mapping[str, Any]], depth: int) -> Any:
        """A value of the first schema that has one, null last."""
        for schema in sorted(schemas, key=lambda each: each.get("type") == "null"):
            try:
                return self.make(schema, depth + 1)
            except NoExampleError:
                continue
        raise NoExampleError("no member of a union has an example")

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        fields = schema.get("properties", {})
        return {name: self.make(fields.get(name, {}), depth + 1) for name in schema.get("required", ())}

    def _choice(self, values: list[Any]) -> Any:
        said = self._said.lower()
        return next((value for value in values if str(value).lower() in said), values[0])

    def _text(self, schema: Mapping[str, Any]) -> str:
        if "pattern" in schema:
            raise NoExampleError("the schema has a pattern")
        text = _TEXTS.get(schema.get("format", ""), self._said)
        return text[: schema.get("maxLength", len(text))].ljust(schema.get("minLength", 0), ".")

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        step = 1 if whole else 0.5
        least = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf) + step)
        most = schema.get("maximum", schema.get("exclusiveMaximum", math.inf) - step)
        if not least <= most:
            raise NoExampleError("no number is in range")
        said = re.findall(r"-?\d+" if whole else r"-?\d+(?:\.\d+)?", self._said)
        numbers = (int(text) if whole else float(text) for text in said)
        return next((number for number in numbers if least <= number <= most), min(max(0, least), most))
