"""How a server fares, over HTTP: paused hooks, too much that waits, and who may know."""

from __future__ import annotations

from typing import Any

from hookline import hook
from http_server import Serve, Served, problem


@hook(run_in_background=True, name="shaky", retries=0, circuit_threshold=1, circuit_cooldown=3600)
def shaky() -> None:
    raise LookupError("down")


@hook
def inline() -> None: ...


def states(client: Served) -> dict[str, Any]:
    return {item["hook"]: item["state"] for item in client.items("/hooks")}


def run_to_the_end(client: Served) -> None:
    assert client.run_agent().status_code == 200
    client.thread.call(client.agent_os.drain())


def test_a_paused_hook_is_seen(serve: Serve) -> None:
    client = serve(post_hooks=[inline, shaky])
    idle = {"circuit": "closed", "failures": 0, "open_until": None, "running": 0, "waits_for_threads": False}
    assert states(client) == {"inline": None, "shaky": idle}
    assert client.get("/ready").json()["details"] == {
        "runs": 0,
        "deliveries": {"running": 0, "undone": 0, "max_waiting": 100_000},
        "abandoned": {"inline_hooks": 0, "tools": 0, "deliveries": 0, "tasks": 0, "max_threads": 64},
        "hooks": [],
        "notes": [],
    }
    run_to_the_end(client)
    paused = states(client)["shaky"]
    assert (paused["circuit"], paused["failures"]) == ("open", 1)
    assert paused["open_until"].endswith("Z")
    (shown,) = client.get("/ready").json()["details"]["hooks"]
    assert {**shown, "open_until": None} == {
        "runnable": "demo", "phase": "post", "hook": "shaky", **paused, "open_until": None,
    }  # fmt: skip


def test_only_admins_read_how_it_fares(serve: Serve) -> None:
    client = serve(api_keys=["secret"])
    assert client.get("/ready").json() == {"status": "ready"}
    shown = client.get("/ready", headers={"authorization": "Bearer secret"}).json()
    assert set(shown) == {"status", "details"}


def test_too_many_waiting_deliveries_are_a_429(serve: Serve) -> None:
    client = serve(post_hooks=[shaky], max_waiting_deliveries=2)
    for _ in range(3):  # the first one opens the circuit, the others wait
        run_to_the_end(client)
    refused = client.run_agent()
    body = problem(refused, 429, "server-busy")
    assert "max_waiting_deliveries" in body["detail"]
    assert int(refused.headers["retry-after"]) == 5
    assert "new runs are turned away" in client.get("/ready").json()["details"]["notes"][0]
