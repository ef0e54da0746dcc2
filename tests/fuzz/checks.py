"""What schemathesis checks beside its own, and which of its findings are rules that a schema cannot tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

OBJECTS = {"metadata", "session_state", "dependencies"}

BOOLEANS = {"stream", "background", "dry_run"}

# Fields, with what the server says about a value that the schema allows.
RULES = (
    ({"cursor"}, "is not a cursor of this listing"),
    ({"stream", "background"}, "stream and background exclude each other"),
    (OBJECTS, "must not hold a NUL character"),
    ({"body"}, "must say which deliveries"),
    ({"hook"}, "there is no .*|.* only background hooks can be replayed|.* is a guardrail"),
    ({"runnable"}, "there is no agent"),
    ({"since"}, "since .* is not before"),
)
FORM_RULES = ((OBJECTS, "must be a JSON object|must not be blank"),)


@schemathesis.check
def problem_is_well_formed(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Whatever is refused is a problem of that status, and names what was wrong."""
    if response.status_code < 400:
        return
    assert response.headers["content-type"] == ["application/problem+json"]
    body: dict[str, Any] = response.json()
    assert body["type"].startswith("/problems/")
    assert body["status"] == response.status_code
    if body["type"] in ("/problems/invalid-request", "/problems/unsupported-media-type", "/problems/not-found"):
        assert body["errors"] or "path" not in body, "a refused request names no field"


@schemathesis.check
def server_error_is_the_models(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """The served app can answer no other server error than that its model failed."""
    if response.status_code >= 500:
        assert response.json()["type"] == "/problems/model-error"


@schemathesis.check
def browsers_are_told(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Every answer has the security headers."""
    assert response.headers["x-content-type-options"] == ["nosniff"]
    assert response.headers["cache-control"] == ["no-store"]


@schemathesis.hook
def map_body(context: HookContext, body: object) -> object:
    """Make JSON texts of the texts in the fields that take such in a form: schemathesis makes any text."""
    if not isinstance(body, dict):
        return body
    if body.get("background") is False and len(str(body.get("message"))) % 2:
        body = {**body, "background": True}  # it is seldom asked for otherwise
    texts = {name: value for name, value in body.items() if name in OBJECTS and isinstance(value, str)}
    return {**body, **{name: json.dumps({"text": text}) for name, text in texts.items()}}


@schemathesis.hook
def filter_failure(context: HookContext, failure: Exception, case: Case[Any], response: Response) -> bool:
    """Keep a failure unless the server followed a documented rule that no schema can tell."""
    name, in_form = type(failure).__name__, case.media_type != "application/json"
    if name == "RejectedPositiveData":
        body = response.json()
        rules = (*RULES, *FORM_RULES) if in_form else RULES
        rejected = body["type"] == "/problems/run-rejected"
        return not (rejected or all(_is_rule(rules, **error) for error in body["errors"]))
    return not (name == "AcceptedNegativeData" and in_form and _has_digit_for_boolean(case.body))


def _is_rule(rules: Iterable[tuple[set[str], str]], field: str, message: str) -> bool:
    return any(field in fields and re.match(said, message) for fields, said in rules)


def _has_digit_for_boolean(body: object) -> bool:
    """Whether a form says 1 for true or 0 for false, as people with curl do."""
    return isinstance(body, dict) and any(str(body.get(name)) in ("0", "1") for name in BOOLEANS)
