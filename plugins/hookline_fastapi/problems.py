"""Problems: every error that a client can get, as RFC 9457 `application/problem+json`.

The `type` of a problem is a stable word that programs can branch on; the list of all of them is in this file.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hookline import (
    ConfigurationError,
    HooklineError,
    LiveRun,
    RunStatus,
    ServerBusyError,
    SessionBusyError,
    SessionNotFoundError,
    StorageError,
)
from hookline.jsontext import dumps
from hookline_fastapi.responses import ProblemText

logger = logging.getLogger("hookline.http")


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem: `/problems/{name}`, the HTTP status it goes with, and its title."""

    name: str
    status: int
    title: str

    @property
    def uri(self) -> str:
        """The URI reference that names this kind."""
        return f"/problems/{self.name}"


INVALID_REQUEST = ProblemType("invalid-request", 422, "The request is not valid")
NOT_FOUND = ProblemType("not-found", 404, "There is no such thing here")
UNAUTHENTICATED = ProblemType("unauthenticated", 401, "Nobody is known by what the request shows")
FORBIDDEN = ProblemType("forbidden", 403, "This is for others")
FOREIGN_HOST = ProblemType("foreign-host", 403, "The server is not known by this name")
FOREIGN_ORIGIN = ProblemType("foreign-origin", 403, "Pages of this origin may not do this")
METHOD_NOT_ALLOWED = ProblemType("method-not-allowed", 405, "This resource has no such method")
BODY_TOO_LARGE = ProblemType("body-too-large", 413, "The body is too large")
UNSUPPORTED_MEDIA_TYPE = ProblemType("unsupported-media-type", 415, "The body's media type is not supported")
TOO_MANY_HEADERS = ProblemType("too-many-headers", 431, "The request has too many or too large headers")
MALFORMED = ProblemType("malformed-request", 400, "The request is not valid HTTP")
RUN_REJECTED = ProblemType("run-rejected", 422, "A check rejected the run")
RUN_FAILED = ProblemType("run-failed", 500, "The run failed")
MODEL_ERROR = ProblemType("model-error", 502, "The model could not answer")
RUN_CANCELLED = ProblemType("run-cancelled", 409, "The run was cancelled")
RUN_FINISHED = ProblemType("run-finished", 409, "The run has already ended")
RUN_ELSEWHERE = ProblemType("run-elsewhere", 409, "The run belongs to another server")
SESSION_BUSY = ProblemType("session-busy", 409, "Another run holds the session")
DELIVERY_STATUS = ProblemType("delivery-status", 409, "The delivery's status does not allow this")
REPLAY_STATUS = ProblemType("replay-status", 409, "The replay's status does not allow this")
SERVER_BUSY = ProblemType("server-busy", 429, "The server takes no further run now")
SHUTTING_DOWN = ProblemType("shutting-down", 503, "The server is shutting down")
STORAGE_UNAVAILABLE = ProblemType("storage-unavailable", 503, "The database could not be used")
AUTHENTICATION_UNAVAILABLE = ProblemType("authentication-unavailable", 503, "Nobody could be asked who you are")
NOT_READY = ProblemType("not-ready", 503, "The server is not ready")
NOT_STARTED = ProblemType("lifespan-not-run", 500, "The app's lifespan did not run")
INTERNAL_ERROR = ProblemType("internal-error", 500, "Something in the server broke")

