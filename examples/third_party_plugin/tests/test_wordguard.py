"""The plugin as a server uses it: what it rejects, what it writes down, and what it does with wrong settings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import hookline_wordguard
from hookline import Agent, AgentOS, PluginError, RunOutput
from hookline.testing import ScriptedModel


@pytest.fixture
def anyio_backend() -> str:
    """hookline runs on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory, for the settings, the database and the journal."""
    monkeypatch.chdir(tmp_path)
    hookline_wordguard.read_settings.cache_clear()
    yield
    hookline_wordguard.read_settings.cache_clear()


def configure(table: str) -> None:
    """Write the plugin's own table of `hookline.toml`."""
    Path("hookline.toml").write_text(f"[plugins.wordguard]\n{table}\n", encoding="utf-8")


@asynccontextmanager
async def serving() -> AsyncIterator[Callable[[str], Awaitable[RunOutput]]]:
    """Serve an agent with the plugin, without HTTP; gives a function that asks it and waits for the deliveries."""
    agent = Agent("parrot", model=ScriptedModel("fine", repeat=True))
    agent_os = AgentOS(agents=[agent], plugins=[hookline_wordguard])
    async with agent_os.lifespan():

        async def ask(message: str) -> RunOutput:
            run = agent_os.start_run(agent, message)
            output = await run.finished()
            run.hand_over()
            await agent_os.drain()
            return output

        yield ask


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
async def test_banned_words_are_whole_words(message: str, status: str) -> None:
    configure('banned_words = ["swordfish", "open sesame"]')

    async with serving() as ask:
        output = await ask(message)

    assert output.status == status


async def test_every_run_gets_a_line_in_the_journal() -> None:
    configure('banned_words = ["swordfish"]\njournal = "runs.jsonl"')

    async with serving() as ask:
        outputs = [await ask("hello"), await ask("swordfish")]

    lines = journal()
    assert [(line["run_id"], line["status"]) for line in lines] == [
        (outputs[0].run_id, "completed"),
        (outputs[1].run_id, "rejected"),
    ]
    assert len({line["idempotency_key"] for line in lines}) == 2
    assert {(line["runnable"], line["attempt"]) for line in lines} == {("parrot", 1)}


async def test_without_settings_it_does_nothing() -> None:
    async with serving() as ask:
        output = await ask("swordfish")

    assert output.status == "completed"
    assert journal() == []


@pytest.mark.parametrize("table", ['banned_word = ["swordfish"]', 'banned_words = [" "]', "journal = 7"])
async def test_a_wrong_setting_stops_the_start(table: str) -> None:
    """It is needed, because it is given in code; one that is only installed would be `failed` and reject every run."""
    configure(table)

    with pytest.raises(PluginError, match=r"plugin 'wordguard' is failed: .*\[plugins\.wordguard\]"):
        async with serving():
            pass


def test_importing_it_imports_nothing_heavy() -> None:
    script = "import sys, hookline_wordguard; print('pydantic_settings' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
