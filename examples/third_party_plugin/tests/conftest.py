"""What is tested, and how it is set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import hookline_wordguard
from hookline import Agent, AgentOS
from hookline.testing import ScriptedModel


@pytest.fixture
def hookline_app() -> AgentOS:
    """An agent that always says `fine`, with the plugin; hookline's own fixtures run it."""
    return AgentOS(agents=[Agent("parrot", model=ScriptedModel("fine", repeat=True))], plugins=[hookline_wordguard])


@pytest.fixture
def table() -> str:
    """The plugin's own table of `hookline.toml`; a test that wants another one is parametrized with it."""
    return 'banned_words = ["swordfish", "open sesame"]\njournal = "runs.jsonl"'


@pytest.fixture(autouse=True)
def _own_directory(table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working directory of the test's own, with the settings, before the AgentOS is started."""
    monkeypatch.chdir(tmp_path)
    Path("hookline.toml").write_text(f"[plugins.wordguard]\n{table}\n", encoding="utf-8")
    hookline_wordguard.read_settings.cache_clear()
    yield
    hookline_wordguard.read_settings.cache_clear()
