"""`hookline run`: one run in a process of its own, with all its hooks."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing

import pytest

from command_line import CommandLine
from server_process import wait_until

APP = """
import asyncio
from pathlib import Path

from hookline import Agent, AgentOS, InputCheckError, Message, ModelResponse, guardrail, hook
from hookline_demo import DemoModel
from hookline_openai import OpenAIChat
from hookline_sql import SqliteDb
from pydantic import BaseModel


@guardrail
def no_secrets(run_input):
    if "password" in run_input.input_content:
        raise InputCheckError("asks for a password", check_trigger="secrets")


def count_words(run_output):
    print("inline hook")


@hook(run_in_background=True)
async def write_report(run_output, session, user_id):
    print("background hook")
    Path("report.txt").write_text(f"{session.session_id} {user_id} {run_output.content}")


@hook(run_in_background=True, retries=0)
def print_page(run_output):
    if run_output.content.endswith("paper"):
        raise RuntimeError("the printer is on fire")


@hook(run_in_background=True, backoff=300)
def call_home(run_output):
    if run_output.content.endswith("network"):
        raise OSError("nobody answers")


class Answer(BaseModel):
    text: str


class Waiting:
    id = "waiting"

    def open(self): ...

    async def respond(self, request, emit):
        emit("one ")
        Path("asked").touch()
        while not Path("go").exists():
            await asyncio.sleep(0.01)
        emit("two")
        return ModelResponse(Message("assistant", "one two"))

    async def aclose(self): ...


async def break_down(run_output):
    raise ZeroDivisionError("division by zero")


db = SqliteDb("ledger.db")
demo = Agent("demo", model=DemoModel(), db=db, pre_hooks=[no_secrets],
             post_hooks=[count_words, write_report, print_page, call_home], add_history_to_context=True)
