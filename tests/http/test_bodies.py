"""Any bytes at all: a body is either understood or refused, never an error of ours."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hookline.jsontext import dumps
from hookline_fastapi.body import Body, decode_json, read_body
from hookline_fastapi.fields import read_fields
from hookline_fastapi.problems import Problem
from hookline_fastapi.run_endpoint import run_fields

FIELDS = run_fields(256)
TYPES = st.sampled_from(
    [
        b"application/x-www-form-urlencoded",
        b"application/json",
        b"multipart/form-data; boundary=B",
        b"multipart/form-data",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def read(content_type: bytes, data: bytes) -> dict[str, Any]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    scope = {"type": "http", "headers": [(b"content-type", content_type)]}
    return read_fields(asyncio.run(read_body(scope, receive, 100_000)), FIELDS)


def accept_or_refuse(content_type: bytes, data: bytes) -> None:
    refusal = None
    values: dict[str, Any] = {"message": "refused"}
    try:
        values = read(content_type, data)
    except Problem as problem:
        refusal = problem
    assert refusal is None or (refusal.kind.status in (413, 415, 422) and refusal.response().body)
    assert dumps(values).encode()
    assert values["message"].strip()


@given(TYPES | st.binary(max_size=30), st.binary(max_size=300))
@example(b"multipart/form-data; boundary=B", b"--B\r\nContent-Disposition: form-data; name=message\r\n\r\na\r\n--B--")
@example(b"multipart/form-data; boundary=" + b"B" * 5000, b"--B")
@example(b"application/json", b"\xef\xbb\xbf{}")
def test_any_bytes(content_type: bytes, data: bytes) -> None:
    accept_or_refuse(content_type, data)


@given(st.dictionaries(st.sampled_from([*FIELDS, "other"]), VALUES))
def test_any_json_object(value: dict[str, Any]) -> None:
    accept_or_refuse(b"application/json", json.dumps(value).encode())


@given(st.lists(st.tuples(st.sampled_from([*FIELDS, "other"]), st.text()), max_size=4))
def test_any_multipart(pairs: list[tuple[str, str]]) -> None:
    parts = [f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in pairs]
    accept_or_refuse(b"multipart/form-data; boundary=B", ("".join(parts) + "--B--\r\n").encode())


@pytest.mark.parametrize("depth", [99, 100])
def test_depth_that_is_allowed(depth: int) -> None:
    assert decode_json("[" * depth + "]" * depth)


@pytest.mark.parametrize(
    "text", ["[" * 101 + "]" * 101, "[" * 100_000, "NaN", "1e400", "-Infinity", '{"a":{"b":1,"b":1}}']
)
def test_json_that_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_json(text)


def test_body_without_fields() -> None:
    assert read_fields(Body(), {}) == {}
