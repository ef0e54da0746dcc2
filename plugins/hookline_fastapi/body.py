"""Bodies: the bytes of a request, as fields with raw values.

A body is a form (urlencoded or multipart) or a JSON object. Nothing is ever guessed or dropped: a field given twice,
a file, a broken encoding are all said to the client.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from hookline_fastapi.problems import BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, FieldError, Problem, invalid, refused

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
JSON = "application/json"
UPLOAD = object()
"""Stands for an uploaded file, which no field takes."""

MAX_FIELDS = 50
MAX_DEPTH = 100
"""How deep JSON may be nested: what can be decoded here can be encoded anywhere."""


@dataclass(slots=True)
class Body:
    """The fields of a body.

    Attributes:
        values: by name; in a form every value is text, undecodable bytes in it are lone surrogates.
        is_json: whether values have JSON's types.
        errors: what is already known to be wrong.
    """

    values: dict[str, Any] = field(default_factory=dict)
    is_json: bool = False
    errors: list[FieldError] = field(default_factory=list)

    def add(self, name: str, value: Any) -> None:
        """Take a field of a form.

        Raises:
            Problem: there are more than `MAX_FIELDS`.
        """
        if name in self.values:
            self.errors.append(FieldError(name, "is given more than once"))
        elif len(self.values) >= MAX_FIELDS:
            raise _invalid_body(f"has more than {MAX_FIELDS} fields")
        else:
            self.values[name] = value


async def read_body(scope: Scope, receive: Receive, limit: int) -> Body:
    """Read a request's body and take it apart; an empty body has no fields.

    Args:
        scope: the ASGI scope.
        receive: its receive channel.
        limit: in bytes.

    Raises:
        Problem: 413 for more than `limit` bytes, 415 for what is neither a form nor JSON, 422 for broken ones.
        ClientDisconnect: the client left in the middle.
    """
    headers = dict(scope["headers"])
    data = await _read_bytes(headers, receive, limit)
    content_type = headers.get(b"content-type", b"")
    if not data and not content_type:
        return Body()
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise refused(UNSUPPORTED_MEDIA_TYPE, "content-encoding", "send the body without one")
    if content_type == b"application/x-www-form-urlencoded":
        return _read_form(data)
    return _read_by_type(content_type, data)


async def _read_bytes(headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes:
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    return await _join_chunks(message, receive, limit)


async def _join_chunks(message: Any, receive: Receive, limit: int) -> bytes:
    chunks = bytearray()
    while message["type"] == "http.request":
        chunks += message.get("body", b"")
        if len(chunks) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return bytes(chunks)
        message = await receive()
    raise ClientDisconnect


def _too_large(limit: int) -> Problem:
    return refused(BODY_TOO_LARGE, "body", f"has at most {limit} bytes here")


def _invalid_body(message: str) -> Problem:
    return invalid([FieldError("body", message)])


def _read_by_type(content_type: bytes, data: bytes) -> Body:
    raw_type, options = parse_options_header(content_type)
    media_type = raw_type.decode("latin-1").lower()
    charset = options.get(b"charset", b"utf-8").lower()
    if media_type not in (FORM, MULTIPART, JSON) or charset not in (b"utf-8", b"utf8"):
        raise refused(UNSUPPORTED_MEDIA_TYPE, "content-type", f"send {FORM}, {MULTIPART} or {JSON}, in UTF-8")
    if media_type == FORM:
        return _read_form(data)
    if media_type == JSON:
        return _read_json(data)
    return _read_multipart(data, options.get(b"boundary"))


def _read_form(data: bytes) -> Body:
    body = Body()
    text = data.decode("utf-8", "surrogateescape")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise _invalid_body(f"has more than {MAX_FIELDS} fields") from None
    for name, value in pairs:
        body.add(name, value)
    return body


def _read_multipart(data: bytes, boundary: bytes | None) -> Body:
    body = Body()
    ends: list[bool] = []

    def on_field(part: Field) -> None:
        body.add(_text(part.field_name), _text(part.value))

    def on_file(part: File) -> None:
        part.close()
        body.add(_text(part.field_name), UPLOAD)

    try:
        # Files stay in memory: together they are no larger than the body.
        config = {"MAX_MEMORY_FILE_SIZE": len(data) + 1, "UPLOAD_ERROR_ON_BAD_CTE": True}
        parser = FormParser(MULTIPART, on_field, on_file, lambda: ends.append(True), boundary, config=config)
        parser.write(data)
        parser.finalize()
    except FormParserError as error:
        raise _invalid_body(f"is not valid multipart/form-data: {error}") from None
    if not ends:
        raise _invalid_body("is not valid multipart/form-data: its last boundary is missing")
    return body


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "surrogateescape")


def _read_json(data: bytes) -> Body:
    try:
        value = decode_json(data.decode("utf-8"))
    except ValueError as error:
        raise _invalid_body(f"is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise _invalid_body("must be a JSON object")
    if len(value) > MAX_FIELDS:
        raise _invalid_body(f"has more than {MAX_FIELDS} fields")
    return Body(value, is_json=True)


def decode_json(text: str) -> Any:
    """Decode JSON as RFC 8259 has it: no NaN, no infinity, no name twice in an object, not too deep.

    Raises:
        ValueError: it is something else; the message says what.
    """
    try:
        value = _decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise ValueError(_TOO_DEEP)
    return value


_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in inner for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} is given more than once")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large for a number")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_constant).decode
