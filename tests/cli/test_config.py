"""`hookline config`: every setting with its source, and no secret."""

from __future__ import annotations

from typing import Any

import pytest

from command_line import CommandLine
from fake_distributions import FakeSite
from hookline.cli.masking import MASK, masked

SLACK = """
    from pydantic import SecretStr
    from pydantic_settings import BaseSettings
    from hookline import hookimpl

    class Settings(BaseSettings):
        channel: str = "#general"
        webhook: SecretStr | None = None
        signing_key: str = ""
        retries: int = 3
        headers: dict[str, str] = {}

    @hookimpl
    def run_event(event): ...
"""


def listed(hookline: CommandLine, *arguments: str) -> dict[str, tuple[Any, str]]:
    done = hookline("config", "--json", *arguments)
    assert done.status == 0, done.stderr
    assert done.json["next_cursor"] is None
    return {item["setting"]: (item["value"], item["source"]) for item in done.json["items"]}


def test_each_source_is_named(hookline: CommandLine, app: str) -> None:
    hookline.write(
        "hookline.toml",
        "database = 'file.db'\nsse_ping = 1\nallow_plugins = ['fastapi', 'sql', 'demo']\n"
        "[plugins.fastapi]\naccess_log = false\n",
    )
    hookline.write(
        "own.py",
        "from app import agent\nfrom hookline import AgentOS, Settings\n"
        "agent_os = AgentOS(agents=[agent], settings=Settings(delivery_retries=7))\n",
    )
    hookline.env = {
        "HOOKLINE_SSE_PING": "2",
        "hookline_hook_threads": "9",
        "HOOKLINE_TOOL_THREADS": "",
        "HOOKLINE_PLUGIN_FASTAPI__CORS_ORIGINS": '["*"]',
    }

    settings = listed(hookline)

    assert settings["database"] == ("file.db", "hookline.toml")
    assert settings["sse_ping"] == (2.0, "HOOKLINE_SSE_PING")
    assert settings["hook_threads"] == (9, "hookline_hook_threads")
    assert settings["tool_threads"] == (40, "default")
    assert settings["allow_plugins"] == (["fastapi", "sql", "demo"], "hookline.toml")
    assert settings["plugins.fastapi.access_log"] == (False, "hookline.toml")
    assert settings["plugins.fastapi.cors_origins"] == (["*"], "HOOKLINE_PLUGIN_FASTAPI__CORS_ORIGINS")
    assert listed(hookline, "--app", "own:agent_os")["delivery_retries"] == (7, "code")


def test_the_table_is_for_people(hookline: CommandLine) -> None:
    table = hookline("config").stdout.splitlines()

    assert table[0].split() == ["SETTING", "VALUE", "SOURCE"]
    rows = {line.split()[0]: line.split()[1:] for line in table[1:]}
    assert rows["database"] == ["hookline.db", "default"]
    assert rows["strict_plugins"] == ["false", "default"]
    assert rows["allow_plugins"] == ["null", "default"]


def test_no_secret_is_printed(hookline: CommandLine, site: FakeSite) -> None:
    site.install("slack", SLACK)
    hookline.write(
        "hookline.toml",
        "[plugins.slack]\nwebhook = 'geheim-1'\nsigning_key = 'geheim-2'\n"
        "[plugins.slack.headers]\nAuthorization-Token = 'geheim-3'\naccept = 'text'\n",
    )
    hookline.env.update(
        HOOKLINE_DATABASE="postgresql://me:geheim-4@db.example/ledger?sslpassword=geheim-5&x=1",
        HOOKLINE_API_KEYS="geheim-6,geheim-7",
        HOOKLINE_PLUGIN_SLACK__CHANNEL="#alerts",
    )

    settings = listed(hookline)

    assert settings["plugins.slack.channel"] == ("#alerts", "HOOKLINE_PLUGIN_SLACK__CHANNEL")
    assert settings["plugins.slack.webhook"] == (MASK, "hookline.toml")
    assert settings["plugins.slack.signing_key"] == (MASK, "hookline.toml")
    assert settings["plugins.slack.headers"] == ({"Authorization-Token": MASK, "accept": "text"}, "hookline.toml")
    assert settings["plugins.slack.retries"] == (3, "default")
    assert settings["database"][0] == f"postgresql://{MASK}@db.example/ledger?sslpassword={MASK}&x=1"
    assert settings["api_keys"] == ([MASK, MASK], "HOOKLINE_API_KEYS")
    assert "geheim" not in hookline("config").stdout


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("api_key", "x", MASK),
        ("api_key", "", ""),
        ("api_key", None, None),
        ("SENTRY_DSN", "x", MASK),
        ("access_token", ["x", ""], [MASK, ""]),
        ("max_tokens", 500, 500),
        ("credentials", {"user": "x"}, {"user": MASK}),
        ("url", "https://example.com/a?b=c", "https://example.com/a?b=c"),
        ("url", "https://token@example.com/", f"https://{MASK}@example.com/"),
        ("url", "redis://:p/w@d@host/0", f"redis://{MASK}@host/0"),
    ],
)
def test_what_is_a_secret(name: str, value: object, shown: object) -> None:
    assert masked(name, value) == shown


