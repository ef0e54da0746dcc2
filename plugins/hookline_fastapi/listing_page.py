"""The listing: an OpenAPI document as plain HTML, for readers whose browser gets no script from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

Document = dict[str, Any]


def listing_of(document: Document) -> str:
    """Every operation with its parameters, the fields of its body and its responses."""
    about = document["info"]
    parts = [f"<h1>{escape(about['title'])}</h1>", f"<p>{escape(about.get('description', ''))}</p>"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _operation(document, f"{method.upper()} {path}", operation)
    return "\n".join(parts)


def _operation(document: Document, name: str, operation: Document) -> Iterator[str]:
    yield f"<details><summary><code>{escape(name)}</code></summary>"
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    parameters = operation.get("parameters", [])
    yield _rows("Parameters", {each["name"]: _about(each.get("schema", {})) for each in parameters})
    yield _rows("Body", {field: _about(schema) for field, schema in _body_fields(document, operation).items()})
    responses = operation.get("responses", {})
    yield _rows("Responses", {status: response.get("description", "") for status, response in responses.items()})
    yield "</details>"


def _rows(title: str, rows: dict[str, str]) -> str:
    if not rows:
        return ""
    lines = "".join(f"<dt><code>{escape(name)}</code></dt><dd>{escape(text)}</dd>" for name, text in rows.items())
    return f"<h2>{title}</h2><dl>{lines}</dl>"


def _about(schema: Document) -> str:
    kinds = [schema, *schema.get("anyOf", [])]
    names = [str(kind["type"]) for kind in kinds if "type" in kind]
    return ": ".join(filter(None, [" or ".join(names), schema.get("description", "")]))


def _body_fields(document: Document, operation: Document) -> Document:
    media = operation.get("requestBody", {}).get("content", {})
    for content in media.values():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        found: Document = document["components"]["schemas"].get(name, {}).get("properties", {})
        return found
    return {}
