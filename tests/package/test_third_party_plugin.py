"""The example of a plugin: its wheel and hookline's in a fresh environment, served over HTTP."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from package.installed import PROJECT, Environment, InstalledServer, run
from server_process import wait_until

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

EXAMPLE = PROJECT / "examples" / "third_party_plugin"

CONFIGURED = {
    "HOOKLINE_PLUGIN_WORDGUARD__BANNED_WORDS": '["swordfish"]',
    "HOOKLINE_PLUGIN_WORDGUARD__JOURNAL": "runs.jsonl",
}


def journal(directory: Path) -> dict[str, dict[str, Any]]:
    """The journal's lines by the runs' ids."""
    file = directory / "runs.jsonl"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return {line["run_id"]: line for line in lines}


def test_both_hooks_run_over_http(environment: Environment, directory: Path) -> None:
    with InstalledServer(environment, directory, env=CONFIGURED) as server:
        answered = server.ask("hello")
        rejected = server.ask("the word is Swordfish")
        assert answered.status_code == 200, answered.text
        assert rejected.status_code == 422, rejected.text
        problem = rejected.json()
        assert (problem["type"], problem["check_trigger"]) == ("/problems/run-rejected", "banned_word")
        assert "swordfish" not in rejected.text.lower()

        wait_until(lambda: len(journal(directory)) == 2, what="both lines of the journal")
        lines = journal(directory)
        statuses = {answered.json()["run_id"]: "completed", problem["run_id"]: "rejected"}
        assert {run_id: line["status"] for run_id, line in lines.items()} == statuses
        wait_until(
            lambda: {each["status"] for each in server.items("/deliveries")} == {"delivered"}, what="both deliveries"
        )
        delivered = {each["run_id"]: each for each in server.items("/deliveries")}
        assert {each["hook"] for each in delivered.values()} == {"wordguard.post_run"}
        assert {run_id: line["idempotency_key"] for run_id, line in lines.items()} == {
            run_id: each["delivery_id"] for run_id, each in delivered.items()
        }

        hooks = server.items(f"/runs/{problem['run_id']}/hooks")
        assert {(each["hook"], each["kind"], each["status"]) for each in hooks if each["plugin"] == "wordguard"} == {
            ("wordguard.pre_run", "inline", "rejected"),
            ("wordguard.post_run", "delivery", "delivered"),
        }
        assert server.terminate() in (0, -15)


def test_it_is_listed_as_what_it_is(environment: Environment, directory: Path) -> None:
    [listed] = [item for item in environment.plugins(directory) if item["name"] == "wordguard"]

    assert listed == {
        "name": "wordguard",
        "module": "hookline_wordguard",
        "distribution": "hookline-wordguard",
        "version": "1.0.0",
        "state": "active",
        "reason": None,
        "hooks": ["lifespan", "post_run", "pre_run"],
    }


def test_a_mistake_in_its_settings_is_told_at_the_start_and_closes_its_guardrail(
    environment: Environment, directory: Path
) -> None:
    (directory / "hookline.toml").write_text('[plugins.wordguard]\nbanned_word = ["swordfish"]\n')

    with InstalledServer(environment, directory) as server:
        [listed] = [item for item in server.items("/plugins") if item["name"] == "wordguard"]
        assert listed["state"] == "failed"
        assert "unknown key 'banned_word'; did you mean 'banned_words'?" in listed["reason"]
        assert server.ask("hello").status_code == 500


def test_its_own_tests_pass(environment: Environment, tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLE, tmp_path / "copy", ignore=shutil.ignore_patterns(".*", "__pycache__", "src"))

    printed = run(environment.python, "-m", "pytest", cwd=copy)

    assert " passed" in printed
    assert "skipped" not in printed
