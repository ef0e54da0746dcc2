"""`--app module:agent_os`: found, or what is wrong with it in one line."""

from __future__ import annotations

import pytest

from command_line import CommandLine


def test_hooks_prints_the_plan(hookline: CommandLine, app: str) -> None:
    done = hookline("hooks", "--app", app, "--json")

    assert done.status == 0, done.stderr
    assert [(item["phase"], item["position"], item["hook"], item["mode"]) for item in done.json["items"]] == [
        ("pre", 0, "be_polite", "inline"),
        ("post", 0, "write_report", "background"),
        ("post", 1, "log_run", "inline"),
    ]
    assert done.json["items"][1] == {
        "runnable": "a",
        "phase": "post",
        "position": 0,
        "hook": "write_report",
        "source": "runnable",
        "mode": "background",
        "guardrail": False,
        "guardrail_mode": None,
        "timeout": 7,
        "retries": 1,
        "backoff": 1.0,
        "max_age": None,
        "concurrency": None,
        "circuit_threshold": 20,
        "circuit_cooldown": 60.0,
        "sample": 1.0,
        "on": ["completed"],
        "from_settings": [],
    }


def test_the_app_comes_from_the_environment_and_may_be_the_application(hookline: CommandLine, app: str) -> None:
    hookline.env = {"HOOKLINE_APP": "app:app"}

    table = hookline("hooks").stdout

    assert table.splitlines()[0].split()[:4] == ["RUNNABLE", "PHASE", "POSITION", "HOOK"]
    assert "write_report" in table


def test_without_an_app_it_is_a_usage_error(hookline: CommandLine) -> None:
    done = hookline("hooks")

    assert done.status == 2
    assert "--app module:agent_os" in done.stderr


@pytest.mark.parametrize("reference", ["app", "app:", ":agent_os", "app.py:agent_os", "./app:agent_os"])
@pytest.mark.parametrize("command", [["hooks", "--app"], ["serve"], ["run", "a", "hello", "--app"]])
def test_a_wrong_form_is_a_usage_error(hookline: CommandLine, app: str, command: list[str], reference: str) -> None:
    done = hookline(*command, reference)

    assert done.status == 2
    assert "app:agent_os" in done.stderr


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("ap:agent_os", "there is no module 'ap' in "),
        ("app.inner:agent_os", "'app.inner'"),
        ("app:agent_so", "app has no attribute 'agent_so'; did you mean app:agent_os?"),
        ("app:something_else", "app:something_else is of the class int: name an AgentOS"),
        ("app:agent", "app:agent is of the class Agent: name an AgentOS"),
        ("app:AgentOS", "app:AgentOS is the class AgentOS: name an AgentOS"),
        ("broken:agent_os", "broken.py:3: ZeroDivisionError: division by zero"),
        ("syntax:agent_os", "syntax.py:2: SyntaxError"),
        ("missing:agent_os", "missing.py:1: No module named 'no_such_library': install it"),
        ("double:agent_os", "double.py:3: AgentOS: two agents have the id 'a'"),
        ("marked:agent_os", "marked.py:3: hook 'report': retries='3' must be 0 or more, a whole number"),
        ("nameless:agent_os", "nameless.py:4: hook: retries='3' must be 0 or more"),
        ("exiting:agent_os", "exiting.py:2: exiting ends the process when it is imported (bye)"),
    ],
)
@pytest.mark.parametrize("command", [["hooks", "--app"], ["serve"], ["run", "a", "hello", "--app"]])
def test_what_cannot_be_imported_is_one_line(
    hookline: CommandLine, app: str, command: list[str], reference: str, message: str
) -> None:
    hookline.write("broken.py", "def divide():\n    # by zero\n    return 1 / 0\n\nagent_os = divide()\n")
    hookline.write("syntax.py", "value = 1\nagent_os = = 2\n")
    hookline.write("exiting.py", "import sys\nsys.exit('bye')\n")
    hookline.write("marked.py", "from hookline import hook\n\n@hook(name='report', retries='3')\ndef report(): ...\n")
    (hookline.directory / "venv" / "site-packages").mkdir(parents=True)
    hookline.write("venv/site-packages/library.py", "import hookline\ndef mark(): return hookline.hook(retries='3')\n")
    hookline.write(
        "nameless.py", "import sys\nsys.path.insert(0, 'venv/site-packages')\nimport library\nmark = library.mark()\n"
    )
    hookline.write("missing.py", "import no_such_library\n")
    hookline.write(
        "double.py", "from app import agent\nfrom hookline import AgentOS\nagent_os = AgentOS(agents=[agent, agent])\n"
    )

    done = hookline(*command, reference)

    assert done.status == 1
    assert message in done.error


def test_a_plan_that_cannot_work_is_one_line(hookline: CommandLine) -> None:
    hookline.write(
        "app.py",
        "from hookline import Agent, AgentOS\nfrom hookline_demo import DemoModel\n"
        "def report(run_output, run_ouput): ...\n"
        "agent_os = AgentOS(agents=[Agent('a', model=DemoModel(), post_hooks=[report])])\n",
    )

    done = hookline("hooks", "--app", "app:agent_os")

    assert done.status == 1
    assert "'report' requires the parameter 'run_ouput'" in done.error


def test_a_missing_transport_names_the_blocked_plugin(hookline: CommandLine, app: str) -> None:
    done = hookline("serve", app, "-p", "no:fastapi")

    assert done.status == 1
    assert "no plugin provides the transport 'fastapi'" in done.error
    assert "plugin 'fastapi' is blocked" in done.error
