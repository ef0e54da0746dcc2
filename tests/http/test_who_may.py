"""Who may what: every route as nobody, as another user, as the user, as an admin; and what of others is seen."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from hookline import AuthenticationError, InputCheckError, Principal, RunInput, guardrail, hook, hookimpl
from hookline.testing import ScriptedModel
from hookline_fastapi.routing import HooklineRoute
from http_server import Serve, Served, parse_events, problem, waiting_model
from server_process import wait_until

SECRET = b"a secret that only the issuer of tokens has"


class Jwt:
    """Authenticates bearers of JSON web tokens: `sub` is the user, `scope` the scopes, as RFC 8693 has them."""

    plugin_name = "jwt"

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @hookimpl
    def authenticate(self, headers: Mapping[str, str]) -> Principal | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token.count(".") != 2:
            return None
        claims = self._verified(token)
        if claims.get("exp", 0) < time.time():
            raise AuthenticationError("the token has expired")
        return Principal(claims["sub"], claims.get("scope", "").split())

    def _verified(self, token: str) -> dict[str, Any]:
        signed, _, signature = token.rpartition(".")
        expected = hmac.new(self._secret, signed.encode(), hashlib.sha256).digest()
        try:
            header, claims = (json.loads(decode(part)) for part in signed.split("."))
            matches = hmac.compare_digest(decode(signature), expected)
        except ValueError:
            raise AuthenticationError("the token cannot be read") from None
        if header.get("alg") != "HS256" or not matches:
            raise AuthenticationError("the token's signature is wrong")
        found: dict[str, Any] = claims
        return found


def decode(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def make_token(
    user: str, *, scope: str = "", secret: bytes = SECRET, expires_in: float = 86_400.0, alg: str = "HS256"
) -> str:
    claims = {"sub": user, "scope": scope, "exp": time.time() + expires_in}
    signed = ".".join(encode(json.dumps(each).encode()) for each in ({"alg": alg, "typ": "JWT"}, claims))
    return f"{signed}.{encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


NOBODY: dict[str, str] = {}
ALICE = {"authorization": f"Bearer {make_token('alice')}"}
BOB = {"authorization": f"Bearer {make_token('bob', scope='read write')}"}
ADMIN = {"authorization": f"Bearer {make_token('root', scope='read admin')}"}
CALLERS = (NOBODY, BOB, ALICE, ADMIN)


@hook(run_in_background=True, retries=0)
def breaks() -> None:
    raise RuntimeError("an inner detail")


@guardrail
def no_cards(run_input: RunInput) -> None:
    if "card" in run_input.input_content:
        raise InputCheckError(f"found {run_input.input_content}", check_trigger="card")


@dataclass
class World:
    """A server, and a run of alice's with a delivery that is dead."""

    client: Served
    run: dict[str, Any]
    delivery: dict[str, Any]

    @property
    def model(self) -> ScriptedModel:
        model = self.client.agent_os.runnables["agent", "demo"].models[0]
        assert isinstance(model, ScriptedModel)
        return model

    def ask(self, who: dict[str, str], route: str, **options: Any) -> httpx2.Response:
        """Ask for a route; the parameters of its path are those of alice's run."""
        method, path = route.split(" ")
        ids = {
            "agent_id": "demo",
            "run_id": self.run["run_id"],
            "session_id": "s",
            **self.delivery,
            "replay_id": "unknown",
        }
        return self.client.request(method, path.format(**ids), headers=who, **options)

    def items(self, who: dict[str, str], route: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(who, route).json()["items"]
        return found


def run_as(client: Served, who: dict[str, str], message: str = "hello", **fields: str) -> httpx2.Response:
    return client.post("/agents/demo/runs", data={"message": message, **fields}, headers=who)


@pytest.fixture
def world(serve: Serve) -> World:
    client = serve(plugins=[Jwt(SECRET)], pre_hooks=[no_cards], post_hooks=[breaks])
    answer = run_as(client, ALICE, session_id="s")
    assert answer.status_code == 200, answer.text
    run = answer.json()
    made = World(client, run, {"delivery_id": ""})
    deliveries = wait_until(lambda: [each for each in made.items(ADMIN, "GET /deliveries") if each["status"] == "dead"])
    made.delivery = deliveries[0]
    return made


# What each route answers to nobody, to another user, to the user, and to an admin.
WALK = {
    "POST /agents/{agent_id}/runs": (401, 404, 200, 200),
    "GET /runs/{run_id}": (401, 404, 200, 200),
    "GET /runs/{run_id}/hooks": (401, 404, 200, 200),
    "POST /runs/{run_id}/cancel": (401, 404, 409, 409),
    "GET /sessions": (401, 200, 200, 200),
    "GET /sessions/{session_id}": (401, 404, 200, 200),
    "GET /sessions/{session_id}/runs": (401, 404, 200, 200),
    "GET /deliveries": (401, 200, 200, 200),
    "GET /deliveries/{delivery_id}": (401, 404, 200, 200),
    "POST /deliveries/{delivery_id}/redrive": (401, 403, 403, 200),
    "POST /deliveries/{delivery_id}/discard": (401, 403, 403, 409),
    "POST /deliveries/redrive": (401, 403, 403, 200),
    "POST /deliveries/discard": (401, 403, 403, 200),
    "POST /replays": (401, 403, 403, 201),
    "GET /replays": (401, 403, 403, 200),
    "GET /replays/{replay_id}": (401, 403, 403, 404),
    "POST /replays/{replay_id}/pause": (401, 403, 403, 404),
    "POST /replays/{replay_id}/resume": (401, 403, 403, 404),
    "POST /replays/{replay_id}/cancel": (401, 403, 403, 404),
    "GET /hooks/stats": (401, 403, 403, 200),
    "GET /agents": (401, 200, 200, 200),
    "GET /agents/{agent_id}": (401, 200, 200, 200),
    "GET /plugins": (401, 403, 403, 200),
    "GET /hooks": (401, 200, 200, 200),
    "GET /health": (200, 200, 200, 200),
    "GET /ready": (200, 200, 200, 200),
    "GET /docs": (401, 200, 200, 200),
    "HEAD /docs": (401, 200, 200, 200),
    "GET /openapi.json": (401, 200, 200, 200),
    "HEAD /openapi.json": (401, 200, 200, 200),
}

BODIES = {
    "POST /agents/{agent_id}/runs": {"message": "again", "session_id": "s"},
    "POST /deliveries/{delivery_id}/discard": {"reason": "it is dead"},
    "POST /deliveries/redrive": {"hook": "breaks"},
    "POST /deliveries/discard": {"reason": "nobody wants them", "hook": "breaks"},
    "POST /replays": {"hook": "breaks"},
}

PROBLEMS = {401: "unauthenticated", 403: "forbidden", 404: "not-found", 409: None}


def test_every_route_has_its_decision(shared: Served) -> None:
    routes = [route for route in shared.app.routes if isinstance(route, HooklineRoute)]
    assert routes == shared.app.routes, "a route without a gate"
    assert {f"{method} {route.path}" for route in routes for method in route.methods or ()} == set(WALK)


@pytest.mark.parametrize("route", WALK)
def test_walk(world: World, route: str) -> None:
    calls = len(world.model.requests)
    for who, expected in zip(CALLERS, WALK[route], strict=True):
        response = world.ask(who, route, data=BODIES.get(route))
        assert response.status_code == expected, (who, response.text)
        if name := PROBLEMS.get(expected) if not route.startswith("HEAD") else None:
            problem(response, expected, name)
        assert response.headers.get("www-authenticate") == ("Bearer" if expected == 401 else None)
        if who in (NOBODY, BOB):
            assert len(world.model.requests) == calls
            assert "alice" not in response.text


@pytest.mark.parametrize("route", WALK)
def test_walk_where_nothing_authenticates(serve: Serve, route: str) -> None:
    client = serve(post_hooks=[breaks])
    run = client.run_agent(session_id="s", user_id="alice").json()
    dead = wait_until(lambda: client.items("/deliveries", status="dead"))[0]
    response = World(client, run, dead).ask(NOBODY, route, data=BODIES.get(route))
    assert response.status_code == WALK[route][-1]


def test_wrong_methods_and_bodies_are_not_told_to_nobody(world: World) -> None:
    for response in (
        world.client.put("/sessions"),
        world.client.post("/agents/nobody/runs", content=b"\xff" * 2_000_000),
        world.client.get("/runs/unknown?verbose=1"),
    ):
        problem(response, 401, "unauthenticated")


def test_own_things_are_listed_and_nothing_else(world: World) -> None:
    bobs = run_as(world.client, BOB, session_id="t").json()
    wait_until(lambda: len([each for each in world.items(ADMIN, "GET /deliveries") if each["status"] == "dead"]) == 2)
    for listing, name, mine in (
        ("/sessions", "session_id", {"alice": "s", "bob": "t"}),
        ("/deliveries", "run_id", {"alice": world.run["run_id"], "bob": bobs["run_id"]}),
    ):
        assert [each[name] for each in world.items(ALICE, f"GET {listing}")] == [mine["alice"]]
        assert [each[name] for each in world.items(BOB, f"GET {listing}")] == [mine["bob"]]
        assert {each[name] for each in world.items(ADMIN, f"GET {listing}")} == set(mine.values())
    assert world.items(BOB, "GET /sessions?user_id=alice") == []
    assert world.items(BOB, f"GET /deliveries?run_id={world.run['run_id']}") == []
    assert [each["session_id"] for each in world.items(ADMIN, "GET /sessions?user_id=alice")] == ["s"]


def test_no_filter_shows_what_is_somebody_elses(world: World) -> None:
    document = world.client.get("/openapi.json", headers=ALICE).json()
    values = {"user_id": "alice", "run_id": world.run["run_id"], "hook": "breaks", "runnable": "demo", "status": "dead"}
    asked = 0
    for path, operations in document["paths"].items():
        if "{" in path or "403" in operations.get("get", {"responses": {"403": {}}})["responses"]:
            continue
        for name in {parameter["name"] for parameter in operations["get"].get("parameters", ())} & values.keys():
            assert world.client.get(path, params={name: values[name]}, headers=ALICE).json()["items"], (path, name)
            assert world.client.get(path, params={name: values[name]}, headers=BOB).json()["items"] == [], (path, name)
            asked += 1
    assert asked >= 6


def test_user_of_the_form_is_overridden(world: World) -> None:
    assert run_as(world.client, BOB, user_id="alice").json()["user_id"] == "bob"
    run = world.client.post("/agents/demo/runs", json={"message": "a", "user_id": "alice"}, headers=BOB).json()
    assert run["user_id"] == "bob"
    session = world.client.get(f"/sessions/{run['session_id']}", headers=BOB).json()
    assert session["user_id"] == "bob"


@pytest.mark.parametrize("fields", [{}, {"stream": "true"}, {"background": "true"}])
def test_somebody_elses_session_is_not_gone_on_with(world: World, fields: dict[str, str]) -> None:
    calls = len(world.model.requests)
    body = problem(run_as(world.client, BOB, session_id="s", **fields), 404, "not-found")
    assert "run_id" not in body
    assert len(world.model.requests) == calls
    assert len(world.items(ADMIN, "GET /sessions/s/runs")) == 1


def test_session_of_nobody_is_not_a_users(world: World) -> None:
    storage = world.client.agent_os.storage
    run = world.client.thread.call(_run_of_nobody(world.client, "n"))
    assert world.client.thread.call(storage.get_session("n"))
    problem(run_as(world.client, BOB, session_id="n"), 404, "not-found")
    for path in ("/sessions/n", "/sessions/n/runs", f"/runs/{run}", f"/runs/{run}/hooks"):
        problem(world.client.get(path, headers=BOB), 404, "not-found")
        assert world.client.get(path, headers=ADMIN).status_code == 200


async def _run_of_nobody(client: Served, session_id: str) -> str:
    agent_os = client.agent_os
    run = agent_os.start_run(agent_os.runnables["agent", "demo"], "hello", session_id=session_id)
    await run.finished()
    run.hand_over()
    return run.run_id


@pytest.mark.parametrize("fields", [{}, {"stream": "true"}, {"background": "true"}])
def test_session_that_somebody_else_makes_in_the_same_moment(
    world: World, fields: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look before the start sees no session; the lock finds alice's."""

    async def not_there_yet(_session_id: str) -> None:
        return None

    with monkeypatch.context() as patch:
        patch.setattr(world.client.agent_os.storage, "get_session", not_there_yet)
        response = run_as(world.client, BOB, session_id="s", **fields)
    assert "run_id" not in problem(response, 404, "not-found")
    assert [run["run_id"] for run in world.items(ADMIN, "GET /sessions/s/runs")] == [world.run["run_id"]]


def test_admin_goes_on_with_anybodys_session(world: World) -> None:
    run = run_as(world.client, ADMIN, session_id="s").json()
    assert (run["user_id"], run["session_id"]) == ("root", "s")
    assert run["run_id"] not in [each["run_id"] for each in world.items(ALICE, "GET /sessions/s/runs")]


def test_what_a_hook_raised_is_for_admins(world: World) -> None:
    rejected = problem(run_as(world.client, ALICE, "my card"), 422, "run-rejected")
    for who, told in ((ALICE, False), (ADMIN, True)):
        guard, delivery = (
            world.client.get(f"/runs/{run_id}/hooks", headers=who).json()["items"][position]
            for run_id, position in ((rejected["run_id"], 0), (world.run["run_id"], -1))
        )
        for item in (guard, delivery, *delivery["attempts"]):
            assert item["error"]["type"] in ("InputCheckError", "RuntimeError")
            assert (item["error"]["message"] is not None, item["error"]["traceback"] is not None) == (told, told)
        assert (guard["status"], delivery["status"]) == ("rejected", "dead")
        last_errors = [world.ask(who, "GET /deliveries/{delivery_id}").json()["last_error"]]
        last_errors += [each["last_error"] for each in world.items(who, "GET /deliveries")]
        assert [error is not None for error in last_errors] == [told, told]
    for path in (f"/runs/{rejected['run_id']}", f"/runs/{rejected['run_id']}/hooks"):
        assert "my card" not in world.client.get(path, headers=ALICE).text


def test_run_that_is_under_way_is_cancelled_by_its_user_only(serve: Serve) -> None:
    client = serve(waiting_model(), plugins=[Jwt(SECRET)])
    run_id = run_as(client, ALICE, background="true").json()["run_id"]
    problem(client.post(f"/runs/{run_id}/cancel", headers=BOB), 404, "not-found")
    problem(client.post(f"/runs/{run_id}/cancel"), 401, "unauthenticated")
    assert not client.agent_os.live_runs[run_id].cancel_requested
    assert client.post(f"/runs/{run_id}/cancel", headers=ALICE).status_code == 202


def test_stream_of_a_user(serve: Serve) -> None:
    go = threading.Event()
    go.set()
    client = serve(waiting_model(go), plugins=[Jwt(SECRET)])
    events = parse_events(run_as(client, ALICE, stream="true", session_id="new").text)
    assert events[-1]["run"]["user_id"] == "alice"


def forged(signed: str, wanted: str) -> str:
    """The claims of one token with the signature of another."""
    return ".".join([*wanted.split(".")[:2], signed.split(".")[2]])


@pytest.mark.parametrize(
    ("token", "detail"),
    [
        (make_token("alice", expires_in=-1), "expired"),
        (make_token("alice", secret=b"another secret"), "signature"),
        (make_token("alice", alg="none"), "signature"),
        (make_token("alice") + "x", "signature"),
        (f"{make_token('alice').rpartition('.')[0]}.", "signature"),
        (forged(make_token("bob"), make_token("root", scope="admin")), "signature"),
        ("a.b.c", "read"),
        ("opaque", "Bearer"),
    ],
    ids=["expired", "secret", "algorithm", "longer", "unsigned", "forged", "unreadable", "opaque"],
)
def test_tokens_that_are_refused(world: World, token: str, detail: str) -> None:
    response = world.client.get("/sessions", headers={"authorization": f"Bearer {token}"})
    assert detail in problem(response, 401, "unauthenticated")["detail"]
