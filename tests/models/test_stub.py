"""The stub's own doors, as tests that start processes use them."""

from __future__ import annotations

import asyncio
import threading
import urllib.error
import urllib.request

import pytest

from hookline import Message, ModelRequest
from hookline_openai import OpenAIChat
from stub_openai import StubProcess, marker


def test_a_process_tells_what_it_sees_and_opens_its_gates() -> None:
    async def ask() -> None:
        model = OpenAIChat(api_key="k", base_url=stub.base_url)
        await model.respond(ModelRequest([Message("user", marker(gate="a b", latency=0.001))]), lambda _: None)
        await model.aclose()

    with StubProcess() as stub:
        client = threading.Thread(target=lambda: asyncio.run(ask()))
        client.start()
        stub.wait_at_gate("a b")
        waiting = stub.stats()
        stub.open_gate("a b")
        client.join()

        assert (waiting["calls"], waiting["in_flight"]) == (1, 1)
        assert stub.stats()["in_flight"] == 0
        assert stub.stats()["aborted"] == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/chat/completions", 400),
        ("POST", "/v1/responses", 400),
        ("GET", "/v1/responses", 404),
        ("GET", "/elsewhere", 404),
        ("POST", "/reset", 200),
    ],
)
def test_other_requests_are_answered(method: str, path: str, status: int) -> None:
    with StubProcess() as stub:
        url = stub.base_url.removesuffix("/v1") + path
        request = urllib.request.Request(url, b"{" if method == "POST" else None, method=method)  # noqa: S310
        assert status_of(request) == status


def status_of(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
