"""A name that looks like a setting's and is none: the start says it, once, with what was meant."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fake_distributions import FakeSite
from hookline import Agent, AgentOS
from hookline.testing import ScriptedModel

COLOURS = """
    from pydantic_settings import BaseSettings
    from hookline import hookimpl

    class Settings(BaseSettings):
        shade: str = "red"
        depth: dict[str, int] = {}

    @hookimpl
    def run_event(event): ...
"""


def write(path: Path | str, text: str) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


async def warnings_at_start(caplog: pytest.LogCaptureFixture) -> list[str]:
    agent_os = AgentOS(agents=[Agent("a", model=ScriptedModel("x"))])
    with caplog.at_level(logging.WARNING, logger="hookline"):
        async with agent_os.lifespan():
            pass
    said = [record.getMessage() for record in caplog.records]
    return [text for text in said if "did you mean" in text or "nothing reads it" in text]


@pytest.mark.parametrize(
    ("variable", "warning"),
    [
        ("HOOKLINE_DATABSE", "HOOKLINE_DATABSE is no setting; did you mean HOOKLINE_DATABASE?"),
        ("HOOKLINE_HOOKS__A", "HOOKLINE_HOOKS__A is no setting; did you mean HOOKLINE_HOOKS?"),
        (
            "HOOKLINE_PLUGIN_COLOURS__SHAED",
            "HOOKLINE_PLUGIN_COLOURS__SHAED is no setting; did you mean HOOKLINE_PLUGIN_COLOURS__SHADE?",
        ),
        ("HOOKLINE_ZZZ_QQQ_WWW", "HOOKLINE_ZZZ_QQQ_WWW is no setting; nothing reads it: remove it"),
    ],
)
async def test_the_start_names_a_misspelt_variable(
    site: FakeSite, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, variable: str, warning: str
) -> None:
    site.install("colours", COLOURS)
    monkeypatch.setenv(variable, "1")

    assert await warnings_at_start(caplog) == [warning]


async def test_the_start_names_a_table_for_nobody(caplog: pytest.LogCaptureFixture) -> None:
    write("hookline.toml", "[plugins.fastpai]\naccess_log = false\n")

    assert await warnings_at_start(caplog) == [
        "hookline.toml: [plugins.fastpai] is for a plugin that is not installed; did you mean [plugins.fastapi]?"
    ]


async def test_the_start_is_silent_about_what_is_read(
    site: FakeSite, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("colours", COLOURS)
    for variable in (
        "HOOKLINE_APP",
        "HOOKLINE_PLUGIN_COLOURS__SHADE",
        "HOOKLINE_PLUGIN_COLOURS__DEPTH__X",
        "hookline_sse_ping",
    ):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("HOOKLINE_HOOKS", "{}")

    assert await warnings_at_start(caplog) == []


async def test_a_plugin_whose_settings_cannot_be_imported_stops_nobody(
    site: FakeSite, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        site.folder / "fake_colours" / "__init__.py", "from hookline import hookimpl\n@hookimpl\ndef run_event(): ...\n"
    )
    write(site.folder / "fake_colours" / "settings.py", "1 / 0\n")
    site.modules += ["fake_colours", "fake_colours.settings"]
    site.install("colours")
    monkeypatch.setenv("HOOKLINE_PLUGIN_COLOURS__SHADE", "red")

    assert await warnings_at_start(caplog) == []
