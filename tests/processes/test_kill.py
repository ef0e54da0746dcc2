"""SIGKILL at the worst moments: after a restart every hook of every committed run runs, in order, and once answered
the model is never asked again."""

from __future__ import annotations

import httpx2
import pytest

from server_process import Serve, ServerProcess, wait_until
from stub_openai import StubProcess

pytestmark = pytest.mark.process

HOOKS = ["hook-1", "hook-2", "hook-3"]


def first_starts(server: ServerProcess, run_id: str) -> list[str]:
    """The hooks of a run in the order in which they were first started."""
    starts = [line["hook"] for line in server.events(run_id=run_id, event="start")]
    return list(dict.fromkeys(starts))


def settled(server: ServerProcess) -> int:
    """How many deliveries the ledger knows to be delivered."""
    return sum(row["status"] == "delivered" for row in server.deliveries())


def test_killed_between_the_commit_and_the_response(serve: Serve, stub: StubProcess) -> None:
    server = serve("three", KILL_AFTER_COMMIT="1")
    with pytest.raises(httpx2.TransportError):
        server.post_run()
    assert server.wait() == -9
    assert server.events() == []

    server.start()
    [run_id] = {row["run_id"] for row in server.deliveries()}
    server.wait_delivered(run_id)
    assert server.get(f"/runs/{run_id}")["status"] == "completed"
    assert first_starts(server, run_id) == HOOKS
    assert stub.stats()["calls"] == 1


def test_killed_inside_the_second_of_three_hooks(serve: Serve, stub: StubProcess) -> None:
    server = serve("hold-second")
    run_ids = [server.post_run().raise_for_status().json()["run_id"] for _ in range(5)]
    wait_until(lambda: len(server.events(hook="hook-2", event="start")) == 5, what="the second hooks' start")
    wait_until(lambda: settled(server) == 5, what="the first hooks' being settled")
    server.kill()
    (server.directory / "go").touch()

    server.start()
    for run_id in run_ids:
        rows = server.wait_delivered(run_id)
        assert first_starts(server, run_id) == HOOKS
        assert [row["attempt_count"] for row in rows] == [1, 1, 1]  # an interrupted attempt is given back
        assert len(server.events(run_id=run_id, hook="hook-1")) == 2  # start and end, in the first process only
    assert stub.stats()["calls"] == 5


def test_killed_during_a_backoff(serve: Serve, stub: StubProcess) -> None:
    server = serve("fail-until-mended")
    run_id = server.post_run().raise_for_status().json()["run_id"]

    def backs_off() -> bool:
        first, *others = server.deliveries(run_id=run_id)
        held_back = (first["status"], first["attempt_count"] > 0) == ("pending", True)
        return held_back and others[-1]["status"] == "delivered"

    wait_until(backs_off, what="the first hook's backoff, after the others were delivered")
    server.kill()
    (server.directory / "mended").touch()

    server.start()
    rows = server.wait_delivered(run_id)
    assert rows[0]["attempt_count"] > 1
    assert first_starts(server, run_id) == HOOKS
    assert stub.stats()["calls"] == 1


def test_killed_in_mid_run_it_is_failed_with_its_hooks_and_its_session_free(serve: Serve, stub: StubProcess) -> None:
    server = serve("on-failure")
    answer = server.client.post(
        "/agents/a/runs",
        data={"message": "wait [[stub gate=never]]", "background": "true", "session_id": "s"},
    )
    assert answer.status_code == 202
    run_id = answer.json()["run_id"]
    stub.wait_at_gate("never")
    server.kill()

    server.start()
    wait_until(lambda: server.get(f"/runs/{run_id}")["status"] == "failed", what="the end of the run")
    run = server.get(f"/runs/{run_id}")
    assert run["reason"] == "interrupted"
    assert run["error"]["type"] == "Interrupted"
    server.wait_delivered(run_id)
    assert first_starts(server, run_id) == ["pre-1", "on-failure"]
    again = server.post_run(session_id="s")
    assert again.status_code == 200, again.text


def test_a_hook_that_ends_the_process_is_given_up_and_the_others_run(serve: Serve) -> None:
    server = serve("killer")
    run_id = server.post_run().raise_for_status().json()["run_id"]
    assert server.wait() == 7

    def ended_or_given_up() -> str | None:
        if server.has_ended:
            return "ended"
        try:
            killer, after = server.deliveries(run_id=run_id)
        except httpx2.TransportError:
            return None
        return "given up" if (killer["status"], after["status"]) == ("dead", "delivered") else None

    for _ in range(5):
        server.start(answers=False)
        if wait_until(ended_or_given_up, what="the killer's end") == "given up":
            break
        assert server.wait() == 7
    killer = server.get(f"/runs/{run_id}/hooks")["items"][0]
    assert killer["status"] == "dead"
    assert [attempt["outcome"] for attempt in killer["attempts"]] == ["interrupted"] * 3
    assert first_starts(server, run_id) == ["killer", "after"]
