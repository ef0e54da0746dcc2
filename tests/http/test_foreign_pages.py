"""Pages of others in a browser on this machine: they neither read nor change anything where nobody is asked who they
are. Programs, the server's own pages and those of origins that settings allow are let through."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.middleware.cors import CORSMiddleware

from http_server import Serve, Served, problem

KEY = "a-key-0123456789"
ALLOWED = "https://app.example"
EVIL = "http://evil.example"


@pytest.fixture
def allowing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Served:
    monkeypatch.setenv("HOOKLINE_PLUGIN_FASTAPI__CORS_ORIGINS", json.dumps([ALLOWED]))
    monkeypatch.setenv("HOOKLINE_PLUGIN_FASTAPI__ALLOWED_HOSTS", '["agents.example"]')
    return serve()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7777", "localhost.evil.example", "127.0.0.1.evil.example", "x"]
)
def test_names_that_may_be_made_to_point_here(shared: Served, host: str) -> None:
    for method, path in (("GET", "/sessions"), ("GET", "/docs"), ("POST", "/agents/demo/runs")):
        body = problem(shared.request(method, path, headers={"host": host}), 403, "foreign-host")
        assert f"HOOKLINE_PLUGIN_FASTAPI__ALLOWED_HOSTS='[\"{host.partition(':')[0]}\"]'" in body["detail"]
    assert shared.get("/health", headers={"host": host}).status_code == 200
    assert shared.get("/ready", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:7777", "agents.localhost:7777", "127.0.0.1", "127.8.8.8:1", "[::1]:7777", "192.0.2.7"],
)
def test_names_of_this_machine_and_numbers(shared: Served, host: str) -> None:
    assert shared.get("/sessions", headers={"host": host}).status_code == 200


def test_names_that_settings_allow(allowing: Served) -> None:
    assert allowing.get("/sessions", headers={"host": "Agents.example:443"}).status_code == 200
    problem(allowing.get("/sessions", headers={"host": "sub.agents.example"}), 403, "foreign-host")


def test_all_names_where_settings_allow_them(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKLINE_PLUGIN_FASTAPI__ALLOWED_HOSTS", '["*"]')
    assert serve().get("/sessions", headers={"host": "evil.example"}).status_code == 200


def test_all_names_where_somebody_is_asked(serve: Serve) -> None:
    headers = {"host": "agents.example", "authorization": f"Bearer {KEY}"}
    assert serve(api_keys=[KEY]).get("/sessions", headers=headers).status_code == 200


@pytest.mark.parametrize("server", [("192.0.2.7", 7777), ("/run/hookline.sock", None), ("testserver", 80), None])
def test_all_names_where_the_server_is_not_on_loopback(client: Served, server: Any) -> None:
    assert client.thread.call(status_of(client.app, server)) == 200


async def status_of(app: Any, server: Any) -> int:
    """The status of a GET request to a server that listens there."""
    scope = {
        "type": "http", "method": "GET", "path": "/sessions", "root_path": "", "query_string": b"", "scheme": "http",
        "headers": [(b"host", b"agents.example")], "server": server, "http_version": "1.1",
    }  # fmt: skip
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await asyncio.wait_for(app(scope, asyncio.Event().wait, send), 20)
    status: int = sent[0]["status"]
    return status


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL}, {"origin": "null"}, {"origin": "http://localhost:3000"}, {"origin": "http://127.0.0.1"},
        {"origin": "https://127.0.0.1:80"}, {"origin": "nonsense"}, {"origin": "http://[::1"},
        {"origin": EVIL, "sec-fetch-site": "cross-site"}, {"sec-fetch-site": "cross-site"},
        {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
    ],
)  # fmt: skip
def test_pages_of_other_origins_change_nothing(refusing: Served, headers: dict[str, str]) -> None:
    for path in ("/agents/demo/runs", "/runs/x/cancel", "/deliveries/x/discard"):
        body = problem(refusing.post(path, data={"message": "a"}, headers=headers), 403, "foreign-origin")
        if "origin" in headers:
            assert f"CORS_ORIGINS='[\"{headers['origin']}\"]'" in body["detail"]
    assert refusing.get("/sessions", headers=headers).status_code == 200


def test_what_is_no_page_of_another_origin_may(shared: Served) -> None:
    own = "http://{}:{}".format(*shared.address)
    for headers in (
        {},
        {"origin": own},
        {"origin": own.replace("127.0.0.1", "LOCALHOST"), "host": "localhost:" + own.rpartition(":")[2]},
        {"origin": "https://localhost", "host": "localhost:443"},
        {"origin": "https://app.example", "sec-fetch-site": "same-origin"},  # a proxy that passes on no Host
        {"sec-fetch-site": "none"},
    ):
        assert shared.post("/agents/demo/runs", data={"message": "a"}, headers=headers).status_code == 200


def test_pages_of_origins_that_settings_allow_may(allowing: Served) -> None:
    for headers in ({"origin": ALLOWED}, {"origin": ALLOWED, "sec-fetch-site": "cross-site"}):
        assert allowing.post("/agents/demo/runs", data={"message": "a"}, headers=headers).status_code == 200
    problem(allowing.post("/agents/demo/runs", headers={"origin": f"{ALLOWED}.evil.example"}), 403, "foreign-origin")


def test_pages_of_origins_that_the_apps_own_middleware_allows_may(serve: Serve) -> None:
    client = serve(middleware=[(CORSMiddleware, {"allow_origin_regex": r"https://.*\.app\.example"})])
    answer = client.post("/agents/demo/runs", data={"message": "a"}, headers={"origin": "https://x.app.example"})
    assert answer.status_code == 200
    problem(client.post("/agents/demo/runs", headers={"origin": ALLOWED}), 403, "foreign-origin")


def test_who_shows_a_key_may_from_anywhere_and_nobody_else(serve: Serve) -> None:
    client = serve(api_keys=[KEY])
    shown = {"origin": EVIL, "authorization": f"Bearer {KEY}"}
    assert client.post("/agents/demo/runs", data={"message": "a"}, headers=shown).status_code == 200
    problem(client.post("/agents/demo/runs", headers={"origin": EVIL}), 403, "foreign-origin")
