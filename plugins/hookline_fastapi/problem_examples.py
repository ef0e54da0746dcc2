"""Examples of problems for the OpenAPI document, by their kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hookline_fastapi import examples, problems
from hookline_fastapi.problems import FieldError, Problem, ProblemType, invalid, not_found, refused

_SPEAKING = (
    invalid([FieldError("message", "is required")]),
    not_found("run", examples.RUN_ID),
    refused(problems.BODY_TOO_LARGE, "body", "has at most 1048576 bytes here"),
    refused(problems.UNSUPPORTED_MEDIA_TYPE, "content-encoding", "send the body without one"),
    refused(problems.TOO_MANY_HEADERS, "headers", "there may be at most 200"),
    Problem(problems.UNAUTHENTICATED, "show who you are: Authorization: Bearer ..."),
    Problem(problems.FORBIDDEN, "this needs the scope 'admin'"),
    Problem(problems.AUTHENTICATION_UNAVAILABLE, "nobody can be let in now; the server's log tells more"),
    Problem(problems.RUN_REJECTED, "the hook 'check_input' rejected the run", **examples.REJECTED_BY),
    Problem(problems.RUN_FAILED, "the guardrail 'check_input' failed", run_id=examples.RUN_ID),
    Problem(problems.MODEL_ERROR, "the provider did not answer in time", run_id=examples.RUN_ID),
    Problem(problems.RUN_CANCELLED, "the run was cancelled before it ended", run_id=examples.RUN_ID),
    Problem(problems.RUN_FINISHED, "the run has ended, or is just being stored", run_id=examples.RUN_ID),
    Problem(problems.SESSION_BUSY, "another run holds the session"),
    Problem(problems.DELIVERY_STATUS, "only a dead or parked delivery can be redriven", run_id=examples.RUN_ID),
    Problem(problems.SERVER_BUSY, "the server has as many runs as it takes: try again later"),
    Problem(problems.SHUTTING_DOWN, "the server is shutting down"),
    Problem(problems.STORAGE_UNAVAILABLE, "the database could not be used; what was asked for is not stored"),
    Problem(problems.NOT_READY, "the database cannot be written", reasons=["the database cannot be written"]),
    Problem(problems.INTERNAL_ERROR, "the server's log tells more"),
)
_BY_KIND = {problem.kind: problem for problem in _SPEAKING}


def _example_of(kind: ProblemType) -> dict[str, Any]:
    problem = _BY_KIND.get(kind) or Problem(kind, kind.title[0].lower() + kind.title[1:])
    return {"summary": kind.title, "value": problem.to_dict()}


EXAMPLES = {kind.name: _example_of(kind) for kind in vars(problems).values() if isinstance(kind, ProblemType)}
"""One of each kind of problem, for the `examples` among an OpenAPI document's components."""


def named_examples(kinds: Sequence[ProblemType]) -> dict[str, Any]:
    """The `examples` of a media type: one of each kind."""
    return {kind.name: {"$ref": f"#/components/examples/{kind.name}"} for kind in kinds}
