"""What a run's outcome is over HTTP: statuses, problems, and what must never be said."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from hookline import (
    Agent,
    InputCheckError,
    ModelError,
    OutputCheckError,
    RunInput,
    RunOutput,
    guardrail,
    hook,
)
from hookline.testing import ScriptedModel
from http_server import FailingDb, Serve, problem, waiting_model
from server_process import wait_until

SECRET = "my card is 4111-1111"  # noqa: S105 - no password, a text that must not be echoed


@guardrail(name="no_cards")
def check_input(run_input: RunInput) -> None:
    if "card" in run_input.input_content:
        raise InputCheckError(f"found: {run_input.input_content}", check_trigger="card_number")


@guardrail
def check_output(run_output: RunOutput) -> None:
    raise OutputCheckError(f"found: {run_output.content}", check_trigger="leak")


async def test_completed_run_is_the_stored_document(serve: Serve) -> None:
    client = serve()
    response = client.run_agent("hello", session_id="s")
    run = response.json()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert list(run) == [
        "run_id", "session_id", "user_id", "agent_id", "status", "reason", "content", "messages", "metrics", "error",
        "metadata", "created_at", "finished_at",
    ]  # fmt: skip
    assert (run["status"], run["content"], run["agent_id"]) == ("completed", "the answer", "demo")
    assert run["created_at"].endswith("Z")
    assert client.get(f"/runs/{run['run_id']}").content == response.content


def test_rejected_input(serve: Serve) -> None:
    client = serve(pre_hooks=[check_input])
    response = client.run_agent(SECRET)
    body = problem(response, 422, "run-rejected")
    assert (body["hook"], body["check_trigger"]) == ("no_cards", "card_number")
    assert "4111" not in response.text
    assert client.get(f"/runs/{body['run_id']}").json()["status"] == "rejected"


def test_rejected_input_is_a_422_before_the_headers_of_a_stream(serve: Serve) -> None:
    client = serve(pre_hooks=[check_input])
    response = client.run_agent(SECRET, stream="true")
    problem(response, 422, "run-rejected")
    assert "4111" not in response.text


def test_rejected_input_is_a_422_instead_of_a_202(serve: Serve) -> None:
    problem(serve(pre_hooks=[check_input]).run_agent(SECRET, background="true"), 422, "run-rejected")


def test_rejected_output(serve: Serve) -> None:
    client = serve(ScriptedModel("the secret is 42"), post_hooks=[check_output])
    response = client.run_agent()
    body = problem(response, 422, "run-rejected")
    assert (body["hook"], body["check_trigger"]) == ("check_output", "leak")
    assert "42" not in response.text.replace(body["run_id"], "").replace('"status":422', "")


def test_model_error_is_a_502(serve: Serve) -> None:
    client = serve(ScriptedModel(ModelError("the provider said 500")))
    body = problem(client.run_agent(), 502, "model-error")
    assert "provider said 500" in body["detail"]
    assert client.get(f"/runs/{body['run_id']}").json()["status"] == "failed"


def test_rejection_without_a_rule_says_null(serve: Serve) -> None:
    def refuse(run_input: RunInput) -> None:
        raise InputCheckError("no")

    assert problem(serve(pre_hooks=[refuse]).run_agent(), 422, "run-rejected")["check_trigger"] is None


def test_failed_guardrail_is_a_500(serve: Serve) -> None:
    @guardrail
    async def backend_down() -> None:
        raise ConnectionError("no route to host")

    body = problem(serve(pre_hooks=[backend_down]).run_agent(), 500, "run-failed")
    assert "backend_down" in body["detail"]


def test_failing_hook_does_not_change_the_answer(serve: Serve) -> None:
    def fails(run_output: RunOutput) -> None:
        raise RuntimeError(run_output.run_id)

    assert serve(post_hooks=[fails]).run_agent().status_code == 200


def test_background_run_is_accepted_and_goes_on(serve: Serve) -> None:
    go = threading.Event()
    client = serve(waiting_model(go))
    response = client.run_agent(background="true", session_id="s")
    accepted = response.json()
    assert response.status_code == 202
    assert accepted == {"run_id": accepted["run_id"], "session_id": "s", "status": "running"}
    assert response.headers["location"] == f"/runs/{accepted['run_id']}"
    running = client.get(response.headers["location"]).json()
    assert (running["status"], running["content"], running["messages"]) == ("running", None, [])
    go.set()
    wait_until(lambda: client.get(response.headers["location"]).json()["content"] == "late answer")


def test_cancel(serve: Serve) -> None:
    client = serve(waiting_model())
    run = client.run_agent(background="true").json()
    response = client.post(f"/runs/{run['run_id']}/cancel")
    assert (response.status_code, response.json()) == (202, {**run, "status": "running"})
    wait_until(lambda: client.get(f"/runs/{run['run_id']}").json()["status"] == "cancelled")
    problem(client.post(f"/runs/{run['run_id']}/cancel"), 409, "run-finished")
    problem(client.post("/runs/unknown/cancel"), 404, "not-found")


def test_cancelled_run_is_a_409_for_who_waits(serve: Serve) -> None:
    answers: list[Any] = []
    client = serve(waiting_model())
    waiting = threading.Thread(target=lambda: answers.append(client.run_agent()))
    waiting.start()
    run_id = wait_until(lambda: next(iter(client.agent_os.live_runs), None))
    wait_until(lambda: client.get(f"/runs/{run_id}").status_code == 200)
    assert client.post(f"/runs/{run_id}/cancel").status_code == 202
    waiting.join()
    assert problem(answers[0], 409, "run-cancelled")["run_id"] == run_id


def test_run_that_cannot_be_accepted_is_a_503_without_an_id(serve: Serve, tmp_path: Path) -> None:
    response = serve(db=FailingDb(str(tmp_path / "f.db"), failing="accept_run")).run_agent()
    body = problem(response, 503, "storage-unavailable")
    assert "run_id" not in body
    assert "/secret/path" not in response.text


def test_run_whose_outcome_cannot_be_stored_is_never_a_200(serve: Serve, tmp_path: Path) -> None:
    response = serve(db=FailingDb(str(tmp_path / "f.db"), failing="finish_run")).run_agent()
    body = problem(response, 503, "storage-unavailable")
    assert body["run_id"]


def test_too_many_runs_at_once(serve: Serve) -> None:
    go = threading.Event()
    client = serve(waiting_model(go), max_concurrent_runs=1)
    client.run_agent(background="true")
    response = client.run_agent()
    problem(response, 429, "server-busy")
    assert int(response.headers["retry-after"]) >= 1
    go.set()


def test_no_run_is_taken_while_shutting_down(serve: Serve) -> None:
    client = serve()
    client.agent_os.begin_shutdown()
    problem(client.run_agent(), 503, "shutting-down")
    assert problem(client.get("/ready"), 503, "not-ready")["reasons"] == ["shutting down"]
    assert client.get("/health").json() == {"status": "ok"}


def test_busy_session(serve: Serve) -> None:
    go = threading.Event()
    client = serve(waiting_model(go), on_busy="reject")
    client.run_agent(background="true", session_id="s")
    problem(client.run_agent(session_id="s"), 409, "session-busy")
    go.set()


def test_unknown_agent(client: Any) -> None:
    body = problem(client.post("/agents/nobody/runs", data={"message": "a"}), 404, "not-found")
    assert "nobody" in body["detail"]


def test_deliveries_start_after_the_response(serve: Serve) -> None:
    agents: list[str] = []

    @hook(run_in_background=True)
    def note(agent: Agent, run_output: RunOutput) -> None:
        agents.append(f"{agent.id} {run_output.content}")

    client = serve(post_hooks=[note])
    run = client.run_agent().json()
    hooks = wait_until(
        lambda: [each for each in client.items(f"/runs/{run['run_id']}/hooks") if each["status"] == "delivered"]
    )
    assert agents == ["demo the answer"]
    assert hooks[0]["kind"] == "delivery"
