"""The pytest plugin, in projects of people who use it: each a directory of its own, tested by a pytest of its own."""

from __future__ import annotations

from pytest_project import APP, Project

pytest_plugins = ["pytester"]


def test_who_does_not_use_it_imports_nothing(project: Project) -> None:
    result = project(
        option=None,
        test_it="""
        import sys

        def test_it():
            assert "hookline_pytest" in sys.modules
            heavy = ("hookline", "pydantic", "fastapi", "sqlalchemy", "httpx2", "openai")
            assert [name for name in sys.modules if name.partition(".")[0] in heavy] == []
        """,
    )

    result.assert_outcomes(passed=1)


def test_a_hook_that_fails_is_seen_and_called_again(project: Project) -> None:
    result = project(
        app=APP,
        test_it="""
        from pathlib import Path
        from hookline.testing import HookCall

        def test_it(agent_os, clock, recorder):
            run = agent_os.run("support", "hello", user_id="ann", session_id="s-1")
            assert (run.status, run.content, run.user_id) == ("completed", "fine", "ann")
            agent_os.drain()
            calls = agent_os.hooks(run.run_id)
            assert [(each.hook, each.kind, each.phase, each.outcome) for each in calls] == [
                ("look", "inline", "pre", "completed"), ("notify", "delivery", "post", "failed"),
            ]
            assert (calls[1].error.type, calls[1].error.message) == ("OSError", "nobody there")
            [waiting] = agent_os.deliveries()
            assert (waiting.status, waiting.attempt_count, recorder.deliveries) == ("pending", 1, [])

            clock.advance(60)
            agent_os.drain()

            calls = recorder.calls("notify")
            assert [(each.outcome, each.attempt) for each in calls] == [("failed", 1), ("delivered", 2)]
            assert [each.hook for each in recorder.calls()] == ["look", "notify", "notify"]
            assert [(each.delivery_id, each.status) for each in recorder.deliveries] == [
                (waiting.delivery_id, "delivered")
            ]
            assert agent_os.deliveries(status="pending") == agent_os.deliveries(hook="look") == []
            assert [each.run_id for each in recorder.runs] == [run.run_id]
            assert recorder.events_of(run.run_id) == [
                "RunStarted", "PreHookStarted", "PreHookCompleted", "RunContent", "HookScheduled", "RunCompleted",
            ]
            session = agent_os.call(agent_os.served.storage.get_session("s-1"))
            assert session.user_id == "ann"

        def test_the_next_test_has_a_fresh_system(agent_os, recorder, clock):
            assert agent_os.deliveries() == recorder.runs == recorder.calls() == []

        def test_the_app_is_as_it_was():
            import app
            assert not app.agent_os.is_open
            assert app.agent_os.database.url == app.agent.db.url == f"sqlite:///{Path('production.db').resolve()}"
            assert "recorder" not in str([each.name for each in app.agent_os.registry.plugins])
            assert app.agent_os.get_app() is app.app
            assert not Path("production.db").exists()
        """,
    )

    result.assert_outcomes(passed=3)


def test_retention_and_circuits_move_with_the_clock(project: Project) -> None:
    result = project(
        option=None,
        test_it="""
        import pytest
        from hookline import Agent, AgentOS, hook
        from hookline.testing import ScriptedModel

        DAY = 86_400
        works = False

        @hook(run_in_background=True, circuit_threshold=1, circuit_cooldown=600, backoff=0)
        def fragile():
            assert works

        @pytest.fixture
        def hookline_app():
            return AgentOS(agents=[Agent("a", model=ScriptedModel("fine", repeat=True), post_hooks=[fragile])])

        def test_it(agent_os, clock, recorder, monkeypatch):
            agent_os.run("a", "one")
            agent_os.drain()
            agent_os.run("a", "two")
            agent_os.drain()
            assert [each.outcome for each in recorder.calls("fragile")] == ["failed"]

            monkeypatch.setitem(globals(), "works", True)
            clock.advance(599)
            agent_os.drain()
            assert recorder.deliveries == []
            clock.advance(1)
            agent_os.drain()
            assert [each.status for each in recorder.deliveries] == ["delivered", "delivered"]

            clock.advance(29.9 * DAY)
            agent_os.drain()
            assert len(agent_os.deliveries()) == 2
            clock.advance(0.2 * DAY)
            agent_os.drain()
            assert agent_os.deliveries() == []

        def test_settings_are_those_of_the_test(monkeypatch, request):
            monkeypatch.setenv("HOOKLINE_DELIVERY_RETRIES", "0")
            agent_os, recorder = request.getfixturevalue("agent_os"), request.getfixturevalue("recorder")
            agent_os.run("a", "one")
            agent_os.drain()
            [dead] = recorder.deliveries
            assert dead.status == "dead"
            monkeypatch.setitem(globals(), "works", True)
            assert agent_os.redrive(dead).status == "pending"
            with pytest.raises(ValueError, match="neither dead nor parked"):
                agent_os.redrive(dead.delivery_id)
            request.getfixturevalue("clock").advance(600)
            agent_os.drain()
            assert [each.status for each in agent_os.deliveries()] == ["delivered"]
        """,
    )

    result.assert_outcomes(passed=2)


