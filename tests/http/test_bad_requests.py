"""Bad requests that are wrong around their fields: sizes, encodings, headers, methods, bytes that are no HTTP."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from http_server import Serve, Served, problem, untouched
from server_process import wait_until

RUNS = "/agents/demo/runs"
FORM = {"content-type": "application/x-www-form-urlencoded"}


def fields_of(body: dict[str, Any]) -> list[str]:
    return [error["field"] for error in body["errors"]]


def chunks(size: int) -> Iterator[bytes]:
    yield b"message="
    for _ in range(size // 1000):
        yield b"a" * 1000


def test_body_that_is_too_large(serve: Serve) -> None:
    client = serve(max_body_size=10_000)
    declared: dict[str, Any] = {"content": b"message=" + b"a" * 20_000}
    chunked: dict[str, Any] = {"content": chunks(20_000)}
    as_json: dict[str, Any] = {"content": json.dumps({"message": "a" * 20_000})}
    upload: dict[str, Any] = {"files": {"message": ("a.txt", b"a" * 20_000)}}
    in_json = {"content-type": "application/json"}
    for body, headers in ((declared, FORM), (chunked, FORM), (as_json, in_json), (upload, {})):
        with untouched(client):
            refusal = problem(client.post(RUNS, headers=headers, **body), 413, "body-too-large")
            assert fields_of(refusal) == ["body"]


def test_declared_size_is_refused_before_the_body_comes(serve: Serve) -> None:
    client = serve(max_body_size=1000)
    with untouched(client):
        response = exchange(
            client, b"POST /agents/demo/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n"
        )
        assert fields_of(problem(response, 413, "body-too-large")) == ["body"]


def test_compressed_body_is_never_unpacked(serve: Serve) -> None:
    client = serve(max_body_size=10_000)
    bomb = gzip.compress(b"message=" + b"a" * 5_000_000)
    assert len(bomb) < 10_000
    for encoding in ("gzip", "deflate", "br", "gzip, gzip", "GZIP"):
        with untouched(client):
            response = client.post(RUNS, content=bomb, headers={**FORM, "content-encoding": encoding})
            assert fields_of(problem(response, 415, "unsupported-media-type")) == ["content-encoding"]
    with untouched(client):
        large = gzip.compress(b"message=" + bytes(str(list(range(20_000))), "ascii"))
        response = client.post(RUNS, content=large, headers={**FORM, "content-encoding": "gzip"})
        assert fields_of(problem(response, 413, "body-too-large")) == ["body"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "application/json; charset=utf-16", "nonsense"]
)
def test_wrong_content_type(refusing: Served, content_type: str) -> None:
    response = refusing.post(RUNS, content=b"message=a", headers={"content-type": content_type})
    assert fields_of(problem(response, 415, "unsupported-media-type")) == ["content-type"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
def test_wrong_method(refusing: Served, method: str) -> None:
    response = refusing.request(method, RUNS, data={"message": "a"})
    assert fields_of(problem(response, 405, "method-not-allowed")) == ["method"]
    assert response.headers["allow"] == "POST"


OTHERS = ("POST /deliveries/x/discard", "POST /deliveries/x/redrive", "POST /runs/x/cancel")


@pytest.mark.parametrize("operation", OTHERS)
def test_bodies_of_other_operations(refusing: Served, operation: str) -> None:
    method, path = operation.split()
    field = "color" if "discard" not in path else "reason"
    wrong = {"color": "red"} if field == "color" else {"reason": " "}
    assert fields_of(problem(refusing.request(method, path, data=wrong), 422, "invalid-request")) == [field]
    assert fields_of(problem(refusing.request(method, path, json=wrong), 422, "invalid-request")) == [field]
    broken: dict[str, Any] = {"content": b"{", "headers": {"content-type": "application/json"}}
    assert fields_of(problem(refusing.request(method, path, **broken), 422, "invalid-request")) == ["body"]
    text: dict[str, Any] = {"content": b"a", "headers": {"content-type": "text/plain"}}
    assert fields_of(problem(refusing.request(method, path, **text), 415, "unsupported-media-type")) == ["content-type"]
    large: dict[str, Any] = {"content": b"a" * 1_100_000, "headers": FORM}
    assert fields_of(problem(refusing.request(method, path, **large), 413, "body-too-large")) == ["body"]


@pytest.mark.parametrize("agent", ["nobody", "%00", "a%0Ab", "a" * 5000, "..%5C..", "%FF"])
def test_unknown_agent(refusing: Served, agent: str) -> None:
    response = refusing.post(f"/agents/{agent}/runs", data={"message": "a"})
    assert fields_of(problem(response, 404, "not-found")) == ["agent_id"]


def test_path_separator_in_an_id_is_another_path(refusing: Served) -> None:
    refusal = problem(refusing.post("/agents/a%2Fb/runs", data={"message": "a"}), 404, "not-found")
    assert fields_of(refusal) == ["path"]


@pytest.mark.parametrize(("count", "size"), [(10_000, 1), (10_000, 30), (201, 1), (1, 500_000)])
def test_too_many_or_too_large_headers(refusing: Served, count: int, size: int) -> None:
    lines = b"".join(b"x%d: %s\r\n" % (number, b"v" * size) for number in range(count))
    head = b"POST /agents/demo/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    response = exchange(refusing, head + lines + b"Content-Length: 9\r\n\r\nmessage=a")
    assert fields_of(problem(response, 431, "too-many-headers")) == ["headers"]


def test_as_many_headers_as_any_client_sends(client: Served) -> None:
    assert client.get("/health", headers={f"x{number}": "v" for number in range(150)}).status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"POST /agents/demo/runs HTTP/1.1\r\n\r\n",
        b"POST /agents/demo/runs HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"POST /agents/demo/runs HTTP/1.1\r\nHost: x\r\nx: a\x00b\r\n\r\n",
        b"POST /agents/demo/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nContent-Length: 10\r\n\r\nmessage=a",
        b"POST /agents/demo/runs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /agents/demo/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ],
)
def test_bytes_that_are_no_http(refusing: Served, data: bytes) -> None:
    response = exchange(refusing, data)
    assert fields_of(problem(response, 400, "malformed-request")) == ["request"]
    assert response.headers["connection"] == "close"


def test_refused_connections_do_not_hold_up_the_shutdown(serve: Serve) -> None:
    client = serve()
    with socket.create_connection(client.address) as sender:
        sender.sendall(b"nonsense\r\n\r\n")
        assert sender.recv(65536).startswith(b"HTTP/1.1 400 ")
        wait_until(lambda: not client.thread.server.server_state.connections, what="the end of the connection")


def exchange(client: Served, data: bytes) -> httpx2.Response:
    """Send bytes; the response to them."""
    with socket.create_connection(client.address, timeout=20) as sender:
        sender.sendall(data)
        received = b""
        while not complete(received):
            more = sender.recv(65536)
            assert more, received
            received += more
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return httpx2.Response(int(status.split()[1]), headers=headers, content=body)


def complete(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end) and bool(lengths) and len(body) >= int(lengths[0])
