"""`hookline plugins`, and the commands that plugins add."""

from __future__ import annotations

from typing import Any

from command_line import CommandLine
from fake_distributions import FakeSite

GREET = """
    import click
    from hookline import hookimpl

    @click.command()
    @click.argument("name")
    def greet(name):
        click.echo(f"hello {name}")

    @click.command()
    def serve():
        click.echo("taken over")

    @hookimpl
    def commands():
        return [greet, serve]
"""


OWN = """
from app import agent
from hookline import AgentOS, hookimpl

class Own:
    plugin_name = 'own'
    @hookimpl
    def run_event(self, event): ...

agent_os = AgentOS(agents=[agent], plugins=[Own()])
"""


def by_name(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in items}


def test_the_bundled_plugins_are_active(hookline: CommandLine) -> None:
    done = hookline("plugins", "--json")

    assert done.status == 0
    assert done.json["next_cursor"] is None
    plugins = by_name(done.json["items"])
    assert {"fastapi", "sql", "openai", "demo"} <= set(plugins)
    assert {plugins[name]["state"] for name in ("fastapi", "sql", "openai", "demo")} == {"active"}
    assert plugins["sql"]["hooks"] == ["storages"]
    assert plugins["sql"]["module"] == "hookline_sql"
    assert plugins["sql"]["distribution"] == "hookline"


def test_a_broken_plugin_is_listed_with_its_reason(hookline: CommandLine, site: FakeSite) -> None:
    site.install("x", "import no_such_library", requires=["no-such-library; extra == 'all'"])

    listed = hookline("plugins")
    shown = hookline("plugins", "x")

    assert listed.stderr == ""
    line = next(line for line in listed.stdout.splitlines() if line.startswith("x "))
    assert "unavailable" in line
    assert line.rstrip().endswith('pip install "fake-x[all]"')
    assert shown.stdout.splitlines()[:2] == ["name          x", "module        fake_x"]
    assert hookline("plugins", "x", "--json").json["items"][0]["state"] == "unavailable"


def test_an_unknown_plugin_is_a_failure(hookline: CommandLine) -> None:
    done = hookline("plugins", "dmeo")

    assert done.status == 1
    assert done.error == "Error: no plugin is named 'dmeo'; did you mean 'demo'?"


def test_each_way_of_blocking(hookline: CommandLine) -> None:
    assert by_name(hookline("plugins", "-p", "no:demo", "--json").json["items"])["demo"]["state"] == "blocked"
    hookline.env = {"HOOKLINE_DISABLE_PLUGINS": "demo"}
    blocked = by_name(hookline("plugins", "-p", "no:openai", "--json").json["items"])
    assert (blocked["demo"]["state"], blocked["openai"]["state"], blocked["sql"]["state"]) == (
        "blocked",
        "blocked",
        "active",
    )
    hookline.env = {"HOOKLINE_PLUGINS": "demo"}
    allowed = by_name(hookline("plugins", "--json").json["items"])
    assert (allowed["demo"]["state"], allowed["sql"]["state"]) == ("active", "blocked")
    assert hookline("plugins", "-p", "demo").status == 2


def test_plugins_given_in_code_are_listed_with_app(hookline: CommandLine, app: str) -> None:
    hookline.write("own.py", OWN)

    assert "own" not in by_name(hookline("plugins", "--json").json["items"])
    assert by_name(hookline("plugins", "--app", "own:agent_os", "--json").json["items"])["own"]["state"] == "active"


def test_the_app_may_come_from_the_environment(hookline: CommandLine, app: str) -> None:
    hookline.write("own.py", OWN)
    hookline.env = {"HOOKLINE_APP": "own:agent_os"}

    assert hookline("plugins", "own").status == 0
    hookline.env = {"HOOKLINE_APP": "won:agent_os"}
    done = hookline("plugins", "sql")
    assert (done.status, done.stdout.splitlines()[0]) == (0, "name          sql")
    assert done.stderr.startswith("Warning: these are the installed plugins alone: there is no module 'won'")
    assert hookline("plugins", "sql", "--app", "won:agent_os").status == 1


def test_blocking_an_unknown_plugin_is_said(hookline: CommandLine) -> None:
    told = "Warning: disable_plugins names the plugin 'dmeo', which is not installed; did you mean 'demo'?\n"

    assert hookline("plugins", "-p", "no:dmeo").stderr == told
    hookline.write("hookline.toml", "disable_plugins = ['dmeo']\n")
    assert hookline("plugins").stderr == told


def test_plugins_add_commands(hookline: CommandLine, site: FakeSite) -> None:
    site.install("x", GREET)

    assert hookline("greet", "you").stdout == "hello you\n"
    help_text = hookline("--help")
    assert "greet" in help_text.stdout
    assert "the command 'serve' exists already" in help_text.stderr
    assert "taken over" not in hookline("serve").stdout


def test_hooklines_own_commands_load_no_plugin(hookline: CommandLine, site: FakeSite) -> None:
    site.install("x", "print('imported')")

    assert "imported" not in hookline("serve", "--help").stdout
    assert hookline("--version").stdout.startswith("hookline ")
    assert "imported" in hookline("--help").stdout


def test_an_unknown_command_is_a_usage_error(hookline: CommandLine) -> None:
    assert hookline("sevre").status == 2


def test_help_survives_wrong_settings_and_commands_say_what_is_wrong(hookline: CommandLine) -> None:
    hookline.write("hookline.toml", "databse = 'x'\n")

    help_text = hookline("--help")
    assert help_text.status == 0
    assert "deliveries" in help_text.stdout
    assert "did you mean 'database'" in help_text.stderr
    done = hookline("plugins")
    assert done.status == 1
    assert done.error == "Error: hookline.toml: unknown key 'databse'; did you mean 'database'?"
