"""What a run's body may say, and how everything else is refused."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from http_server import Served, problem

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def post(client: Served, content: bytes | str, content_type: str | None = FORM) -> httpx2.Response:
    headers = {"content-type": content_type} if content_type else {}
    return client.post("/agents/demo/runs", content=content, headers=headers)


def multipart(*parts: tuple[str, bytes]) -> bytes:
    lines = [b"--B\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data for head, data in parts]
    return b"\r\n".join(lines) + b"\r\n--B--\r\n"


def wrong_fields(response: httpx2.Response) -> list[str]:
    body = problem(response, 422, "invalid-request")
    assert "run_id" not in body
    return sorted(error["field"] for error in body["errors"])


def test_all_fields_of_a_form(client: Served) -> None:
    run = client.run_agent(
        session_id="s-1", user_id="u@x.org", stream="false", background="false",
        metadata='{"a": [1, {"b": null}]}', session_state='{"n": 1}', dependencies='{"d": "e"}',
    )  # fmt: skip
    assert run.status_code == 200
    assert run.json()["session_id"] == "s-1"
    assert run.json()["user_id"] == "u@x.org"
    assert run.json()["metadata"] == {"a": [1, {"b": None}]}
    assert client.get("/sessions/s-1").json()["session_state"] == {"n": 1}


def test_all_fields_of_json(client: Served) -> None:
    body = {
        "message": "héllo 🎲", "session_id": "s-2", "user_id": None, "stream": False, "background": False,
        "metadata": {"a": "ü"}, "session_state": {"n": 2}, "dependencies": {},
    }  # fmt: skip
    run = client.post("/agents/demo/runs", json=body).json()
    assert run["metadata"] == {"a": "ü"}
    assert run["messages"][0]["content"] == "héllo 🎲"
    assert run["user_id"] is None


def test_multipart(client: Served) -> None:
    files = {"message": (None, "hé"), "stream": (None, "false"), "metadata": (None, '{"a": 1}')}
    run = client.post("/agents/demo/runs", files=files)
    assert run.status_code == 200
    assert run.json()["messages"][0]["content"] == "hé"
    assert run.json()["metadata"] == {"a": 1}


def test_raw_utf8_in_a_form_as_curl_sends_it(client: Served) -> None:
    run = post(client, "message=héllo+there".encode(), f"{FORM}; charset=UTF-8")
    assert run.json()["messages"][0]["content"] == "héllo there"


@pytest.mark.parametrize("word", ["true", "True", "1"])
def test_words_for_true(client: Served, word: str) -> None:
    assert client.run_agent(background=word).status_code == 202


FORMS: list[tuple[str | bytes, list[str]]] = [
    ("", ["message"]),
    ("stream=false", ["message"]),
    ("message=", ["message"]),
    ("message=+%09%0A", ["message"]),
    ("message", ["message"]),
    ("message=a&message=b", ["message"]),
    ("message=a&color=red", ["color"]),
    ("message=a&run_context=x&color=red", ["color", "run_context"]),
    ("message=a&stream=banana", ["stream"]),
    ("message=a&stream=", ["stream"]),
    ("message=a&stream=true&background=true", ["background", "stream"]),
    ("message=a&metadata={", ["metadata"]),
    ("message=a&metadata=[1]", ["metadata"]),
    ("message=a&metadata=NaN", ["metadata"]),
    ('message=a&metadata={"a":NaN}', ["metadata"]),
    ('message=a&metadata={"a":1e999}', ["metadata"]),
    ('message=a&metadata={"a":1,"a":2}', ["metadata"]),
    ('message=a&metadata={"a":"\\u0000"}', ["metadata"]),
    ('message=a&metadata={"a":["\\ud800"]}', ["metadata"]),
    ('message=a&metadata={"\\ud800":1}', ["metadata"]),
    ("message=a&session_state=1&dependencies=null", ["dependencies", "session_state"]),
    ("message=a&session_id=", ["session_id"]),
    ("message=a&session_id=a/b", ["session_id"]),
    ("message=a&session_id=a%5Cb", ["session_id"]),
    ("message=a&session_id=..", ["session_id"]),
    ("message=a&session_id=a%00b", ["session_id"]),
    ("message=a&session_id=a%0Ab", ["session_id"]),
    ("message=a&session_id=a%0A", ["session_id"]),
    (f"message=a&user_id={'u' * 257}", ["user_id"]),
    ("message=a%00b", ["message"]),
    (b"message=a%FFb", ["message"]),
    (b"message=a\xffb", ["message"]),
    ("message=%ED%A0%80", ["message"]),
    (b"message=a&met\xffadata={}", ["met\\udcffadata"]),
    ("&".join(f"a{n}=1" for n in range(60)), ["body"]),
    ("message=a&metadata=" + '{"a":' * 150 + "1" + "}" * 150, ["metadata"]),
    ("message=a&metadata=" + '{"a":' + "[" * 5000 + "]" * 5000 + "}", ["metadata"]),
]


OBJECTS = ("metadata", "session_state", "dependencies")
IDS = ("session_id", "user_id")
FORMS += [
    (f"message=a&{name}={text}", [name]) for name in OBJECTS for text in ("", "{", "[1]", "1", '"a"', "null", "NaN")
]
FORMS += [(f"message=a&{name}={{}}&{name}={{}}", [name]) for name in OBJECTS]
FORMS += [(f"message=a&{name}=%FF", [name]) for name in (*OBJECTS, *IDS, "stream", "background")]
FORMS += [
    (f"message=a&{name}={text}", [name])
    for name in IDS
    for text in (
        "",
        "+",
        "..",
        ".",
        "a/b",
        "a%5Cb",
        "a%00b",
        "a%0Ab",
        "a%0D",
        "a%1Bb",
        "a%7F",
        "%E2%80%AE",
        "a+b",
        "a" * 257,
    )
]
FORMS += [
    (f"message=a&{name}={word}", [name]) for name in ("stream", "background") for word in ("", "banana", "2", "null")
]
FORMS += [("message=&stream=true", ["message"]), ("message=a&stream=true&metadata={", ["metadata"])]
FORMS += [("message=&background=true", ["message"]), ("message=a&background=true&user_id=a/b", ["user_id"])]


@pytest.mark.parametrize(("body", "fields"), FORMS)
def test_forms_that_are_refused(refusing: Served, body: str | bytes, fields: list[str]) -> None:
    assert wrong_fields(post(refusing, body)) == fields


JSONS: list[tuple[Any, list[str]]] = [
    ("{", ["body"]),
    ("[]", ["body"]),
    ("null", ["body"]),
    (b'{"message": "\xff"}', ["body"]),
    ('{"message": "a", "message": "b"}', ["body"]),
    ('{"message": "a", "metadata": {"a": 1, "a": 2}}', ["body"]),
    ('{"message": "a", "metadata": {"a": Infinity}}', ["body"]),
    ('{"message": "a", "metadata": {"a": 1' + "0" * 5000 + "}}", ["body"]),
    ('{"message": "\\ud800"}', ["message"]),
    ('{"message": "\\u0000"}', ["message"]),
    ('{"message": "a", "metadata": {"b": "\\udfff"}}', ["metadata"]),
    ("[" * 100_000, ["body"]),
    ({"message": None}, ["message"]),
    ({"message": 1}, ["message"]),
    ({"message": ["a"]}, ["message"]),
    ({}, ["message"]),
    ({"message": "a", "stream": "true"}, ["stream"]),
    ({"message": "a", "stream": 1}, ["stream"]),
    ({"message": "a", "session_id": 5}, ["session_id"]),
    ({"message": "a", "metadata": "{}"}, ["metadata"]),
    ({"message": "a", "x\x00": 1}, ["x\x00"]),
]


NO_TEXTS: list[Any] = ["", " ", "\n\t\u2003", "\x1c\x1f", "\x85\u2028", "\ufeff ", False, {}, 1.5]
NO_OBJECTS: list[Any] = ["{}", [], [{}], 1, True, ""]
NO_IDS: list[Any] = ["", "a/b", "a\x00", "\ud800", "a" * 257, 1, []]
NO_BOOLEANS: list[Any] = ["yes", 0, 1, [], {}]
JSONS += [({"message": text}, ["message"]) for text in NO_TEXTS]
JSONS += [({"message": "a", name: value}, [name]) for name in OBJECTS for value in NO_OBJECTS]
JSONS += [({"message": "a", name: {"b": [{"c\x00": 1}]}}, [name]) for name in OBJECTS]
JSONS += [({"message": "a", name: value}, [name]) for name in IDS for value in NO_IDS]
JSONS += [({"message": "a", name: value}, [name]) for name in ("stream", "background") for value in NO_BOOLEANS]
JSONS += [
    ({"message": "a", "color": "red"}, ["color"]),
    ({"message": "a", "stream": True, "background": True}, ["background", "stream"]),
    ({"message": "", "metadata": 1, "user_id": "a b", "color": None}, ["color", "message", "metadata", "user_id"]),
    ('{"message": "a", "metadata": ' + '{"a":' * 101 + "1" + "}" * 102, ["body"]),
]


@pytest.mark.parametrize(("body", "fields"), JSONS)
def test_json_that_is_refused(refusing: Served, body: Any, fields: list[str]) -> None:
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    assert wrong_fields(post(refusing, content, JSON)) == fields


MULTIPARTS: list[tuple[bytes, list[str]]] = [
    (multipart(('name="message"; filename="a.txt"', b"hello")), ["message"]),
    (multipart(('name="message"', b"a"), ('name="message"', b"b")), ["message"]),
    (multipart(('name="message"', b"a"), ('name="picture"; filename="a.png"', b"b")), ["picture"]),
    (multipart(('name="message"', b"\xff")), ["message"]),
    (multipart(("filename=a", b"a")), ["body"]),
    (multipart(('name="message"', b"a"))[:-5], ["body"]),
    (b"nothing of the kind", ["body"]),
    (multipart(*[(f'name="f{n}"', b"a") for n in range(60)]), ["body"]),
]


MULTIPARTS += [
    (multipart(('name="stream"', b"false")), ["message"]),
    (multipart(('name="message"', b"")), ["message"]),
    (multipart(('name="message"', b" \r\n ")), ["message"]),
    (multipart(('name="message"', b"a\x00")), ["message"]),
    (multipart(('name="message"', b"a"), ('name="color"', b"red")), ["color"]),
    (multipart(('name="message"', b"a"), ('name="stream"', b"banana")), ["stream"]),
    (multipart(('name="message"', b"a"), ('name="session_id"', b"a\nb")), ["session_id"]),
    (multipart(('name="message"\r\nContent-Transfer-Encoding: nonsense', b"a")), ["body"]),
    (multipart(("", b"a")), ["body"]),
]
MULTIPARTS += [
    (multipart(('name="message"', b"a"), (f'name="{name}"; filename="f"', b"{}")), [name])
    for name in (*OBJECTS, *IDS, "stream", "background")
]
MULTIPARTS += [
    (multipart(('name="message"', b"a"), (f'name="{name}"', text)), [name])
    for name in OBJECTS
    for text in (b"{", b"[1]", b"")
]


@pytest.mark.parametrize(("body", "fields"), MULTIPARTS)
def test_multipart_that_is_refused(refusing: Served, body: bytes, fields: list[str]) -> None:
    assert wrong_fields(post(refusing, body, "multipart/form-data; boundary=B")) == fields


def test_multipart_without_a_boundary(refusing: Served) -> None:
    assert wrong_fields(post(refusing, multipart(('name="message"', b"a")), "multipart/form-data")) == ["body"]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/xml", f"{FORM}; charset=latin-1", "application/json; charset=utf-16", None],
)
def test_media_types_that_are_refused(refusing: Served, content_type: str | None) -> None:
    body = problem(post(refusing, "message=a", content_type), 415, "unsupported-media-type")
    assert [error["field"] for error in body["errors"]] == ["content-type"]


def test_content_encoding_is_refused(refusing: Served) -> None:
    headers = {"content-type": FORM, "content-encoding": "gzip"}
    problem(refusing.post("/agents/demo/runs", content=b"message=a", headers=headers), 415, "unsupported-media-type")


def test_no_body_at_all_lacks_the_message(refusing: Served) -> None:
    assert wrong_fields(refusing.post("/agents/demo/runs")) == ["message"]


def test_fields_in_the_query_string_are_refused(refusing: Served) -> None:
    response = refusing.post("/agents/demo/runs", params={"stream": "true"}, data={"message": "a"})
    assert wrong_fields(response) == ["query"]
