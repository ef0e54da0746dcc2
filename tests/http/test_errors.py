"""Errors that are no run's: the router's, the body's, and those that nobody expected."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from http_server import FailingDb, Serve, Served, problem

FORM = {"content-type": "application/x-www-form-urlencoded"}


def test_unknown_path(shared: Served) -> None:
    for path in ("/nowhere", "/", "/agents/demo/runs/x", "/teams/a/runs", "/health/"):
        body = problem(shared.get(path), 404, "not-found")
        assert [error["field"] for error in body["errors"]] == ["path"]


def test_wrong_method_names_the_right_ones(shared: Served) -> None:
    for method, path, allowed in (
        ("GET", "/agents/demo/runs", "POST"),
        ("DELETE", "/sessions", "GET"),
        ("PUT", "/runs/x/cancel", "POST"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ):
        response = shared.request(method, path)
        problem(response, 405, "method-not-allowed")
        assert sorted(response.headers["allow"].split(", ")) == allowed.split(", ")


def test_body_of_the_size_that_is_allowed(serve: Serve) -> None:
    client = serve(max_body_size=1000)
    assert client.run_agent("a" * 900).status_code == 200
    problem(client.run_agent("a" * 1000), 413, "body-too-large")


def test_chunked_body(client: Served) -> None:
    response = client.post("/agents/demo/runs", content=iter([b"mess", b"age=a", b"&stream=false"]), headers=FORM)
    assert response.status_code == 200


def test_client_that_leaves_in_the_middle_of_its_body(client: Served) -> None:
    with socket.create_connection(client.address) as sender:
        sender.sendall(b"POST /agents/demo/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nmessage=")
    assert client.run_agent().status_code == 200
    assert len(client.items("/sessions")) == 1


@pytest.mark.parametrize(
    ("operation", "method", "path"),
    [
        ("get_run", "GET", "/runs/x"),
        ("list_sessions", "GET", "/sessions"),
        ("list_deliveries", "GET", "/deliveries"),
        ("get_delivery", "POST", "/deliveries/x/redrive"),
        ("lock_session", "POST", "/agents/demo/runs"),
    ],
)
def test_database_that_fails(serve: Serve, tmp_path: Any, operation: str, method: str, path: str) -> None:
    client = serve(db=FailingDb(str(tmp_path / "f.db"), failing=operation))
    response = client.request(method, path, data={"message": "a"} if "agents" in path else None)
    problem(response, 503, "storage-unavailable")
    assert "secret" not in response.text


def test_database_that_cannot_be_written_is_not_ready(serve: Serve, tmp_path: Any) -> None:
    client = serve(db=FailingDb(str(tmp_path / "f.db"), failing="check"))
    assert "disk full" in problem(client.get("/ready"), 503, "not-ready")["reasons"][0]


def test_what_nobody_expected_is_a_500_without_details(client: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any, **_keywords: Any) -> Any:
        raise LookupError("a detail of the inside")

    monkeypatch.setattr(client.agent_os, "start_run", broken)
    monkeypatch.setattr(type(client.agent_os), "registry", property(broken))
    for response in (client.run_agent(), client.get("/plugins")):
        problem(response, 500, "internal-error")
        assert "inside" not in response.text
