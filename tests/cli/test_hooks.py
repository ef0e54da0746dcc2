"""Hooks in the settings: what `hookline hooks` and `hookline config` tell of them, and mistakes in one line."""

from __future__ import annotations

import json

import pytest

from command_line import CommandLine

TABLES = """
[hooks."a/post/write_report"]
retries = 9
max_age = inf

[hooks."*/post/log_run"]
sample = 0.5

[hooks."a/pre/be_polite"]
mode = "observe"
"""


def test_the_values_in_force_are_listed_with_what_the_settings_said(hookline: CommandLine, app: str) -> None:
    hookline.write("hookline.toml", TABLES)
    hookline.env = {"HOOKLINE_HOOKS": json.dumps({"a/post/write_report": {"retries": 4}})}

    polite, report, log = hookline("hooks", "--app", app, "--json").json["items"]

    assert (polite["guardrail_mode"], polite["from_settings"]) == ("observe", ["mode"])
    assert (report["retries"], report["timeout"], report["max_age"]) == (4, 7, None)
    assert report["from_settings"] == ["max_age", "retries"]
    assert (log["sample"], log["from_settings"]) == (0.5, ["sample"])


def test_the_table_has_only_columns_that_say_something(hookline: CommandLine, app: str) -> None:
    plain = hookline("hooks", "--app", app).stdout.splitlines()
    hookline.write("hookline.toml", TABLES)
    told = hookline("hooks", "--app", app).stdout.splitlines()

    assert "SAMPLE" not in plain[0]
    assert "FROM SETTINGS" not in plain[0]
    assert "enforce" in plain[1]
    assert "20 / 60" in plain[2]
    assert "SAMPLE" in told[0]
    assert "observe" in told[1]
    assert told[2].rstrip().endswith("max_age, retries")
    assert told[3].rstrip().endswith("sample")


def test_config_tells_where_each_option_is_from(hookline: CommandLine, app: str) -> None:
    hookline.write("hookline.toml", TABLES)
    hookline.write(
        "own.py",
        "from app import agent\nfrom hookline import AgentOS, Settings\n"
        "hooks = {'a/post/write_report': {'timeout': 3}}\n"
        "agent_os = AgentOS(agents=[agent], settings=Settings(hooks=hooks))\n",
    )
    hookline.env = {"HOOKLINE_HOOKS": json.dumps({"a/post/write_report": {"retries": 4}})}

    items = hookline("config", "--app", "own:agent_os", "--json").json["items"]

    assert {item["setting"]: (item["value"], item["source"]) for item in items if "hooks." in item["setting"]} == {
        'hooks."a/post/write_report".timeout': (3, "code"),
        'hooks."a/post/write_report".retries': (4, "HOOKLINE_HOOKS"),
        'hooks."a/post/write_report".max_age': ("inf", "hookline.toml"),
        'hooks."*/post/log_run".sample': (0.5, "hookline.toml"),
        'hooks."a/pre/be_polite".mode': ("observe", "hookline.toml"),
    }
    assert "circuit_threshold" in {item["setting"] for item in items}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[hooks."a/post/write_reprot"]\nretries = 1',
            'hookline.toml [hooks."a/post/write_reprot"]: there is no such hook; did you mean "a/post/write_report"?',
        ),
        (
            '[hooks."a/post/log_run"]\nmode = "off"',
            "hookline.toml [hooks.\"a/post/log_run\"]: 'log_run' is no guardrail, which mode='off' is for",
        ),
        (
            '[hooks."a/pre/be_polite"]\nsample = 0.1',
            "hookline.toml [hooks.\"a/pre/be_polite\"]: 'be_polite' is a guardrail, which must look at every run",
        ),
        (
            '[hooks."a/post/log_run"]\nretires = 1',
            "hookline.toml [hooks.\"a/post/log_run\"]: unknown key 'retires'; did you mean 'retries'?",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(
    hookline: CommandLine, app: str, text: str, message: str
) -> None:
    hookline.write("hookline.toml", text)

    done = hookline("hooks", "--app", app)

    assert done.status == 1
    assert message in done.error
