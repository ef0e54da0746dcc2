"""The OpenAPI document's parts that FastAPI cannot tell from the endpoints."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from hookline_fastapi import body, examples, schemas
from hookline_fastapi.access import Access
from hookline_fastapi.routing import HooklineRoute

REF_TEMPLATE = "#/components/schemas/{model}"
PROBLEM_JSON = "application/problem+json"

MORE_MODELS: tuple[type[BaseModel], ...] = (
    schemas.RunForm,
    schemas.RunBody,
    schemas.DiscardBody,
    schemas.DiscardManyBody,
    schemas.RedriveManyBody,
    schemas.ReplayBody,
    schemas.Problem,
    schemas.Rejection,
    schemas.NotReady,
)

DESCRIPTIONS = {
    401: "Nobody is known by what the request shows.",
    403: "This needs the scope `admin`.",
    404: "There is no such thing here.",
    409: "It is not in a state for this.",
    413: "The body is too large.",
    415: "The body is neither a form nor JSON in UTF-8.",
    422: "The request is not valid.",
    429: "The server takes no further run now; `Retry-After` says when to try again.",
    500: "The server, or the run, broke.",
    502: "The model could not answer.",
    503: "The database cannot be used, or the server is shutting down.",
}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF_TEMPLATE.format(model=model.__name__)}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem responses of a route, besides those that every route has."""
    return {status: problem(schemas.Problem, DESCRIPTIONS[status]) for status in sorted({*statuses, 422, 500, 503})}


def problem(model: type[schemas.Problem], description: str) -> dict[str, Any]:
    """One problem response."""
    return {"description": description, "content": {PROBLEM_JSON: {"schema": _ref(model)}}}


def request_body(*media: tuple[str, type[BaseModel]], required: bool = True) -> dict[str, Any]:
    """The `requestBody` of an operation, by media type."""
    return {
        "requestBody": {
            "required": required,
            "content": {media_type: {"schema": _ref(model)} for media_type, model in media},
        }
    }


RUN_REQUEST = request_body(
    (body.MULTIPART, schemas.RunForm), (body.FORM, schemas.RunForm), (body.JSON, schemas.RunBody)
)


def request(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The `requestBody` of an operation that takes its fields as JSON or as a form."""
    return request_body((body.JSON, model), (body.FORM, model), (body.MULTIPART, model), required=required)


DISCARD_REQUEST = request(schemas.DiscardBody)

EVENT_EXAMPLE = (
    "id: 1\nevent: RunStarted\n"
    f'data: {{"event":"RunStarted","run_id":"{examples.RUN_ID}","sequence":1,"session_id":"{examples.SESSION_ID}"}}\n\n'
    "id: 2\nevent: RunContent\n"
    f'data: {{"event":"RunContent","run_id":"{examples.RUN_ID}","sequence":2,"content":"You rolled"}}\n\n'
    ": ping\n\n"
)

RUN_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The completed run; with `stream`, its events, of which exactly one terminal event, "
        "with the whole run in `run`, is the last.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EVENT_EXAMPLE}},
    },
    202: {"model": schemas.AcceptedRun, "description": "With `background`: the run is accepted and goes on."},
    **problems(404, 409, 413, 415, 429, 502),
    422: {
        "description": "The request is not valid, or a check rejected the run.",
        "content": {PROBLEM_JSON: {"schema": {"anyOf": [_ref(schemas.Rejection), _ref(schemas.Problem)]}}},
    },
}


@functools.cache
def _more_schemas() -> dict[str, Any]:
    _, schema = models_json_schema([(model, "validation") for model in MORE_MODELS], ref_template=REF_TEMPLATE)
    found: dict[str, Any] = schema["$defs"]
    return found


def completed(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """What makes the app's OpenAPI document, with what FastAPI cannot tell from the endpoints.

    That is: the models that only request bodies and problems use, and how to authenticate.
    """
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(_more_schemas())
        for route in app.routes:
            if isinstance(route, HooklineRoute) and route.include_in_schema and route.gate.is_closed:
                components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
                for method in route.methods or ():
                    _tell_access(document["paths"][route.path_format][method.lower()], route.access)
        return document

    return openapi


def _tell_access(operation: dict[str, Any], access: Access) -> None:
    if access in (Access.OPEN, Access.PROBE):
        return
    operation["security"] = [{"bearer": []}]
    statuses = (401, 403) if access is Access.ADMIN else (401,)
    more = {str(status): problem(schemas.Problem, DESCRIPTIONS[status]) for status in statuses}
    operation["responses"] = dict(sorted({**operation["responses"], **more}.items()))
