"""Authentication: API keys, `authenticate` hooks and what goes wrong in them, and where it is needed at all."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import hookline_fastapi
from hookline import (
    Agent,
    AgentOS,
    AuthenticationError,
    ConfigurationError,
    Principal,
    Settings,
    hook,
    hookimpl,
)
from hookline.api_keys import ApiKeys, hash_key
from hookline.testing import ScriptedModel
from http_server import Serve, Served, problem

OLD, NEW = "old-key-0123456789", "new-key-ü-0123456789"


def bearer(key: str, scheme: str = "Bearer") -> dict[bytes, bytes]:
    return {b"authorization": f"{scheme} {key}".encode()}


def hashed(key: str) -> str:
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


# API keys


def test_each_key_opens_everything(serve: Serve) -> None:
    client = serve(api_keys=[OLD, hashed(NEW)])
    for key in (OLD, NEW):
        for path in ("/sessions", "/plugins", "/docs"):
            assert client.get(path, headers=bearer(key)).status_code == 200
    assert client.get("/sessions", headers=bearer(OLD, "bEARER")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {}, bearer("wrong"), {"authorization": "Bearer"}, bearer(OLD[:-1]), bearer(f"{OLD}x"), bearer(OLD.upper()),
        bearer(hashed(OLD)), bearer(OLD, "Basic"), {"authorization": OLD}, {"x-api-key": OLD},
        {"cookie": f"authorization=Bearer {OLD}"},
    ],
)  # fmt: skip
def test_everything_else_is_refused(serve: Serve, headers: dict[str, Any]) -> None:
    client = serve(api_keys=[OLD])
    for response in (client.get("/sessions", headers=headers), client.post("/agents/demo/runs", headers=headers)):
        problem(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"] == "Bearer"
        assert OLD not in response.text


def test_two_authorization_headers_are_refused(serve: Serve) -> None:
    client = serve(api_keys=[OLD])
    headers = [("authorization", f"Bearer {key}") for key in (OLD, "other")]
    assert "more than one" in problem(client.get("/sessions", headers=headers), 401, "unauthenticated")["detail"]


def test_holder_of_a_key_acts_for_anybody(serve: Serve) -> None:
    client = serve(api_keys=[OLD])
    client.headers.update({"authorization": f"Bearer {OLD}"})
    for user in ("alice", "bob"):
        assert client.run_agent(user_id=user, session_id="s").json()["user_id"] == user
    assert client.run_agent().json()["user_id"] is None
    assert len(client.items("/sessions")) == 2


@pytest.mark.parametrize("shown", ["first-key", "second-key", "third-key", "x", ""])
def test_comparing_takes_as_long_for_every_key(monkeypatch: pytest.MonkeyPatch, shown: str) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("hookline.api_keys.hmac.compare_digest", compare)
    keys = ApiKeys(map(hash_key, ("first-key", "second-key", "third-key")))
    assert keys.hold(shown.encode()) is shown.endswith("-key")
    assert len(compared) == 3, "it looks on after the one that fits"
    assert {len(digest) for pair in compared for digest in pair} == {32}


def test_keys_from_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKLINE_API_KEYS", f"{OLD}, {hashed(NEW)}")
    client = serve()
    assert client.get("/sessions").status_code == 401
    for key in (OLD, NEW):
        assert client.get("/sessions", headers=bearer(key)).status_code == 200


def test_keys_from_the_file_are_hashes(serve: Serve) -> None:
    Path("hookline.toml").write_text(f'api_keys = ["{hashed(OLD)}"]', encoding="utf-8")
    client = serve()
    assert client.get("/sessions").status_code == 401
    assert client.get("/sessions", headers=bearer(OLD)).status_code == 200


@pytest.mark.parametrize("value", [f'["{hashed(NEW)}", "{OLD}"]', f'"{OLD}"'])
def test_key_in_the_file_is_refused_with_its_hash(value: str) -> None:
    Path("hookline.toml").write_text(f"api_keys = {value}", encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        Settings()
    assert hashed(OLD) in str(raised.value)
    assert OLD not in str(raised.value)


def test_only_hashes_are_kept() -> None:
    settings = Settings(api_keys=[OLD, hashed(NEW).upper()])
    assert settings.api_keys == [hashed(OLD), hashed(NEW)]
    assert OLD not in f"{settings!r} {settings.model_dump_json()}"


@pytest.mark.parametrize("value", ["sha256:abc", "sha256:" + "z" * 64, ",", " , ", f"{OLD},sha256:{OLD}"])
def test_mistakes_in_keys_show_no_key(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HOOKLINE_API_KEYS", value)
    with pytest.raises(ConfigurationError, match="HOOKLINE_API_KEYS") as raised:
        Settings()
    assert OLD not in str(raised.value)
    with pytest.raises(ConfigurationError, match="api_keys") as raised:
        Settings(api_keys=[OLD, "sha256:"])
    assert OLD not in str(raised.value)


# hooks


class Asked:
    """A plugin that answers what the test says, and remembers whom it was asked about."""

    def __init__(self, name: str, answer: Any = None) -> None:
        self.plugin_name = name
        self.asked: list[tuple[str, str]] = []
        self._answer = answer

    @hookimpl
    def authenticate(self, method: str, path: str, headers: Mapping[str, str]) -> Any:
        assert headers["HOST"] == headers["host"]
        self.asked.append((method, path))
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


class AskedAsync:
    plugin_name = "async"

    @hookimpl
    async def authenticate(self, headers: Mapping[str, str]) -> Principal | None:
        await asyncio.sleep(0)
        return Principal("carol") if headers.get("x-user") == "carol" else None


class Slow:
    plugin_name = "slow"

    def __init__(self) -> None:
        self.let_go = threading.Event()

    @hookimpl
    @hook(timeout=0.05)
    def authenticate(self) -> Principal:
        self.let_go.wait(20)
        return Principal("late")


def user_of(client: Served, **headers: str) -> str:
    user: str = client.post("/agents/demo/runs", data={"message": "a"}, headers=headers).json()["user_id"]
    return user


def test_first_principal_wins(serve: Serve) -> None:
    silent, first, second = Asked("a"), Asked("b", Principal("first")), Asked("c", Principal("second"))
    client = serve(plugins=[second, silent, first])
    assert user_of(client) == "first"
    assert (silent.asked, first.asked, second.asked) == ([("POST", "/agents/demo/runs")],) * 2 + ([],)


def test_async_hook(serve: Serve) -> None:
    client = serve(plugins=[AskedAsync()])
    assert user_of(client, **{"x-user": "carol"}) == "carol"
    problem(client.get("/sessions", headers={"x-user": "eve"}), 401, "unauthenticated")


def test_key_and_hook_side_by_side(serve: Serve) -> None:
    client = serve(plugins=[AskedAsync()], api_keys=[OLD])
    assert client.get("/plugins", headers=bearer(OLD)).status_code == 200
    assert user_of(client, **{"x-user": "carol"}) == "carol"
    problem(client.get("/sessions", headers=bearer("wrong")), 401, "unauthenticated")


def test_refusal_ends_the_search(serve: Serve) -> None:
    later = Asked("b", Principal("somebody"))
    client = serve(plugins=[Asked("a", AuthenticationError("the token was revoked")), later])
    body = problem(client.get("/sessions"), 401, "unauthenticated")
    assert body["detail"] == "the token was revoked"
    assert later.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        RuntimeError("the identity provider is down"), KeyError("sub"), SystemExit(1), StopIteration(), "alice", True,
        {"user_id": "alice", "scopes": ["admin"]},
    ],
)  # fmt: skip
def test_hook_that_fails_lets_nobody_in(serve: Serve, answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    later = Asked("b", Principal("somebody"))
    client = serve(plugins=[Asked("a", answer), later])
    with caplog.at_level(logging.ERROR, logger="hookline.authentication"):
        for response in (client.get("/sessions"), client.run_agent()):
            problem(response, 503, "authentication-unavailable")
            assert "identity provider" not in response.text
    assert "authenticate of plugin 'a' failed" in caplog.text
    assert later.asked == []
    assert client.get("/health").status_code == 200


def test_hook_that_does_not_end_lets_nobody_in(serve: Serve) -> None:
    slow = Slow()
    client = serve(plugins=[slow])
    problem(client.get("/sessions"), 503, "authentication-unavailable")
    slow.let_go.set()


def test_health_needs_nobody_and_readiness_tells_why_not_to_admins(serve: Serve) -> None:
    broken = Asked("a", RuntimeError("down"))
    client = serve(plugins=[broken], api_keys=[OLD])
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    assert client.get("/ready", headers=bearer("wrong")).json() == {"status": "ready"}
    client.agent_os.begin_shutdown()
    for headers, reasons in ((bearer(OLD), ["shutting down"]), (bearer("wrong"), []), ({}, [])):
        assert problem(client.get("/ready", headers=headers), 503, "not-ready")["reasons"] == reasons


def test_document_says_how_to_authenticate(serve: Serve) -> None:
    document = serve(api_keys=[OLD]).get("/openapi.json", headers=bearer(OLD)).json()
    assert document["components"]["securitySchemes"] == {"bearer": {"type": "http", "scheme": "bearer"}}
    redrive = document["paths"]["/deliveries/{delivery_id}/redrive"]["post"]
    assert redrive["security"] == [{"bearer": []}]
    assert {"401", "403"} <= set(redrive["responses"])
    assert "403" not in document["paths"]["/sessions"]["get"]["responses"]
    assert "security" not in document["paths"]["/health"]["get"]


# principals


@pytest.mark.parametrize(
    "arguments",
    [(None,), (None, {"read"}), ("", {"admin"}), (" ",), ("a\x00b",), ("a\nb",), (5,), ("a", "admin"), ("a", {5})],
)
def test_principals_that_are_none(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigurationError, match="Principal"):
        Principal(*arguments)


def test_principals() -> None:
    alice, admin = Principal("alice", ["read"]), Principal(None, ["admin"])
    assert alice == Principal("alice", {"read"})
    assert hash(alice) == hash(Principal("alice", ("read", "read")))
    assert (alice.may_see("alice"), alice.may_see("bob"), alice.may_see(None)) == (True, False, False)
    assert (admin.may_see("alice"), admin.may_see(None)) == (True, True)


# where it is needed


class Recorder:
    """A transport that only notes what it was told to serve."""

    plugin_name = "recorder"

    def __init__(self) -> None:
        self.hosts: list[str] = []

    @hookimpl
    def transports(self) -> Mapping[str, Any]:
        return {"recorder": self}

    def create_app(self, agent_os: AgentOS) -> Any:
        return agent_os

    def serve(self, _agent_os: AgentOS, _app: Any, *, host: str, port: int, reload: bool, root_path: str) -> None:
        self.hosts.append(host)


def serve_on(host: str, *plugins: object, insecure: bool = False, **settings: Any) -> list[str]:
    recorder = Recorder()
    agent_os = AgentOS(
        agents=[Agent("demo", model=ScriptedModel("x"))],
        plugins=[hookline_fastapi, recorder, *plugins],
        settings=Settings(transport="recorder", **settings),
    )
    agent_os.serve(agent_os.get_app(), host=host, insecure=insecure)
    return recorder.hosts


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org", ""])  # noqa: S104 - the point of it
def test_other_addresses_need_authentication(host: str) -> None:
    with pytest.raises(SystemExit, match=r"\Ahookline: .*HOOKLINE_API_KEYS"):
        serve_on(host)
    with pytest.raises(SystemExit, match="insecure"):
        serve_on(host, plugins_that_do_not_authenticate())
    assert serve_on(host, api_keys=[OLD]) == [host]
    assert serve_on(host, AskedAsync()) == [host]
    assert serve_on(host, insecure=True) == [host]


def plugins_that_do_not_authenticate() -> object:
    class Other:
        plugin_name = "other"

        @hookimpl
        def run_event(self) -> None: ...

    return Other()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_is_open(host: str) -> None:
    assert serve_on(host) == [host]