_BY_STATUS = {kind.status: kind for kind in (NOT_FOUND, METHOD_NOT_ALLOWED, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)}


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field, query parameter, or the body as a whole (`body`)."""

    field: str
    message: str

    def to_dict(self) -> dict[str, str]:
        """The plain data of this error."""
        return {"field": self.field, "message": self.message}


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An answer that is a problem; raise it anywhere under a route.

    Args:
        kind: one of the types of this module.
        detail: what happened this time, and what helps.
        errors: the single fields that are wrong.
        headers: further headers of the response.
        extra: further members of the body.
    """

    def __init__(
        self,
        kind: ProblemType,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = headers
        self.extra = extra

    def to_dict(self) -> dict[str, Any]:
        """The plain data of this problem."""
        return {
            "type": self.kind.uri,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "errors": [error.to_dict() for error in self.errors],
            **self.extra,
        }

    def response(self) -> Response:
        """The HTTP response that says it."""
        return ProblemText(dumps(self.to_dict()), self.kind.status, self.headers)


REPORTED = (Problem, HooklineError, RequestValidationError, HTTPException)
"""The exceptions that `problem_of` knows."""


def invalid(errors: Sequence[FieldError]) -> Problem:
    """The problem of a request with wrong fields."""
    return Problem(INVALID_REQUEST, "; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)


def refused(kind: ProblemType, field: str, message: str, *, headers: Mapping[str, str] | None = None) -> Problem:
    """The problem of one thing about a request that is wrong: a header, the method, the body as a whole."""
    return Problem(kind, f"{field}: {message}", errors=[FieldError(field, message)], headers=headers)


def not_found(what: str, identifier: str) -> Problem:
    """The problem of an id that nothing here has; `what` is a word such as `run`."""
    detail = f"there is no {what} {identifier!r}"
    return Problem(NOT_FOUND, detail, errors=[FieldError(f"{what}_id", "nothing here has this id")])


def problem_of(error: Exception, *, run_id: str | None = None) -> Problem:
    """The problem that an exception means for a client; `run_id` is that of a stored run."""
    if isinstance(error, Problem):
        return error
    make = next((make for kind, make in _MAKERS if isinstance(error, kind)), None)
    problem = make(error) if make else _internal_error()
    if run_id is not None:
        problem.extra["run_id"] = run_id
    return problem


def problem_of_run(run: LiveRun) -> Problem | None:
    """The problem that a finished run's outcome means for who waited for its answer; None for a completed run."""
    output = run.output
    if output.status is RunStatus.COMPLETED:
        return None
    if output.status is RunStatus.CANCELLED:
        return Problem(RUN_CANCELLED, "the run was cancelled before it ended", run_id=run.run_id)
    if output.status is RunStatus.REJECTED and run.rejection is not None:
        hook, trigger = run.rejection.hook, run.rejection.check_trigger
        detail = f"the hook {hook!r} rejected the run"
        return Problem(RUN_REJECTED, detail, run_id=run.run_id, hook=hook, check_trigger=trigger)
    kind = _KIND_OF_FAILURE.get(output.reason or "", RUN_FAILED)
    detail = output.error.message if output.error else f"the run is {output.status}"
    return Problem(kind, detail, run_id=run.run_id)


_KIND_OF_FAILURE = {"model_error": MODEL_ERROR, "session_busy": SESSION_BUSY}


def _internal_error() -> Problem:
    # The framework raises the exception on, and the server then closes the connection: say so.
    return Problem(INTERNAL_ERROR, "the server's log tells more", headers={"connection": "close"})


def _server_busy(error: ServerBusyError) -> Problem:
    if error.retry_after is None:
        return Problem(SHUTTING_DOWN, str(error))
    return Problem(SERVER_BUSY, str(error), headers={"retry-after": str(max(1, math.ceil(error.retry_after)))})


def _storage_unavailable(error: StorageError) -> Problem:
    logger.error("storage error: %s", error)  # it may name what only operators should read
    return Problem(STORAGE_UNAVAILABLE, "the database could not be used; what was asked for is not stored")


def _invalid_parameters(error: RequestValidationError) -> Problem:
    return invalid([_field_error(item) for item in error.errors()])


def _field_error(item: Mapping[str, Any]) -> FieldError:
    field = ".".join(str(part) for part in item["loc"][1:]) or "body"
    message = "unknown query parameter" if item["type"] == "extra_forbidden" else str(item["msg"])
    return FieldError(field, message)


def _no_such_session(error: SessionNotFoundError) -> Problem:
    return Problem(NOT_FOUND, str(error), errors=[FieldError("session_id", "nothing here has this id")])


def _problem_of_status(error: HTTPException) -> Problem:
    phrase = HTTPStatus(error.status_code).phrase
    if error.status_code == NOT_FOUND.status and error.detail == phrase:
        return refused(NOT_FOUND, "path", "there is nothing here", headers=error.headers)
    kind = _BY_STATUS.get(error.status_code) or ProblemType(phrase.lower().replace(" ", "-"), error.status_code, phrase)
    detail = kind.title.lower() if error.detail == phrase else str(error.detail)
    return Problem(kind, detail, headers=error.headers)


_MAKERS: tuple[tuple[type[Exception], Callable[[Any], Problem]], ...] = (
    (ServerBusyError, _server_busy),
    (SessionNotFoundError, _no_such_session),
    (SessionBusyError, lambda error: Problem(SESSION_BUSY, str(error))),
    (StorageError, _storage_unavailable),
    (ConfigurationError, lambda error: Problem(NOT_STARTED, str(error))),
    (RequestValidationError, _invalid_parameters),
    (HTTPException, _problem_of_status),
)
