"""Links: which operations go on from which answer, told in the OpenAPI document by the names of ids.

An answer with a `run_id` leads to every operation that takes a `run_id`: nobody has to list that for a new route.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_FIRST = "/items/0"
"""Where a listing's first item is, as a JSON pointer."""


def add_links(document: dict[str, Any], operations: Sequence[dict[str, Any]]) -> None:
    """Add to an OpenAPI document the links between these operations of its."""
    targets = list(_targets(operations))
    links: dict[str, Any] = {}
    for operation in operations:
        for status, response in operation["responses"].items():
            if not status.startswith("2"):
                continue
            found = dict(_links_of(operation, _ids_in(document, response), targets))
            if found:
                response["links"] = {name: {"$ref": f"#/components/links/{name}"} for name in found}
                links.update(found)
    document["components"]["links"] = dict(sorted(links.items()))


def _targets(operations: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The operations that one id is enough for, each with the name of that id."""
    for operation in operations:
        parameters = operation.get("parameters", ())
        in_path = [parameter["name"] for parameter in parameters if parameter["in"] == "path"]
        if not in_path:
            names = [parameter["name"] for parameter in parameters if parameter["name"].endswith("_id")]
            yield from ((operation["operationId"], name) for name in names)
        elif len(in_path) == 1:
            yield operation["operationId"], in_path[0]


def _links_of(
    operation: dict[str, Any], ids: dict[str, str], targets: list[tuple[str, str]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for target, name in targets:
        if name in ids and target != operation["operationId"]:
            where = "of_first_item" if ids[name].startswith(_FIRST) else "of_answer"
            yield (
                f"{target}_by_{name}_{where}",
                {"operationId": target, "parameters": {name: f"$response.body#{ids[name]}"}},
            )


def _ids_in(document: dict[str, Any], response: dict[str, Any]) -> dict[str, str]:
    """The ids in an answer, as names with JSON pointers."""
    schema = _resolved(document, response.get("content", {}).get("application/json", {}).get("schema", {}))
    properties, prefix = schema.get("properties", {}), ""
    if "items" in properties:
        properties, prefix = _resolved(document, properties["items"]["items"]).get("properties", {}), _FIRST
    return {
        name: f"{prefix}/{name}"
        for name, value in properties.items()
        if name.endswith("_id") and value.get("type") == "string"
    }


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema
    if "$ref" in schema:
        found = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return found
