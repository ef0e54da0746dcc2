"""What a browser sees: headers that keep it from harm, origins that may call, and the page of the documentation."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from http_server import Serve, Served

SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
ORIGIN = "https://app.example"
KEY = "a-key-0123456789"


def of(headers: Any) -> dict[str, str | None]:
    return {name: headers.get(name) for name in SAFE}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health"), ("GET", "/agents"), ("GET", "/openapi.json"), ("GET", "/nowhere"), ("GET", "/runs/x"),
        ("POST", "/agents/demo/runs"), ("DELETE", "/sessions"), ("GET", "/sessions?x=1"),
    ],
)  # fmt: skip
def test_headers_of_every_answer(shared: Served, method: str, path: str) -> None:
    response = shared.request(method, path)
    assert of(response.headers) == SAFE
    assert [response.headers.get_list(name) for name in SAFE] == [[text] for text in SAFE.values()]


def test_headers_of_runs_and_streams(client: Served) -> None:
    for stream in ("false", "true"):
        response = client.run_agent(stream=stream)
        assert response.status_code == 200
        assert of(response.headers) == SAFE


def test_headers_of_what_nobody_expected(client: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(client.agent_os), "storage", property(lambda _: 1 / 0))
    response = client.get("/agents")
    assert response.status_code == 500
    assert of(response.headers) == SAFE


def test_page_of_the_documentation_runs_what_it_names_and_nothing_else(shared: Served) -> None:
    response = shared.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(rule.split(" ", 1) for rule in response.headers["content-security-policy"].split("; "))
    assert {name: text for name, text in of(response.headers).items() if text != SAFE[name]}.keys() == {
        "content-security-policy"
    }
    (nonce,) = re.findall(r"'nonce-(.+)'", policy["script-src"])
    scripts = re.findall(r"<script([^>]*)>", response.text)
    assert len(scripts) == 2
    assert all(f'nonce="{nonce}"' in attributes for attributes in scripts)
    (style,) = re.findall(r'rel="stylesheet" href="([^"]+)"', response.text)
    assert any(style.startswith(source) for source in policy["style-src"].split() if source.startswith("https"))
    assert urlsplit(style).scheme == "https"
    assert (policy["default-src"], policy["connect-src"], policy["frame-ancestors"]) == ("'none'", "'self'", "'none'")
    assert "unsafe" not in policy["script-src"]
    assert nonce not in shared.get("/docs").text
    assert 'url: "/openapi.json"' in response.text


def test_page_of_the_documentation_lists_everything_without_any_script(shared: Served) -> None:
    page = re.sub(r"<script.*?</script>", "", shared.get("/docs").text, flags=re.DOTALL)
    for path, operations in shared.get("/openapi.json").json()["paths"].items():
        for method in operations:
            assert f"<summary><code>{method.upper()} {path}</code></summary>" in page
    assert "<dt><code>session_state</code></dt>" in page
    assert "<dt><code>limit</code></dt>" in page
    assert "<dt><code>422</code></dt>" in page


def test_page_of_the_documentation_escapes_what_it_shows(serve: Serve) -> None:
    client = serve(name="</title><script>alert(1)</script>")
    page = client.get("/docs").text
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_other_pages_of_the_framework_are_not_there(shared: Served) -> None:
    for path in ("/redoc", "/docs/oauth2-redirect"):
        assert shared.get(path).status_code == 404


@pytest.fixture
def for_one_origin(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Served:
    monkeypatch.setenv("HOOKLINE_PLUGIN_FASTAPI__CORS_ORIGINS", f'["{ORIGIN}"]')
    return serve(api_keys=[KEY])


def test_browser_asks_before_it_sends_a_key(for_one_origin: Served) -> None:
    headers = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type",
    }
    response = for_one_origin.options("/agents/demo/runs", headers=headers)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in response.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in response.headers
    elsewhere = for_one_origin.options("/agents/demo/runs", headers={**headers, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in elsewhere.headers


def test_page_of_the_origin_reads_answers_and_refusals(for_one_origin: Served) -> None:
    for key, status in ((KEY, 200), ("wrong", 401)):
        response = for_one_origin.get("/sessions", headers={"origin": ORIGIN, "authorization": f"Bearer {key}"})
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "retry-after" in response.headers["access-control-expose-headers"].lower()
