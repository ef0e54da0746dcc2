"""Bodies of all kinds: what a client means arrives as it is, in whatever portions; any bytes at all get an answer."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hookline import Agent, AgentOS, Settings
from hookline.testing import ScriptedModel
from hookline_fastapi import create_app
from hookline_fastapi.body import read_body
from hookline_fastapi.fields import read_fields
from hookline_fastapi.run_endpoint import run_fields
from hookline_sql import SqliteDb
from http_server import Served

FIELDS = run_fields(256)
FORM, JSON = "application/x-www-form-urlencoded", "application/json"

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
MESSAGE = TEXT.filter(str.strip)
ID = st.from_regex(r"[A-Za-z0-9_~:@+=|-][A-Za-z0-9._~:@+=|-]{0,20}", fullmatch=True)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
OBJECT = st.dictionaries(TEXT, VALUE, max_size=4)
RUN = st.fixed_dictionaries(
    {"message": MESSAGE},
    optional={
        "session_id": ID,
        "user_id": ID,
        "stream": st.booleans(),
        "background": st.booleans(),
        "metadata": OBJECT,
        "session_state": OBJECT,
        "dependencies": OBJECT,
    },
)
CUTS = st.lists(st.integers(0, 2000), max_size=8)


def portions(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return (data[start:end] for start, end in itertools.pairwise(bounds))


def read(content_type: str, data: bytes, cuts: list[int]) -> dict[str, Any]:
    """What the server makes of a body that comes in portions; without what was not given."""
    *first, last = portions(data, cuts)
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in first]
    messages.append({"type": "http.request", "body": last, "more_body": False})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    scope = {"type": "http", "headers": [(b"content-type", content_type.encode())]}
    values = read_fields(asyncio.run(read_body(scope, receive, 1_000_000)), FIELDS)
    return {name: value for name, value in values.items() if value is not None}


def as_texts(run: dict[str, Any]) -> dict[str, str]:
    """The values as a form has them."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in run.items()}


def multipart(fields: dict[str, str], boundary: str) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    ]
    return ("".join(parts) + f"--{boundary}--\r\n").encode()


@given(RUN, CUTS, st.booleans())
def test_json(run: dict[str, Any], cuts: list[int], ascii_only: bool) -> None:
    assert read(JSON, json.dumps(run, ensure_ascii=ascii_only).encode(), cuts) == run


@given(RUN, CUTS, st.sampled_from([quote, lambda text, *_args: quote(text, safe="")]))
def test_urlencoded(run: dict[str, Any], cuts: list[int], quoting: Any) -> None:
    assert read(FORM, urlencode(as_texts(run)).encode(), cuts) == run
    assert read(FORM, urlencode(as_texts(run), quote_via=quoting).encode(), cuts) == run


@given(RUN, CUTS, st.from_regex(r"[A-Za-z0-9'+_-]{30,60}", fullmatch=True))
def test_multipart(run: dict[str, Any], cuts: list[int], boundary: str) -> None:
    fields = as_texts(run)
    content_type = f'multipart/form-data; boundary="{boundary}"'
    assert read(content_type, multipart(fields, boundary), cuts) == run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that has been started once for all examples."""
    directory: Path = tmp_path_factory.mktemp("server")
    agent = Agent("demo", model=ScriptedModel("hello", repeat=True), db=SqliteDb(db_file=str(directory / "l.db")))
    agent_os = AgentOS(agents=[agent], settings=Settings(max_body_size=5000, shutdown_timeout=5))
    served = Served(agent_os, create_app(agent_os))
    yield served
    served.stop()


TYPES = st.sampled_from([FORM, JSON, "multipart/form-data; boundary=B", "multipart/form-data"]) | st.text(
    st.characters(min_codepoint=32, max_codepoint=126), max_size=40
).map(str.strip)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TYPES, st.binary(max_size=400), CUTS)
@example("multipart/form-data; boundary=B", b"--B\r\nContent-Disposition: form-data; name=message\r\n\r\n", [3, 30])
@example(FORM, b"%", [])
@example(JSON, b"[" * 4999, [])
@example(JSON, b"a" * 5001, [2000])
@example("multipart/form-data; boundary=B", b"--B\r\n" * 900, [1, 2, 3])
def test_any_bytes_over_http(server: Served, content_type: str, data: bytes, cuts: list[int]) -> None:
    bodies: tuple[Any, ...] = (data, portions(data, cuts))
    statuses = []
    for body in bodies:
        response = server.post("/agents/demo/runs", content=body, headers={"content-type": content_type})
        assert response.status_code in (200, 413, 415, 422), response.text
        if response.status_code != 200:
            check_problem(response)
        statuses.append(response.status_code)
    assert statuses[0] == statuses[1], "the portions make no difference"


def check_problem(response: httpx2.Response) -> None:
    assert response.headers["content-type"] == "application/problem+json"
    errors = response.json()["errors"]
    assert errors
    assert all(error["field"] and error["message"] for error in errors)
