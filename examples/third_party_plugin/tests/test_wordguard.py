"""The plugin as a server uses it: what it rejects, what it writes down, and what it does with wrong settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hookline import PluginError
from hookline.testing import ManualClock, Recorder, RunningAgentOS

JOURNAL = "wordguard.post_run"
"""The background hook, by the name that the ledger has for it."""


def journal() -> list[dict[str, Any]]:
    file = Path("runs.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("the password is Swordfish!", "rejected"),
        ("say OPEN SESAME", "rejected"),
        ("swordfishes are fish", "completed"),
        ("open the sesame", "completed"),
    ],
)
def test_banned_words_are_whole_words(agent_os: RunningAgentOS, message: str, status: str) -> None:
    assert agent_os.run("parrot", message).status == status


def test_a_client_reads_that_it_was_rejected_but_not_why(client: httpx2.Client) -> None:
    response = client.post("/agents/parrot/runs", data={"message": "say swordfish"})

    assert (response.status_code, response.json()["check_trigger"]) == (422, "banned_word")
    assert "swordfish" not in response.text


def test_every_run_gets_a_line_in_the_journal(
    client: httpx2.Client, agent_os: RunningAgentOS, recorder: Recorder
) -> None:
    for message in ("hello", "swordfish"):
        client.post("/agents/parrot/runs", data={"message": message})
    agent_os.drain()

    assert [(line["run_id"], line["status"]) for line in journal()] == [
        (run.run_id, run.status) for run in recorder.runs
    ]
    assert [line["idempotency_key"] for line in journal()] == [each.delivery_id for each in recorder.deliveries]
    assert {(line["runnable"], line["attempt"]) for line in journal()} == {("parrot", 1)}


def test_a_line_that_cannot_be_written_is_written_later(
    agent_os: RunningAgentOS, clock: ManualClock, recorder: Recorder
) -> None:
    Path("runs.jsonl").mkdir()  # where the file should be
    agent_os.run("parrot", "hello")
    agent_os.drain()
    assert [(call.outcome, call.error and call.error.type) for call in recorder.calls(JOURNAL)] == [
        ("failed", "IsADirectoryError")
    ]

    Path("runs.jsonl").rmdir()
    clock.advance(300)  # more than the longest backoff
    agent_os.drain()

    assert [call.outcome for call in recorder.calls(JOURNAL)] == ["failed", "delivered"]
    [delivery], [line] = recorder.deliveries, journal()
    assert (line["attempt"], line["idempotency_key"]) == (2, delivery.idempotency_key)


def test_what_was_given_up_can_be_redriven(agent_os: RunningAgentOS, clock: ManualClock) -> None:
    Path("runs.jsonl").mkdir()
    agent_os.run("parrot", "hello")
    for _ in range(4):
        agent_os.drain()
        clock.advance(300)
    [dead] = agent_os.deliveries(status="dead")

    Path("runs.jsonl").rmdir()
    agent_os.redrive(dead)
    agent_os.drain()

    assert [line["idempotency_key"] for line in journal()] == [dead.idempotency_key]


@pytest.mark.parametrize("table", [""])
def test_without_settings_it_does_nothing(agent_os: RunningAgentOS) -> None:
    assert agent_os.run("parrot", "swordfish").status == "completed"
    agent_os.drain()

    assert journal() == []


@pytest.mark.parametrize("table", ['banned_word = ["swordfish"]', 'banned_words = [" "]', "journal = 7"])
def test_a_wrong_setting_stops_the_start(request: pytest.FixtureRequest) -> None:
    """It is needed, because it is given in code; one that is only installed would be `failed` and reject every run."""
    with pytest.raises(PluginError, match=r"plugin 'wordguard' is failed: .*\[plugins\.wordguard\]"):
        request.getfixturevalue("agent_os")


def test_importing_it_imports_nothing_heavy() -> None:
    script = "import sys, hookline_wordguard; print('pydantic_settings' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
