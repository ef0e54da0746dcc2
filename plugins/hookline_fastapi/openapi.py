"""The OpenAPI document's parts that FastAPI cannot tell from the endpoints."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from hookline.ids import ID_PATTERN
from hookline_fastapi import (
    body,
    body_schemas,
    delivery_schemas,
    event_schemas,
    examples,
    problem_schemas,
    run_schemas,
    server_schemas,
)
from hookline_fastapi import problems as known
from hookline_fastapi.access import Access
from hookline_fastapi.browsers import SAFE_METHODS
from hookline_fastapi.form_schemas import form_name, form_of
from hookline_fastapi.links import add_links
from hookline_fastapi.problem_examples import EXAMPLES, named_examples
from hookline_fastapi.problems import ProblemType
from hookline_fastapi.routing import HooklineRoute

REF_TEMPLATE = "#/components/schemas/{model}"
PROBLEM_JSON = "application/problem+json"

ANSWER_SCHEMAS = (run_schemas, delivery_schemas, server_schemas, problem_schemas)

MORE_MODELS: tuple[type[BaseModel], ...] = (
    body_schemas.RunBody,
    body_schemas.DiscardBody,
    body_schemas.DiscardManyBody,
    body_schemas.RedriveManyBody,
    body_schemas.ReplayBody,
    problem_schemas.Problem,
    problem_schemas.Rejection,
    problem_schemas.NotReady,
    event_schemas.RunEvent,
    event_schemas.ServerSentEvent,
)

DESCRIPTIONS = {
    401: "Nobody is known by what the request shows.",
    403: "This is for others: it needs the scope `admin`, or comes from a page or by a name that is not known here.",
    404: "There is no such thing here.",
    409: "It is not in a state for this.",
    413: "The body is too large.",
    415: "The body is neither a form nor JSON in UTF-8.",
    422: "The request is not valid.",
    431: "The request has too many headers.",
    429: "The server takes no further run now; `Retry-After` says when to try again.",
    500: "The server, or the run, broke.",
    502: "The model could not answer.",
    503: "The database cannot be used, or the server is shutting down.",
}

KINDS: dict[int, tuple[ProblemType, ...]] = {
    404: (known.NOT_FOUND,),
    413: (known.BODY_TOO_LARGE,),
    415: (known.UNSUPPORTED_MEDIA_TYPE,),
    422: (known.INVALID_REQUEST,),
    429: (known.SERVER_BUSY,),
    431: (known.TOO_MANY_HEADERS,),
    500: (known.INTERNAL_ERROR,),
    502: (known.MODEL_ERROR,),
    503: (known.STORAGE_UNAVAILABLE,),
}
"""What a status stands for where nothing else is said."""

EVERYWHERE = (422, 431, 500)
"""What any route may answer: an unknown query parameter, too many headers, a mistake of ours."""

_HEADERS: dict[int, tuple[str, dict[str, Any]]] = {
    401: ("WWW-Authenticate", {"description": "How to say who you are.", "schema": {"type": "string"}}),
    429: ("Retry-After", {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}),
}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF_TEMPLATE.format(model=model.__name__)}


def problems(*which: int | ProblemType) -> dict[int | str, dict[str, Any]]:
    """The problem responses of a route, besides those that every route has.

    Args:
        which: statuses, or kinds of problems where a status alone does not tell what it stands for.
    """
    found = {status: KINDS[status] for status in (422, 500, 503)}
    for each in which:
        if isinstance(each, int):
            found[each] = KINDS.get(each, ())
        else:
            found[each.status] = (*found.get(each.status, ()), each)
    return {status: problem(problem_schemas.Problem, DESCRIPTIONS[status], *found[status]) for status in sorted(found)}


def problem(model: type[problem_schemas.Problem], description: str, *shown: ProblemType) -> dict[str, Any]:
    """One problem response, with an example of each kind that it may be."""
    content: dict[str, Any] = {"schema": _ref(model)}
    if shown:
        content["examples"] = named_examples(shown)
    return {"description": description, "content": {PROBLEM_JSON: content}}


def request(model: type[BaseModel]) -> dict[str, Any]:
    """The `requestBody` of an operation that takes its fields as JSON or as a form."""
    form = {"schema": {"$ref": REF_TEMPLATE.format(model=form_name(model.__name__))}}
    content = {body.JSON: {"schema": _ref(model)}, body.FORM: form, body.MULTIPART: form}
    return {"requestBody": {"required": True, "content": content}}


RUN_REQUEST = request(body_schemas.RunBody)

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
        "content": {"text/event-stream": {"schema": _ref(event_schemas.ServerSentEvent), "example": EVENT_EXAMPLE}},
    },
    202: {
        "model": run_schemas.AcceptedRun,
        "description": "With `background`: the run is accepted and goes on.",
        "headers": {"Location": {"description": "Where the run is.", "schema": {"type": "string"}}},
    },
    **problems(404, known.RUN_CANCELLED, known.SESSION_BUSY, 413, 415, 429, known.RUN_FAILED, 502, known.SHUTTING_DOWN),
    422: {
        "description": "The request is not valid, or a check rejected the run.",
        "content": {
            PROBLEM_JSON: {
                "schema": {"anyOf": [_ref(problem_schemas.Rejection), _ref(problem_schemas.Problem)]},
                "examples": named_examples((known.INVALID_REQUEST, known.RUN_REJECTED)),
            }
        },
    },
}


@functools.cache
def _more_schemas() -> dict[str, Any]:
    _, schema = models_json_schema([(model, "validation") for model in MORE_MODELS], ref_template=REF_TEMPLATE)
    found: dict[str, Any] = schema["$defs"]
    forms = {form_name(name): form_of(model) for name, model in found.items() if name.endswith("Body")}
    return {**forms, **found}


def completed(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """What makes the app's OpenAPI document, with what FastAPI cannot tell from the endpoints.

    That is: the models that only bodies, problems and streams use, what every route may answer, where each answer
    leads, and how to authenticate.
    """
    make = app.openapi

    @functools.cache
    def openapi() -> dict[str, Any]:
        document = make()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(_more_schemas())
        _restore_examples(components["schemas"])
        operations = []
        for route, operation in _own_operations(app, document):
            operations.append(operation)
            _tell_path(operation)
            if route.gate.is_closed:
                components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
            _tell_access(operation, route)
            _tell_answers(operation)
        components["examples"] = EXAMPLES
        add_links(document, operations)
        return document

    return openapi


def _own_operations(app: FastAPI, document: dict[str, Any]) -> Iterator[tuple[HooklineRoute, dict[str, Any]]]:
    for route in app.routes:
        if isinstance(route, HooklineRoute) and route.include_in_schema:
            for method in route.methods or ():
                yield route, document["paths"][route.path_format][method.lower()]


def _restore_examples(components: dict[str, Any]) -> None:
    """Put the examples of the models as they are: FastAPI drops all nulls from them."""
    for model in (found for module in ANSWER_SCHEMAS for found in vars(module).values()):
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__name__ in components:
            extra = model.model_config.get("json_schema_extra")
            if isinstance(extra, dict):
                components[model.__name__].update(extra)


def _tell_path(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path" and parameter["name"].endswith("_id"):
            parameter["schema"]["pattern"] = f"^{ID_PATTERN}$"


def _tell_answers(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    for status in EVERYWHERE:
        responses.setdefault(str(status), problem(problem_schemas.Problem, DESCRIPTIONS[status], *KINDS[status]))
    for status, response in responses.items():
        if int(status) in _HEADERS:
            name, header = _HEADERS[int(status)]
            response["headers"] = {name: header}
    operation["responses"] = dict(sorted(responses.items()))


def _tell_access(operation: dict[str, Any], route: HooklineRoute) -> None:
    if route.access in (Access.OPEN, Access.PROBE):
        return
    responses, forbidden = operation["responses"], []
    if not route.gate.is_closed:
        forbidden.append(known.FOREIGN_HOST)
    else:
        operation["security"] = [{"bearer": []}]
        responses["401"] = problem(problem_schemas.Problem, DESCRIPTIONS[401], known.UNAUTHENTICATED)
        unavailable = responses["503"]["content"][PROBLEM_JSON]["examples"]
        unavailable.update(named_examples([known.AUTHENTICATION_UNAVAILABLE]))
        if route.access is Access.ADMIN:
            forbidden.append(known.FORBIDDEN)
    if not SAFE_METHODS.issuperset(route.methods or ()):
        forbidden.append(known.FOREIGN_ORIGIN)
    if forbidden:
        responses["403"] = problem(problem_schemas.Problem, DESCRIPTIONS[403], *forbidden)
