"""The schemas of forms, made of those of the JSON bodies with the same fields.

A form knows no null: what is not given is left out. And it knows no objects: their JSON text stands for them.
"""

from __future__ import annotations

from typing import Any

from hookline.jsontext import dumps

_OBJECT_TEXT = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"type": "object"}}


def form_name(body_name: str) -> str:
    """What the form of a body is called: `RunForm` for `RunBody`."""
    return body_name.removesuffix("Body") + "Form"


def form_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of the form with the fields of a body."""
    return {
        **schema,
        "title": form_name(schema["title"]),
        "properties": {name: _field(value) for name, value in schema["properties"].items()},
        "examples": [{name: _text(value) for name, value in body.items()} for body in schema["examples"]],
    }


def _field(schema: dict[str, Any]) -> dict[str, Any]:
    field = {name: value for name, value in schema.items() if name != "anyOf"}
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if choices:
        field.update(choices[0] if len(choices) == 1 else {"anyOf": choices})
    if field.get("default", ...) is None:
        del field["default"]
    if field.get("type") == "object":
        del field["type"], field["additionalProperties"]
        field.update(_OBJECT_TEXT)
    return field


def _text(value: Any) -> Any:
    return dumps(value) if isinstance(value, dict) else value