keyless = Agent("keyless", model=OpenAIChat(), db=db)
waiting = Agent("waiting", model=Waiting(), db=db)
strict = Agent("strict", model=DemoModel(), db=db, post_hooks=[hook(on_error="fail")(break_down)])
structured = Agent("structured", model=DemoModel(), db=db, output_schema=Answer)
agent_os = AgentOS("os", agents=[demo, keyless, waiting, strict, structured])
"""


@pytest.fixture
def app(hookline: CommandLine) -> CommandLine:
    """A directory with an app, which the environment names."""
    hookline.write("app.py", APP)
    hookline.env = {"HOOKLINE_APP": "app:agent_os"}
    return hookline


def run_status(hookline: CommandLine) -> list[tuple[str, str | None]]:
    with closing(sqlite3.connect(hookline.directory / "ledger.db")) as ledger:
        return ledger.execute("SELECT status, reason FROM hookline_runs ORDER BY seq").fetchall()


def test_it_prints_the_answer_and_then_does_the_background_hooks(app: CommandLine) -> None:
    done = app("run", "demo", "hello", "--session", "s1", "--user", "ann")

    assert done.status == 0, done.stderr
    assert done.stdout.splitlines() == ["inline hook", "You said: hello", "background hook"]
    assert done.stderr == ""
    assert (app.directory / "report.txt").read_text() == "s1 ann You said: hello"
    deliveries = app("deliveries", "list", "--json").json["items"]
    assert {(item["hook"], item["status"]) for item in deliveries} == {
        ("write_report", "delivered"),
        ("print_page", "delivered"),
        ("call_home", "delivered"),
    }


def test_json_is_the_run_and_nothing_else(app: CommandLine) -> None:
    first = app("run", "demo", "hello", "--session", "s1", "--json")
    second = app("run", "demo", "again", "--session", "s1", "--json")

    assert (first.status, second.status) == (0, 0)
    assert first.json["status"] == "completed"
    assert first.json["content"] == "You said: hello"
    assert first.json["session_id"] == "s1"
    assert first.stderr.splitlines() == ["inline hook", "background hook"]
    assert [message["content"] for message in second.json["messages"]] == ["again", "You said: again"]


def test_content_that_is_no_text_is_json(app: CommandLine) -> None:
    assert app("run", "structured", "hello").json == {"text": "hello"}


def test_stream_prints_text_as_it_comes(app: CommandLine) -> None:
    with app.begin("run", "waiting", "hello", "--stream") as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == "one "
        assert process.poll() is None
        (app.directory / "go").touch()
        rest, errors = process.communicate(timeout=30)

    assert (rest, errors, process.returncode) == ("two\n", "", 0)


def test_the_message_may_come_from_standard_input(app: CommandLine) -> None:
    done = app("run", "demo", "-", stdin="grüße\nan alle\n")

    assert "You said: grüße\nan alle\n" in done.stdout


@pytest.mark.parametrize("stdin", ["", " \n"])
def test_a_blank_message_is_a_usage_error(app: CommandLine, stdin: str) -> None:
    assert app("run", "demo", "-", stdin=stdin).status == 2
    assert app("run", "demo", stdin).status == 2
    assert not (app.directory / "ledger.db").exists()


def test_an_unknown_agent_is_told_what_there_is(app: CommandLine) -> None:
    done = app("run", "dmeo", "hello")

    assert done.status == 1
    assert done.error == (
        "Error: there is no agent 'dmeo'; did you mean 'demo'?: "
        "there is 'demo', 'keyless', 'waiting', 'strict', 'structured'"
    )


@pytest.mark.parametrize("option", ["--session", "--user"])
@pytest.mark.parametrize("value", ["my session", "..", "x" * 257, ""])
def test_ids_are_those_of_the_http_api(app: CommandLine, option: str, value: str) -> None:
    done = app("run", "demo", "hello", option, value)

    assert done.status == 2
    assert option in done.stderr


def test_usage_errors(app: CommandLine) -> None:
    both = app("run", "demo", "hello", "--json", "--stream")
    app.env = {}
    none = app("run", "demo", "hello")

    assert (both.status, none.status) == (2, 2)
    assert "one of --stream and --json" in both.stderr
    assert "HOOKLINE_APP" in none.stderr


def test_a_missing_key_is_one_line(app: CommandLine) -> None:
    done = app("run", "keyless", "hello")

    assert done.status == 1
    assert "is failed: model_error: " in done.error
    assert "set OPENAI_API_KEY" in done.error


def test_a_run_that_is_not_completed_is_printed_as_json_all_the_same(app: CommandLine) -> None:
    done = app("run", "keyless", "hello", "--json")

    assert done.status == 1
    assert (done.json["status"], done.json["reason"]) == ("failed", "model_error")
    assert len(done.stderr.splitlines()) == 1


def test_a_rejected_run_is_one_line(app: CommandLine) -> None:
    done = app("run", "demo", "tell me the password")

    assert done.status == 1
    assert "is rejected: secrets: " in done.error
    assert "no_secrets" in done.error


def test_a_hook_that_fails_the_run_is_named(app: CommandLine) -> None:
    done = app("run", "strict", "hello")

    assert done.status == 1
    assert "is failed: hook_failed: " in done.stderr.splitlines()[-1]
    assert "break_down" in done.stderr.splitlines()[-1]


def test_deliveries_that_were_not_delivered_are_named(app: CommandLine) -> None:
    done = app("run", "demo", "no paper", "--json")

    assert done.status == 0
    assert done.stderr.splitlines()[-1] == (
        f"Warning: not delivered: print_page (dead): see hookline deliveries list --run {done.json['run_id']}"
    )


def test_what_is_to_be_tried_again_is_left_to_a_server(app: CommandLine) -> None:
    done = app("run", "demo", "no network", "--json")

    assert done.status == 0
    assert done.stderr.splitlines()[-1] == (
        f"Warning: left for a server to retry: call_home: see hookline deliveries list --run {done.json['run_id']}"
    )
    table = app("deliveries", "list").stdout.splitlines()
    (pending,) = [item for item in app("deliveries", "list", "--json").json["items"] if item["status"] == "pending"]
    assert table[0].split()[5:7] == ["ATTEMPTS", "DUE"]
    assert [pending["due_at"] in line for line in table[1:]] == ["call_home" in line for line in table[1:]]
    assert "for a server to retry" in app("run", "--help").stdout


def test_a_database_that_cannot_be_written_is_one_line(app: CommandLine) -> None:
    app.write("file", "no folder")
    app.write("app.py", APP.replace('SqliteDb("ledger.db")', 'SqliteDb("file/ledger.db")'))

    done = app("run", "demo", "hello")

    assert done.status == 1
    assert str(app.directory / "file") in done.error


def test_ctrl_c_cancels_the_run(app: CommandLine) -> None:
    with app.begin("run", "waiting", "hello") as process:
        wait_until((app.directory / "asked").exists, what="the call of the model")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert errors.split() == ["Aborted!"]
    assert run_status(app) == [("cancelled", "cancelled")]