def test_a_plugin_without_a_settings_model_shows_what_is_given(hookline: CommandLine, site: FakeSite) -> None:
    site.install("x-y", "from hookline import hookimpl\n@hookimpl\ndef run_event(event): ...\n", module="fake_x_y")
    hookline.write("hookline.toml", "[plugins.x-y]\ncolour = 'red'\nsize = 1\n")
    hookline.env |= {"HOOKLINE_PLUGIN_X_Y__SIZE": "2", "HOOKLINE_PLUGIN_X_Y__PASSWORD": "geheim"}

    settings = listed(hookline)

    assert settings["plugins.x-y.colour"] == ("red", "hookline.toml")
    assert settings["plugins.x-y.size"] == ("2", "HOOKLINE_PLUGIN_X_Y__SIZE")
    assert settings["plugins.x-y.password"] == (MASK, "HOOKLINE_PLUGIN_X_Y__PASSWORD")


@pytest.mark.parametrize(
    ("variable", "warning"),
    [
        ("HOOKLINE_DATABSE", "HOOKLINE_DATABSE is no setting; did you mean HOOKLINE_DATABASE?"),
        ("HOOKLINE_ALLOW_PLUGIN", "HOOKLINE_ALLOW_PLUGIN is no setting; did you mean HOOKLINE_PLUGINS?"),
        (
            "HOOKLINE_PLUGIN_FASTAPI_ACCESS_LOG",
            "HOOKLINE_PLUGIN_FASTAPI_ACCESS_LOG is no setting; did you mean HOOKLINE_PLUGIN_FASTAPI__ACCESS_LOG?",
        ),
        (
            "HOOKLINE_PLUGIN_FASTAPI__ACESS_LOG",
            "HOOKLINE_PLUGIN_FASTAPI__ACESS_LOG is no setting; did you mean HOOKLINE_PLUGIN_FASTAPI__ACCESS_LOG?",
        ),
        ("HOOKLINE_ZZZ_QQQ_WWW", "HOOKLINE_ZZZ_QQQ_WWW is no setting; nothing reads it: remove it"),
    ],
)
def test_a_misspelt_variable_is_named(hookline: CommandLine, variable: str, warning: str) -> None:
    hookline.env = {variable: "1"}

    done = hookline("config", "--json")

    assert done.status == 0
    assert done.stderr == f"Warning: {warning}\n"


def test_variables_that_are_read_are_not_named(hookline: CommandLine, app: str) -> None:
    hookline.env = {
        "HOOKLINE_APP": app,
        "HOOKLINE_PLUGIN_OPENAI__ANYTHING": "1",
        "hookline_plugin_fastapi__access_log": "0",
        "HOOKLINE_DISABLE_PLUGINS": "demo",
        "HOOKLINE_PLUGIN_DEMO__ANYTHING": "1",
    }
    hookline.write(
        "app.py",
        "from hookline import Agent, AgentOS\nfrom hookline.testing import ScriptedModel\n"
        "agent_os = AgentOS(agents=[Agent('a', model=ScriptedModel('x'))])\n",
    )

    assert hookline("config").stderr == ""


def test_a_table_for_a_plugin_that_is_not_there_is_named(hookline: CommandLine) -> None:
    hookline.write("hookline.toml", "[plugins.fastpai]\naccess_log = false\n")

    assert hookline("config").stderr == (
        "Warning: hookline.toml: [plugins.fastpai] is for a plugin that is not installed; "
        "did you mean [plugins.fastapi]?\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("databse = 'x'\n", "hookline.toml: unknown key 'databse'; did you mean 'database'?"),
        ("[plugins.fastapi]\naccess_log = 'x'\n", "hookline.toml [plugins.fastapi]: access_log: "),
        ("[plugins.fastapi]\naces_log = 1\n", "unknown key 'aces_log'; did you mean 'access_log'?"),
    ],
)
def test_a_wrong_setting_is_one_line(hookline: CommandLine, text: str, message: str) -> None:
    hookline.write("hookline.toml", text)

    done = hookline("config")

    assert done.status == 1
    assert message in done.error
