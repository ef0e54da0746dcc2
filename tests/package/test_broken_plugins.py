"""Broken and blocked plugins among good ones: what the command line and the server say of each."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from package.broken_plugins import BROKEN, BrokenPlugin
from package.installed import Environment, InstalledServer, clean_environment, write_app

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

GUARDED = {"HOOKLINE_PLUGIN_WORDGUARD__BANNED_WORDS": '["swordfish"]'}


@pytest.fixture(scope="module")
def listings(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The plugins, as the command line and the server list them."""
    directory = tmp_path_factory.mktemp("served")
    write_app(directory)
    with InstalledServer(environment, directory) as server:
        return {"command line": environment.plugins(directory), "server": server.items("/plugins")}


@pytest.mark.parametrize("source", ["command line", "server"])
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.distribution)
def test_a_broken_plugin_is_listed_with_its_state_and_reason(
    listings: dict[str, list[dict[str, Any]]], broken: BrokenPlugin, source: str
) -> None:
    [listed] = [item for item in listings[source] if item["distribution"] == broken.distribution]

    assert (listed["name"], listed["module"], listed["version"]) == (broken.plugin, broken.module, "1.0")
    assert listed["state"] == broken.state
    assert broken.reason in listed["reason"]
    assert listed["hooks"] == []


def test_the_others_are_active_all_the_same(listings: dict[str, list[dict[str, Any]]]) -> None:
    assert listings["command line"] == listings["server"]
    active = {item["name"] for item in listings["server"] if item["state"] == "active"}
    assert active >= {"demo", "fastapi", "openai", "sql", "wordguard"}
    assert len(listings["server"]) == len(active) + len(BROKEN)


@pytest.mark.parametrize(
    ("arguments", "env", "told"),
    [
        (["--strict-plugins"], {}, "plugin "),
        ([], {"HOOKLINE_REQUIRED_PLUGINS": "misspelt"}, "plugin 'misspelt' is refused: there is no hook 'post_rum'"),
        ([], {"HOOKLINE_REQUIRED_PLUGINS": "wordgard"}, "'wordgard' is required and not installed; did you mean"),
    ],
)
def test_strict_and_required_plugins_stop_the_start(
    environment: Environment, directory: Path, arguments: list[str], env: dict[str, str], told: str
) -> None:
    done = subprocess.run(
        [environment.hookline, "serve", "app:agent_os", "--port", "0", *arguments],
        cwd=directory,
        env={**clean_environment(), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: plugin ")


@dataclass(frozen=True, slots=True)
class Blocking:
    """A way of blocking a plugin: by the command line, the environment, the file, or in code."""

    reason: str
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    code: str = ""


DISABLED = "it is disabled by disable_plugins, HOOKLINE_DISABLE_PLUGINS or -p no:wordguard"
NOT_ALLOWED = "it is not in the list of allowed plugins (HOOKLINE_PLUGINS, allow_plugins)"

WAYS = {
    "option": Blocking(DISABLED, arguments=("-p", "no:wordguard")),
    "disabled by variable": Blocking(DISABLED, env={"HOOKLINE_DISABLE_PLUGINS": "crash,wordguard"}),
    "disabled in the file": Blocking(DISABLED, file='disable_plugins = ["wordguard"]'),
    "disabled in code": Blocking(DISABLED, code='disable_plugins=["wordguard"]'),
    "not allowed by variable": Blocking(NOT_ALLOWED, env={"HOOKLINE_PLUGINS": "fastapi,sql,demo"}),
    "not allowed in the file": Blocking(NOT_ALLOWED, file='allow_plugins = ["fastapi", "sql", "demo"]'),
    "not allowed in code": Blocking(NOT_ALLOWED, code='plugins=["fastapi", "sql", "demo"]'),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_each_way_of_blocking(environment: Environment, directory: Path, way: Blocking) -> None:
    write_app(directory, way.code)
    (directory / "hookline.toml").write_text(f"{way.file}\n")
    env = {**GUARDED, **way.env}

    listed = environment.plugins(directory, "--app", "app:agent_os", *way.arguments, env=env)
    with InstalledServer(environment, directory, *way.arguments, env=env) as server:
        assert server.items("/plugins") == listed
        assert server.ask("swordfish").status_code == 200

    [blocked] = [item for item in listed if item["name"] == "wordguard"]
    assert (blocked["state"], blocked["reason"], blocked["hooks"]) == ("blocked", way.reason, [])
    assert {item["state"] for item in listed if item["name"] in ("fastapi", "sql")} == {"active"}


def test_unless_it_is_blocked_it_guards(environment: Environment, directory: Path) -> None:
    with InstalledServer(environment, directory, env=GUARDED) as server:
        assert server.ask("swordfish").status_code == 422
