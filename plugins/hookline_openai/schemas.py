"""The schema of an answer as OpenAI wants it; its strict mode knows a part of JSON Schema, and refuses the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_KEYWORDS = frozenset(
    {
        "$defs",
        "additionalProperties",
        "anyOf",
        "const",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "multipleOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    }
)
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})


def named_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with a name that the provider takes, and whether the answer is to follow it strictly."""
    name = re.sub(r"[^a-zA-Z0-9_-]+", "_", str(schema.get("title") or "answer"))[:64]
    return {"name": name, "schema": schema, "strict": allows_strict(schema)}


def allows_strict(schema: Mapping[str, Any]) -> bool:
    """Whether all objects in a schema are closed and require all their fields, in the known keywords."""
    return schema.get("type") == "object" and all(map(_node_allows_strict, _nodes(schema)))


def _node_allows_strict(node: Mapping[str, Any]) -> bool:
    if "$ref" in node:
        return len(node) == 1
    if not node.keys() <= _KEYWORDS or node.get("format", "date") not in _FORMATS:
        return False
    if node.get("type") != "object":
        return True
    required = set(node.get("required", ()))
    return node.get("additionalProperties") is False and required == set(node.get("properties", ()))


def _nodes(node: Any) -> Iterator[Mapping[str, Any]]:
    """The schema and all schemas in it."""
    if not isinstance(node, Mapping):
        return
    yield node
    for name in ("properties", "$defs"):
        for part in node.get(name, {}).values():
            yield from _nodes(part)
    yield from _nodes(node.get("items"))
    for part in node.get("anyOf", ()):
        yield from _nodes(part)
