"""Samples and guardrails' modes over HTTP: the run's answer, and what `/runs/{id}/hooks` and `/hooks` tell."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hookline import InputCheckError, OutputCheckError, guardrail, hook
from hookline.sampling import in_sample, sample_point
from http_server import Serve, Served, problem


@guardrail(mode="observe")
def no_greetings(run_input: Any) -> None:
    raise InputCheckError("it greets", check_trigger="greeting")


@guardrail(mode="observe")
async def no_answers(run_output: Any) -> None:
    raise OutputCheckError("it answers", check_trigger="answer")


@guardrail(mode="off")
def broken() -> None:
    raise ConnectionError("the backend is down")


@hook(run_in_background=True, sample=0.5)
def evaluate(run_output: Any) -> None: ...


@pytest.fixture
def client(serve: Serve) -> Served:
    """A server with a guardrail of each mode that lets pass."""
    return serve(pre_hooks=[no_greetings, broken], post_hooks=[no_answers, evaluate])


def found(client: Served, run_id: str) -> list[tuple[Any, ...]]:
    names = ("hook", "status", "guardrail_mode", "check_trigger")
    items = client.items(f"/runs/{run_id}/hooks")
    return [tuple(item[name] for name in names) for item in items if item["kind"] == "inline"]


OBSERVED = [("no_greetings", "rejected", "observe", "greeting"), ("no_answers", "rejected", "observe", "answer")]


def test_an_answer_passes_and_the_verdicts_are_seen(client: Served) -> None:
    response = client.run_agent()

    assert response.status_code == 200
    assert (response.json()["status"], response.json()["content"]) == ("completed", "the answer")
    assert found(client, response.json()["run_id"]) == OBSERVED


def test_a_stream_passes_and_the_verdicts_are_seen(client: Served) -> None:
    events = client.stream_agent()

    assert events[-1]["event"] == "RunCompleted"
    failed = [event for event in events if event["event"] in ("PreHookFailed", "PostHookFailed")]
    assert [event["guardrail_mode"] for event in failed] == ["observe", "observe"]
    assert found(client, events[-1]["run_id"]) == OBSERVED


def test_the_settings_make_it_enforce(serve: Serve) -> None:
    client = serve(pre_hooks=[no_greetings], hooks={"demo/pre/no_greetings": {"mode": "enforce"}})

    body = problem(client.run_agent(), 422, "run-rejected")

    assert body["check_trigger"] == "greeting"
    assert found(client, body["run_id"]) == [("no_greetings", "rejected", "enforce", "greeting")]


def test_the_plan_tells_modes_and_samples(serve: Serve) -> None:
    hooks = {"demo/pre/broken": {"mode": "observe"}, "*/post/evaluate": {"sample": 0.25, "retries": 7, "max_age": 60}}
    client = serve(pre_hooks=[no_greetings, broken], post_hooks=[evaluate], hooks=hooks)

    items = {item["hook"]: item for item in client.items("/hooks")}

    assert (items["no_greetings"]["guardrail_mode"], items["no_greetings"]["from_settings"]) == ("observe", [])
    assert (items["broken"]["guardrail_mode"], items["broken"]["from_settings"]) == ("observe", ["mode"])
    evaluated = items["evaluate"]
    assert (evaluated["sample"], evaluated["retries"], evaluated["max_age"]) == (0.25, 7, 60)
    assert evaluated["from_settings"] == ["max_age", "retries", "sample"]


def test_a_run_that_is_not_in_the_sample_has_no_delivery(client: Served) -> None:
    for _ in range(8):
        run_id = client.run_agent().json()["run_id"]
        deliveries = [item["hook"] for item in client.items(f"/runs/{run_id}/hooks") if item["kind"] == "delivery"]
        assert deliveries == (["evaluate"] if in_sample(sample_point(run_id), 0.5) else [])


def test_what_an_older_version_stored_can_be_read(client: Served, tmp_path: Path) -> None:
    run_id = client.run_agent().json()["run_id"]
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        changed = ledger.execute(
            "UPDATE hookline_runs SET hook_calls = replace(hook_calls, ',\"guardrail_mode\":\"observe\"', '')"
        )
        assert changed.rowcount == 1
        ledger.commit()

    assert found(client, run_id) == [(hook, status, None, trigger) for hook, status, _, trigger in OBSERVED]
