"""The OpenAPI document: clients are generated from it, so all that it says must be so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import validate
from pydantic import TypeAdapter

from hookline import hook
from hookline.testing import ScriptedModel
from hookline_demo import DemoModel
from hookline_fastapi.body_schemas import NotBlank, RunBody
from hookline_fastapi.event_schemas import RunEvent
from hookline_fastapi.fields import read_text
from hookline_fastapi.form_schemas import form_of
from http_server import Serve, Served

SENT = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")


@pytest.fixture
def document(shared: Served) -> dict[str, Any]:
    found: dict[str, Any] = shared.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["operationId"]: each for methods in document["paths"].values() for each in methods.values()}


def inside(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in it."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inside(child)


def resolve(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    found: Any = document
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return resolve(document, found)


def check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": document["components"]}
    OAS31Validator(whole, format_checker=oas31_format_checker).validate(value)


def test_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)
    for each in inside(document):
        if isinstance(each.get("$ref"), str):
            assert resolve(document, each)


def test_each_operation_can_be_a_method_of_a_client(document: dict[str, Any]) -> None:
    paths = document["paths"].values()
    assert len(operations(document)) == sum(len(methods) for methods in paths), "an operationId is there twice"
    for name, operation in operations(document).items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)
        assert operation["summary"]
        assert operation["description"]
        assert len(operation["tags"]) == 1
        successes = [response for status, response in operation["responses"].items() if status.startswith("2")]
        assert successes
        for response in successes:
            assert "schema" in response["content"]["application/json"]


def test_each_operation_tells_its_errors(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        responses = operation["responses"]
        assert {"422", "431", "500"} <= responses.keys(), name
        assert ("404" in responses) == any(each["in"] == "path" for each in operation.get("parameters", ())), name
        if "requestBody" in operation:
            assert {"413", "415"} <= responses.keys(), name
        for status, response in responses.items():
            if not status.startswith("2"):
                (media_type,) = response["content"]
                assert media_type == "application/problem+json"
                shown = response["content"][media_type]
                kinds = [resolve(document, example)["value"] for example in shown["examples"].values()]
                assert kinds, name
                assert {kind["status"] for kind in kinds} == {int(status)}
                for kind in kinds:
                    check(document, shown["schema"], kind)


def test_examples_are_what_their_schemas_say(document: dict[str, Any]) -> None:
    checked = 0
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            check(document, schema, example)
            checked += 1
        if name.endswith("Body"):
            assert schema["examples"], name
    assert checked > 20


def test_run_agent(document: dict[str, Any]) -> None:
    run = operations(document)["run_agent"]
    assert set(run["requestBody"]["content"]) == set(SENT)
    assert set(run["responses"]) == {
        "200", "202", "403", "404", "409", "413", "415", "422", "429", "431", "500", "502", "503",
    }  # fmt: skip
    assert set(run["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert run["responses"]["202"]["headers"].keys() == {"Location"}
    assert run["responses"]["429"]["headers"].keys() == {"Retry-After"}


def test_form_has_the_fields_of_the_body_without_null(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    bodies = [name for name in schemas if name.endswith("Body")]
    assert "RunBody" in bodies
    for name in bodies:
        form = schemas[f"{name.removesuffix('Body')}Form"]
        assert form["properties"].keys() == schemas[name]["properties"].keys()
        assert {"type": "null"} not in list(inside(form["properties"]))
    assert schemas["RunForm"]["properties"]["metadata"]["contentSchema"] == {"type": "object"}


def test_form_of_a_body_with_a_choice() -> None:
    choice = {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}], "default": None}
    form = form_of({"title": "ABody", "properties": {"a": choice}, "examples": [{"a": {"b": 1}}]})
    assert form["title"] == "AForm"
    assert form["properties"] == {"a": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}
    assert form["examples"] == [{"a": '{"b":1}'}]


def test_links_lead_on(document: dict[str, Any]) -> None:
    def targets(name: str, status: str = "200") -> set[str]:
        links = operations(document)[name]["responses"][status]["links"].values()
        return {resolve(document, link)["operationId"] for link in links}

    for accepted in (targets("run_agent"), targets("run_agent", "202")):
        assert {"get_run", "list_run_hooks", "cancel_run", "get_session", "list_deliveries"} <= accepted
    assert {"get_delivery", "redrive_delivery", "discard_delivery", "get_run"} <= targets("list_deliveries")
    assert {"get_session", "list_session_runs"} <= targets("list_sessions")
    for name, operation in operations(document).items():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                target = operations(document)[resolve(document, link)["operationId"]]
                parameters = {parameter["name"] for parameter in target["parameters"]}
                assert resolve(document, link)["parameters"].keys() <= parameters, name


def test_open_server_asks_for_nothing(document: dict[str, Any]) -> None:
    assert "securitySchemes" not in document["components"]
    assert not any(
        "security" in operation or "401" in operation["responses"] for operation in operations(document).values()
    )


def test_closed_server_tells_how_to_get_in(serve: Serve) -> None:
    client = serve(api_keys=["a-key"])
    closed = client.get("/openapi.json", headers={"authorization": "Bearer a-key"}).json()
    validate(closed)
    assert closed["components"]["securitySchemes"] == {"bearer": {"type": "http", "scheme": "bearer"}}
    for name, operation in operations(closed).items():
        is_open = name in ("get_health", "get_readiness")
        assert operation.get("security") == (None if is_open else [{"bearer": []}]), name
        assert ("401" in operation["responses"]) is not is_open
    responses = operations(closed)["redrive_delivery"]["responses"]
    assert responses["403"]["content"]["application/problem+json"]["examples"].keys() == {"forbidden", "foreign-origin"}
    assert "403" not in operations(closed)["list_sessions"]["responses"]
    assert responses["401"]["headers"].keys() == {"WWW-Authenticate"}


def roll_die() -> int:
    """Roll a die."""
    return 4


def fail_die() -> int:
    """Fail a die."""
    raise ValueError("it fell off the table")


@hook(run_in_background=True)
def later() -> None: ...


def raises() -> None:
    raise RuntimeError("no")


def test_events_are_what_their_schema_says(serve: Serve) -> None:
    client = serve(DemoModel(delay=0), tools=[roll_die, fail_die], pre_hooks=[raises], post_hooks=[later])
    schema = {"$ref": "#/components/schemas/RunEvent"}
    document = client.get("/openapi.json").json()
    events = client.stream_agent("roll a die, and fail a die")
    for event in events:
        check(document, schema, event)
        RunEvent.model_validate(event)
    assert {event["event"] for event in events} >= {
        "RunStarted", "PreHookStarted", "PreHookFailed", "ToolCallStarted", "ToolCallCompleted", "ToolCallFailed",
        "RunContent", "HookScheduled", "RunCompleted",
    }  # fmt: skip
    failed = serve(ScriptedModel()).stream_agent()
    check(document, schema, failed[-1])


@given(st.text(st.sampled_from(" \t\n\x00\x1c\x1f\x85\xa0\u1680\u180e\u2028\u3000\ufeff\u200ba\x7f"), max_size=3))
def test_schema_takes_the_same_texts_as_the_server(text: str) -> None:
    pattern = RunBody.model_json_schema()["properties"]["message"]["pattern"]
    try:
        read_text(text, True)
    except ValueError:
        is_taken = False
    else:
        is_taken = True
    assert bool(re.search(pattern, text)) is is_taken, "as Python reads the pattern"
    assert TypeAdapter(NotBlank).validator.isinstance_python(text) is is_taken, "as others do"
