"""Hooks that raise, hang, exit, swallow cancellation, block: the others go on, and the server can be ended."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from server_process import Serve, wait_until

pytestmark = pytest.mark.process


def test_the_first_of_three_raises_and_the_others_run(serve: Serve) -> None:
    server = serve("raise-first")
    run_id = server.post_run().raise_for_status().json()["run_id"]
    wait_until(
        lambda: [row["status"] for row in server.deliveries(run_id=run_id)] == ["dead", "delivered", "delivered"],
        what="the end of all deliveries",
    )
    first = server.get(f"/runs/{run_id}/hooks")["items"][0]
    assert (first["hook"], first["status"], first["kind"]) == ("hook-1", "dead", "delivery")
    assert first["error"]["type"] == "RuntimeError"
    assert first["error"]["message"] == "failed on purpose"
    assert "in fail" in first["error"]["traceback"]
    assert [attempt["number"] for attempt in first["attempts"]] == [1]
    [dead] = server.get("/deliveries", status="dead")["items"]
    assert dead["last_error"] == "RuntimeError: failed on purpose"


def test_a_retry_after_a_backoff(serve: Serve) -> None:
    server = serve("retry-once")
    run_id = server.post_run().raise_for_status().json()["run_id"]
    wait_until(lambda: server.deliveries(run_id=run_id)[0]["status"] == "dead", what="the second failure")
    assert [line["attempt"] for line in server.events(hook="hook-1", event="start")] == [1, 2]


def test_others_go_on_and_sigterm_ends_the_server(serve: Serve) -> None:
    server = serve("misbehaved")
    run_id = server.post_run().raise_for_status().json()["run_id"]
    wait_until(
        lambda: [row["status"] for row in server.deliveries(run_id=run_id)] == ["dead"] * 4 + ["delivered"],
        what="the end of all deliveries",
    )
    errors = [row["last_error"] for row in server.deliveries(run_id=run_id)]
    assert [error and error.partition(":")[0] for error in errors] == [
        "HookTimeoutError",
        "HookError",
        "HookTimeoutError",
        "HookTimeoutError",
        None,
    ]
    assert server.post_run().status_code == 200
    assert server.terminate() == 0


def test_sigterm_gives_back_what_is_running(serve: Serve) -> None:
    server = serve("hold-second", HOOKLINE_SHUTDOWN_TIMEOUT="0.5")
    run_id = server.post_run().raise_for_status().json()["run_id"]
    wait_until(lambda: server.events(hook="hook-2", event="start"), what="the second hook's start")
    assert server.terminate() == 0
    (server.directory / "go").touch()
    server.start()
    rows = server.wait_delivered(run_id)
    assert [row["attempt_count"] for row in rows] == [1, 1, 1]


def test_sigterm_waits_for_deliveries_under_way(serve: Serve) -> None:
    server = serve("sleep-3", HOOKLINE_SHUTDOWN_TIMEOUT="20")
    assert server.post_run().status_code == 200
    wait_until(lambda: server.events(hook="sleep", event="start"), what="the hook's start")
    assert server.terminate() == 0
    assert len(server.events(hook="sleep", event="end")) == 1


def test_the_watchdog_names_a_hook_that_blocks_the_loop(serve: Serve) -> None:
    server = serve("block-loop")
    run_id = server.post_run().raise_for_status().json()["run_id"]
    server.wait_delivered(run_id)
    assert "blocked for 1 s by the hook blocker" in server.log()


def test_a_sync_inline_hook_holds_up_nobody_else(serve: Serve) -> None:
    server = serve("sync-inline")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.post_run, "slow")
        longest = 0.0
        while not slow.done():
            begun = time.perf_counter()
            assert server.client.get("/health").status_code == 200
            longest = max(longest, time.perf_counter() - begun)
        assert slow.result().status_code == 200
    assert longest < 0.4  # a blocked loop would hold up a request for half a second


def test_a_hundred_runs_with_a_hook_of_three_seconds(serve: Serve) -> None:
    server = serve("sleep-3")
    begun = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: server.post_run(), range(100)))
    assert [answer.status_code for answer in answers] == [200] * 100
    wait_until(lambda: len(server.events(hook="sleep", event="end")) == 100, what="the end of all hooks")
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("in_background", [True, False])
def test_the_server_wide_switch(serve: Serve, in_background: bool) -> None:
    server = serve("server-wide", IN_BACKGROUND="1" if in_background else "")
    begun = time.monotonic()
    run = server.post_run().raise_for_status().json()
    waited = time.monotonic() - begun
    assert (waited < 2.5) == in_background, waited
    kinds = [item["kind"] for item in server.get(f"/runs/{run['run_id']}/hooks")["items"]]
    assert kinds == ["delivery" if in_background else "inline"]