def test_the_client_talks_to_the_same_system(project: Project) -> None:
    result = project(
        app=APP,
        conftest="""
        import pytest

        @pytest.fixture(params=["app:agent_os", "app:app"])
        def hookline_app(request):
            import app
            return app.agent_os if request.param == "app:agent_os" else app.app
        """,
        test_it="""
        def test_it(client, agent_os, clock, recorder):
            answer = client.post("/agents/support/runs", data={"message": "hello"})
            assert answer.status_code == 200, answer.text
            run_id = answer.json()["run_id"]
            agent_os.drain()
            clock.advance(60)
            agent_os.drain()
            items = client.get("/deliveries", params={"run_id": run_id}).json()["items"]
            assert [each["status"] for each in items] == ["delivered"]
            assert [each["hook"] for each in client.get(f"/runs/{run_id}/hooks").json()["items"]] == ["look", "notify"]
            assert [each.run_id for each in recorder.runs] == [run_id]
            assert client.get("/mine").json() == {"mine": True}
            assert client.get("/nothing").status_code == 404
            assert client.get("/ready").status_code == 200
            assert client.head("/docs").text == ""
        """,
    )

    result.assert_outcomes(passed=2)


def test_a_stream_is_read_while_it_is_written_and_hooks_wait_for_its_end(project: Project) -> None:
    result = project(
        option=None,
        test_it="""
        import asyncio, threading
        import pytest
        from hookline import Agent, AgentOS, hook
        from hookline.testing import ScriptedModel

        go_on, told = threading.Event(), threading.Event()

        async def answer(request):
            assert await asyncio.to_thread(go_on.wait, 20)
            return "fine"

        @hook(run_in_background=True)
        def tell():
            assert told.wait(20)

        @pytest.fixture
        def hookline_app():
            return AgentOS(agents=[Agent("a", model=ScriptedModel(answer, repeat=True), post_hooks=[tell])])

        FORM = {"message": "hello", "stream": "true"}

        def test_it(client, agent_os, recorder):
            go_on.clear()
            told.clear()
            with client.stream("POST", "/agents/a/runs", data=FORM) as response:
                lines = response.iter_lines()
                assert response.headers["content-type"].startswith("text/event-stream")
                assert next(line for line in lines if line.startswith("event")) == "event: RunStarted"
                go_on.set()
                assert [line for line in lines if line.startswith("event")][-1] == "event: RunCompleted"
            assert recorder.deliveries == []
            told.set()
            agent_os.drain()
            assert [each.status for each in recorder.deliveries] == ["delivered"]

        def test_a_client_that_leaves(client, agent_os, recorder):
            go_on.clear()
            told.set()
            with client.stream("POST", "/agents/a/runs", data=FORM) as response:
                next(response.iter_lines())
            go_on.set()
            agent_os.drain()
            assert [(each.hook, each.status) for each in recorder.deliveries] == [("tell", "delivered")]
        """,
    )

    result.assert_outcomes(passed=2)


def test_an_app_of_ones_own_is_part_of_it(project: Project) -> None:
    """Its routes, its lifespan and what that leaves for requests; test by test, with one app."""
    result = project(
        option="app:agent_os",
        app="""
        from contextlib import asynccontextmanager
        from fastapi import FastAPI, Request
        from hookline import Agent, AgentOS
        from hookline.testing import ScriptedModel

        lives = []

        @asynccontextmanager
        async def lifespan(app):
            lives.append("begun")
            yield {"greeting": "good day"}
            lives.append("ended")

        app = FastAPI(lifespan=lifespan)

        @app.get("/greeting")
        def greeting(request: Request):
            return request.state.greeting

        @app.get("/broken")
        def broken():
            raise LookupError("no such thing")

        agent_os = AgentOS(agents=[Agent("a", model=ScriptedModel("fine", repeat=True))], base_app=app)
        """,
        test_it="""
        import app
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(client, number, caplog):
            assert app.lives[-1] == "begun"
            assert client.get("/greeting").json() == "good day"
            assert client.post("/agents/a/runs", json={"message": "hello"}).json()["content"] == "fine"
            assert (client.get("/broken").status_code, "no such thing" in caplog.text) == (500, True)

        def test_lives(client):
            assert (app.lives.count("begun"), app.lives.count("ended")) in [(1, 0), (2, 1), (3, 2)]
        """,
    )

    result.assert_outcomes(passed=3)


def test_a_model_may_stand_in_for_all(project: Project) -> None:
    result = project(
        app="""
        from hookline import Agent, AgentOS
        from hookline_openai import OpenAIChat

        one = Agent("one", model=OpenAIChat(id="gpt-4o-mini"))
        agent_os = AgentOS(agents=[one, Agent("two", model="openai:gpt-4o-mini")])
        """,
        test_it="""
        import pytest
        from hookline.testing import ScriptedModel

        @pytest.fixture
        def hookline_model():
            return ScriptedModel("no network")

        @pytest.mark.parametrize("agent", ["one", "two"])
        def test_it(agent_os, hookline_model, agent):
            assert agent_os.run(agent, "hello").content == "no network"
            assert hookline_model.requests[0].messages[-1].content == "hello"

        def test_the_app_is_as_it_was():
            import app
            assert app.one.model.id == "gpt-4o-mini"
        """,
    )

    result.assert_outcomes(passed=3)


def test_async_tests(project: Project) -> None:
    result = project(
        app=APP,
        conftest="""
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """,
        test_it="""
        import pytest
        from hookline import RunningLoopError

        async def test_beside_it(agent_os, clock, recorder):
            agent_os.run("support", "hello")
            agent_os.drain()
            assert [each.outcome for each in recorder.calls("notify")] == ["failed"]

        async def test_on_its_loop(hookline_app, hookline_db, recorder, clock):
            with hookline_app.replaced(db=hookline_db, clock=clock, plugins=[recorder]) as agent_os:
                async with agent_os.lifespan():
                    run = agent_os.start_run(agent_os.runnables["agent", "support"], "hello")
                    await run.finished()
                    run.hand_over()
                    await agent_os.drain()
                    assert [each.outcome for each in await recorder.read_calls("notify")] == ["failed"]
                    with pytest.raises(RunningLoopError, match="await read_calls"):
                        recorder.calls()
        """,
    )

    result.assert_outcomes(passed=2)
