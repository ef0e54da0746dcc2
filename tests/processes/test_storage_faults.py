"""Disks and files that fail under a serving process: never a 200 for a run that is not stored, the process goes on
answering, and where that is possible it recovers without a restart."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from faults import fill, garble_table, immutable, index_of, log_of, small_disk
from server_process import Serve, ServerProcess, wait_until
from sql.other_process import holding_the_lock
from stub_openai import StubProcess

pytestmark = pytest.mark.process

UNAVAILABLE = "the database could not be used; what was asked for is not stored"
BIG = "x" * 40_000


def ledger_of(server: ServerProcess) -> Path:
    return (server.directory / "ledger.db").resolve()


def run(server: ServerProcess, message: str = "hello", **fields: str) -> str:
    """A run that must be answered 200; its id."""
    run_id: str = server.post_run(message, **fields).raise_for_status().json()["run_id"]
    return run_id


def assert_refused(server: ServerProcess, said: str) -> None:
    """Runs are refused, and why is said to operators; the process is alive."""
    answer = server.post_run()
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == UNAVAILABLE
    assert said in server.log()
    readiness = server.client.get("/ready")
    assert readiness.status_code == 503
    [reason] = readiness.json()["reasons"]
    assert said in reason
    assert str(ledger_of(server)) in reason
    assert server.get("/health") == {"status": "ok"}


def wait_ready(server: ServerProcess) -> None:
    wait_until(lambda: server.client.get("/ready").status_code == 200, what="readiness")


def assert_true(server: ServerProcess, answers: list[httpx2.Response]) -> None:
    """What was answered is what is stored: 200 completed, with all hooks delivered; anything else was 503."""
    for answer in answers:
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 200:
            run_id = answer.json()["run_id"]
            assert server.get(f"/runs/{run_id}")["status"] == "completed"
            assert len(server.wait_delivered(run_id)) == 3
    with closing(sqlite3.connect(ledger_of(server))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def stored_runs(server: ServerProcess) -> list[dict[str, Any]]:
    """All runs of the ledger."""
    with closing(sqlite3.connect(ledger_of(server))) as connection:
        rows = connection.execute("SELECT run_id FROM hookline_runs ORDER BY seq").fetchall()
    return [server.get(f"/runs/{run_id}") for (run_id,) in rows]


@contextmanager
def run_at_gate(server: ServerProcess, stub: StubProcess) -> Iterator[list[httpx2.Response]]:
    """A run whose model answers when the block ends; its answer is in the list then."""
    answers: list[httpx2.Response] = []
    thread = threading.Thread(target=lambda: answers.append(server.post_run("wait [[stub gate=held]]")))
    thread.start()
    stub.wait_at_gate("held")
    try:
        yield answers
    finally:
        stub.open_gate("held")
        thread.join(30)
    assert answers, "the run was answered"


# the file


def test_deleted_database_is_never_a_200(serve: Serve, stub: StubProcess) -> None:
    server = serve("three")
    server.wait_delivered(run(server))
    with run_at_gate(server, stub) as answers:
        ledger_of(server).unlink()
    assert answers[0].status_code == 503
    assert_refused(server, "was deleted or moved away while it was open")
    assert server.client.get("/deliveries").status_code == 503
    assert not ledger_of(server).exists()
    calls = stub.stats()["calls"]
    assert_refused(server, "put that file back, or restart")
    assert stub.stats()["calls"] == calls, "no model is asked for what cannot be stored"

    assert server.terminate() == 0
    server.start()
    server.wait_delivered(run(server))
    assert len(stored_runs(server)) == 1


def test_moved_database_is_used_again_when_it_is_back(serve: Serve, stub: StubProcess) -> None:
    server = serve("three")
    first = run(server)
    server.wait_delivered(first)
    away = server.directory / "away.db"
    with run_at_gate(server, stub) as answers:
        ledger_of(server).rename(away)
        assert server.client.get("/ready").status_code == 503
    assert answers[0].status_code == 503
    assert_refused(server, "was deleted or moved away")
    away.rename(server.directory / "ledger.db")
    wait_ready(server)

    def repaired() -> dict[str, Any] | None:
        return next((one for one in stored_runs(server) if one["status"] == "failed"), None)

    lost = wait_until(repaired, what="the end of the run that could not be stored")
    assert lost["reason"] == "not_stored"
    assert lost["content"] is None or lost["error"]["type"] == "Storage"
    assert_true(server, [server.post_run() for _ in range(3)])
    assert sorted({one["status"] for one in stored_runs(server)}) == ["completed", "failed"]


def test_removed_log_costs_no_run_that_was_answered(serve: Serve) -> None:
    server = serve("three")
    answers = [server.post_run() for _ in range(5)]
    log_of(ledger_of(server)).unlink()
    answers += [server.post_run() for _ in range(5)]
    index_of(ledger_of(server)).unlink(missing_ok=True)
    answers += [server.post_run() for _ in range(5)]
    server.kill()
    server.start()
    assert [answer.status_code for answer in answers] == [200] * 15
    assert_true(server, answers)


def test_log_removed_after_a_kill_leaves_nothing_false(serve: Serve) -> None:
    server = serve("three")
    run_ids = [run(server) for _ in range(5)]
    server.kill()
    log_of(ledger_of(server)).unlink()
    index_of(ledger_of(server)).unlink()
    server.start()
    wait_ready(server)
    there = [run_id for run_id in run_ids if server.client.get(f"/runs/{run_id}").status_code == 200]
    wait_until(lambda: all(one["status"] != "running" for one in stored_runs(server)), what="the end of all runs")
    for run_id in there:
        assert {row["status"] for row in server.deliveries(run_id=run_id)} <= {"delivered", "pending", "waiting"}
    assert_true(server, [server.post_run() for _ in range(3)])


# its content


def test_damaged_database_is_said_and_a_good_one_is_used_after_a_restart(serve: Serve) -> None:
    server = serve("three")
    first = run(server)
    server.wait_delivered(first)
    assert server.terminate() == 0
    shutil.copy(ledger_of(server), server.directory / "backup.db")
    garble_table(ledger_of(server), "hookline_sessions")

    server.start()
    assert server.post_run().status_code == 503
    assert_refused(server, "is damaged: stop the server, restore the file from a backup")
    assert "hookline doctor" in server.client.get("/ready").json()["reasons"][0]
    assert server.client.get("/deliveries").status_code == 503
    assert not server.has_ended
    server.kill()

    shutil.copy(server.directory / "backup.db", ledger_of(server))
    log_of(ledger_of(server)).unlink(missing_ok=True)
    server.start()
    assert server.get(f"/runs/{first}")["status"] == "completed"
    assert_true(server, [server.post_run() for _ in range(3)])


# the disk


def test_full_disk_is_a_503_and_room_is_all_that_it_takes(serve: Serve, stub: StubProcess, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (tmp_path / "ledger.db").symlink_to(disk / "ledger.db")
        server = serve("three")
        answers = [server.post_run()]
        with run_at_gate(server, stub) as gated:
            fill(disk, leave=1_500_000)
            for _ in range(60):
                answers.append(server.post_run(BIG))
                if answers[-1].status_code != 200:
                    break
            assert answers[-1].status_code == 503
            assert len(answers) > 3
            ballast = fill(disk)
        refused = [server.post_run(BIG) for _ in range(3)]
        assert [answer.status_code for answer in refused] == [503] * 3
        readiness = server.client.get("/ready")
        if readiness.status_code != 200:  # a page may be left for so small a thing
            assert "free space on its disk" in readiness.json()["reasons"][0]
        assert server.get("/health") == {"status": "ok"}
        assert "free space on its disk" in server.log()

        ballast.unlink()
        wait_ready(server)
        later = [server.post_run() for _ in range(3)]
        assert [answer.status_code for answer in later] == [200] * 3
        assert_true(server, [*answers, *gated, *refused, *later])
        wait_until(lambda: all(one["status"] != "running" for one in stored_runs(server)), what="the end of all runs")
        completed = [one["run_id"] for one in stored_runs(server) if one["status"] == "completed"]
        good = [answer for answer in [*answers, *gated, *later] if answer.status_code == 200]
        assert sorted(completed) == sorted(answer.json()["run_id"] for answer in good)
        failed = [one for one in stored_runs(server) if one["status"] != "completed"]
        assert {(one["status"], one["reason"]) for one in failed} <= {("failed", "not_stored")}
        assert server.terminate() == 0


def test_hooks_that_ran_on_a_full_disk_are_settled_when_there_is_room(serve: Serve, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (tmp_path / "ledger.db").symlink_to(disk / "ledger.db")
        server = serve("sleep-3")
        run_id = run(server)
        wait_until(lambda: server.events(hook="sleep", event="start"), what="the hook's start")
        ballast = fill(disk)
        wait_until(lambda: "deliveries cannot be settled now" in server.log(), what="the refusal")
        ballast.unlink()
        [row] = server.wait_delivered(run_id)
        assert row["attempt_count"] == 1
        assert len(server.events(run_id=run_id, event="start")) == 1
        assert server.terminate() == 0


def test_disk_that_turns_read_only_is_a_503_until_it_turns_back(serve: Serve, stub: StubProcess) -> None:
    server = serve("three")
    server.wait_delivered(run(server))
    with run_at_gate(server, stub) as answers:
        files = (ledger_of(server), log_of(ledger_of(server)))
        with immutable(*files):
            assert_refused(server, str(ledger_of(server)))
            stub.open_gate("held")
            wait_until(lambda: answers, what="the answer to the run that was under way")
    assert answers[0].status_code == 503
    wait_ready(server)
    later = [server.post_run() for _ in range(3)]
    assert [answer.status_code for answer in later] == [200] * 3
    assert_true(server, later)

    def repaired() -> bool:
        return ("failed", "not_stored") in [(one["status"], one["reason"]) for one in stored_runs(server)]

    wait_until(repaired, what="the end of the run that could not be stored")


# other processes


def test_lock_held_for_long_is_a_503_and_its_end_is_all_that_it_takes(serve: Serve) -> None:
    server = serve("three")
    server.wait_delivered(run(server))
    with holding_the_lock(ledger_of(server)):
        assert_refused(server, "is locked by another process")
    wait_ready(server)
    assert_true(server, [server.post_run() for _ in range(3)])
