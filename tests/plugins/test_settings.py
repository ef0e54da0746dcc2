"""Settings: their sources, their precedence, and mistakes in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr
from pydantic_settings import BaseSettings

from hookline import ConfigurationError, Settings, plugin_settings
from hookline.settings import hook_sources_of, load_settings


def write(text: str) -> None:
    Path("hookline.toml").write_text(text, encoding="utf-8")


def test_code_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write('database = "file.db"\nsse_ping = 1\nshutdown_timeout = 1.5\n')
    monkeypatch.setenv("HOOKLINE_SSE_PING", "2")
    monkeypatch.setenv("HOOKLINE_SHUTDOWN_TIMEOUT", "2")

    settings = load_settings(shutdown_timeout=3)

    assert (settings.database, settings.sse_ping, settings.shutdown_timeout) == ("file.db", 2.0, 3.0)
    assert settings.storage == "sqlite"


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKLINE_DISABLE_PLUGINS", "a, b,")
    monkeypatch.setenv("HOOKLINE_PLUGINS", "c")
    monkeypatch.setenv("HOOKLINE_REQUIRED_PLUGINS", "")

    settings = Settings()

    assert (settings.disable_plugins, settings.plugins, settings.required_plugins) == (["a", "b"], ["c"], [])


def test_the_file_has_an_allow_list_and_tables_for_plugins() -> None:
    write('allow_plugins = ["slack"]\n[plugins.slack]\nchannel = "#alerts"\n')

    assert Settings().plugins == ["slack"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("databse = 'x'", "hookline.toml: unknown key 'databse'; did you mean 'database'?"),
        ("[shutdown]\ntimeout = 3", "hookline.toml: unknown key 'shutdown'"),
        ("sse_ping = 'often'", "hookline.toml: sse_ping = 'often': input should be a valid number"),
        ("sse_ping = -1", "hookline.toml: sse_ping = -1: input should be greater than 0"),
        ("allow_plugins = 3", "hookline.toml: allow_plugins = 3: "),
        ("plugins = ['slack']", "allow_plugins = [...]"),
        ("database = ", "hookline.toml cannot be read: "),
    ],
)
def test_a_mistake_in_the_file(text: str, message: str) -> None:
    write(text)

    with pytest.raises(ConfigurationError) as raised:
        Settings()

    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HOOKLINE_SHUTDOWN_TIMEOUT", "soon", "HOOKLINE_SHUTDOWN_TIMEOUT = 'soon': input should be a valid number"),
        ("HOOKLINE_SHUTDOWN_TIMEOUT", "inf", "HOOKLINE_SHUTDOWN_TIMEOUT = 'inf': "),
        ("HOOKLINE_MAX_BODY_SIZE", "0", "HOOKLINE_MAX_BODY_SIZE = '0': "),
        ("HOOKLINE_STRICT_PLUGINS", "perhaps", "HOOKLINE_STRICT_PLUGINS = 'perhaps': "),
    ],
)
def test_a_mistake_in_a_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError) as raised:
        Settings()

    assert str(raised.value).startswith(message)


def test_a_mistake_in_code() -> None:
    with pytest.raises(ConfigurationError, match=r"Settings\(\): unknown key 'databse'; did you mean 'database'"):
        load_settings(databse="x")
    with pytest.raises(ConfigurationError, match=r"Settings\(sse_ping=...\) = 'often'"):
        load_settings(sse_ping="often")


# single hooks


NOTIFY = "support/post/notify"


def test_the_tables_of_hooks_add_up_option_by_option(monkeypatch: pytest.MonkeyPatch) -> None:
    write('[hooks."support/post/notify"]\nretries = 1\ntimeout = 1\nbackoff = 1\n[hooks."*/pre/check"]\nmode = "off"\n')
    monkeypatch.setenv(
        "HOOKLINE_HOOKS", '{"support/post/notify": {"retries": 2, "timeout": 2}, "a/pre/b": {"sample": 0}}'
    )

    settings = Settings(hooks={NOTIFY: {"retries": 3}})

    assert settings.hooks == {
        NOTIFY: {"retries": 3, "timeout": 2, "backoff": 1},
        "*/pre/check": {"mode": "off"},
        "a/pre/b": {"sample": 0},
    }
    assert hook_sources_of(settings) == {
        (NOTIFY, "retries"): "code",
        (NOTIFY, "timeout"): "HOOKLINE_HOOKS",
        (NOTIFY, "backoff"): "hookline.toml",
        ("*/pre/check", "mode"): "hookline.toml",
        ("a/pre/b", "sample"): "HOOKLINE_HOOKS",
    }


def test_without_tables_there_is_nothing_to_override() -> None:
    assert Settings().hooks == {}
    assert hook_sources_of(Settings()) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hooks = 3", "hookline.toml: hooks = 3: input should be a valid dictionary"),
        ('[hooks]\n"a/post/b" = 3', 'hookline.toml: hooks["a/post/b"] = 3: input should be a valid dictionary'),
        ("[hooks.a.post.b]\nretries = 3", 'hookline.toml [hooks."a"]: a hook is named "RUNNABLE/pre/HOOK" or'),
        ('[hooks."a/post/b"]\nretires = 3', "unknown key 'retires'; did you mean 'retries'?"),
        ('[hooks."a/post/b"]\nretries = "3"', "hookline.toml [hooks.\"a/post/b\"]: retries='3' must be 0 or more"),
        ('[hooks."a/post/b"]\nsample = 1.5', 'hookline.toml [hooks."a/post/b"]: sample=1.5 must be from 0'),
    ],
)
def test_a_mistake_in_a_hooks_table(text: str, message: str) -> None:
    write(text)

    with pytest.raises(ConfigurationError) as raised:
        Settings()

    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{a}", "HOOKLINE_HOOKS must be JSON text: "),
        ("[1]", "HOOKLINE_HOOKS = [1]: input should be a valid dictionary"),
        ('{"a/post/b": 3}', 'HOOKLINE_HOOKS["a/post/b"] = 3: input should be a valid dictionary'),
        ('{"a/post/b": {"retries": null}}', 'HOOKLINE_HOOKS["a/post/b"]: retries has no value'),
        ('{"a/post/b": {"timeout": "5"}}', "HOOKLINE_HOOKS[\"a/post/b\"]: timeout='5' must be more than 0 seconds"),
    ],
)
def test_a_mistake_in_the_variable_for_hooks(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    monkeypatch.setenv("HOOKLINE_HOOKS", value)

    with pytest.raises(ConfigurationError) as raised:
        Settings()

    assert str(raised.value).startswith(message)


def test_a_mistake_in_a_hook_given_in_code_names_the_code() -> None:
    write('[hooks."a/post/b"]\nretries = 3')

    with pytest.raises(ConfigurationError) as raised:
        Settings(hooks={"a/post/b": {"timeout": -1}})

    assert str(raised.value) == 'Settings(hooks={"a/post/b": ...}): timeout=-1 must be more than 0 seconds'


def test_the_limits_of_all_hooks_are_settings() -> None:
    write("delivery_backoff = 0\ndelivery_max_age = 3600\ncircuit_threshold = 0\ncircuit_cooldown = 5\n")

    settings = Settings()

    found = (
        settings.delivery_backoff,
        settings.delivery_max_age,
        settings.circuit_threshold,
        settings.circuit_cooldown,
    )
    assert found == (0.0, 3600.0, 0, 5.0)


# a plugin's own


class Retry(BaseModel):
    attempts: int = 3


class SlackSettings(BaseSettings):
    token: SecretStr
    channel: str = "#general"
    path: str = "none"
    retry: Retry = Retry()


def test_a_plugins_settings_come_from_the_environment_and_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    write('[plugins.my-slack]\ntoken = "file"\nchannel = "#alerts"\n[plugins.my-slack.retry]\nattempts = 4\n')
    monkeypatch.setenv("HOOKLINE_PLUGIN_MY_SLACK__TOKEN", "secret")
    monkeypatch.setenv("HOOKLINE_PLUGIN_MY_SLACK__RETRY__ATTEMPTS", "5")
    monkeypatch.setenv("PATH", "not ours")

    settings = plugin_settings("my-slack", SlackSettings)

    assert isinstance(settings, SlackSettings)
    assert settings.token.get_secret_value() == "secret"
    assert (settings.channel, settings.path, settings.retry.attempts) == ("#alerts", "none", 5)


@pytest.mark.parametrize(
    ("text", "variable", "message"),
    [
        ("", "", "token is not set: set HOOKLINE_PLUGIN_SLACK__TOKEN, or token in hookline.toml [plugins.slack]"),
        (
            "token = 'hush'\nchanel = 'x'",
            "",
            "hookline.toml [plugins.slack]: unknown key 'chanel'; did you mean 'channel'?",
        ),
        ("token = 7", "", "hookline.toml [plugins.slack]: token: input should be a valid string"),
        ("token = 'hush'", "hush", "HOOKLINE_PLUGIN_SLACK__RETRY__ATTEMPTS: input should be a valid integer"),
    ],
)
def test_a_mistake_in_a_plugins_settings_shows_no_value(
    monkeypatch: pytest.MonkeyPatch, text: str, variable: str, message: str
) -> None:
    write(f"[plugins.slack]\n{text}\n")
    if variable:
        monkeypatch.setenv("HOOKLINE_PLUGIN_SLACK__RETRY__ATTEMPTS", variable)

    with pytest.raises(ConfigurationError) as raised:
        plugin_settings("slack", SlackSettings)

    assert str(raised.value).startswith(message)
    assert "hush" not in str(raised.value)


def test_a_plugins_table_or_list_in_a_variable_is_json_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKLINE_PLUGIN_SLACK__TOKEN", "hush")
    monkeypatch.setenv("HOOKLINE_PLUGIN_SLACK__RETRY", "{")

    with pytest.raises(ConfigurationError, match=r"^HOOKLINE_PLUGIN_SLACK__RETRY must be JSON text: "):
        plugin_settings("slack", SlackSettings)
