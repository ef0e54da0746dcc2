"""`RunningAgentOS`, `Recorder` and `AgentOS.replaced`: what the fixtures are made of, without pytest's part."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from core_support import agent
from hookline import (
    AgentOS,
    ConfigurationError,
    Delivery,
    RunningLoopError,
    ServerBusyError,
    Settings,
    StorageError,
    hook,
    hookimpl,
)
from hookline.testing import ManualClock, Recorder, RunningAgentOS, ScriptedModel
from hookline.testing.app_lifespan import app_lifespan
from hookline.threads import LoopThread
from hookline_sql import SqliteDb


def agent_os_of(tmp_path: Path, *plugins: object, hooks: list[Callable[..., Any]] | None = None) -> AgentOS:
    """An AgentOS of one agent, `a`, without installed plugins."""
    db = SqliteDb(tmp_path / "ledger.db")
    settings = Settings(plugins=[], shutdown_timeout=1.0)
    return AgentOS(agents=[agent(post_hooks=hooks)], db=db, plugins=plugins, settings=settings)


# RunningAgentOS


def test_agents_are_named_by_themselves_or_their_ids(tmp_path: Path) -> None:
    agent_os = agent_os_of(tmp_path)
    with RunningAgentOS(agent_os) as running:
        runs = [running.run(named, "hello") for named in ("a", agent_os.runnables["agent", "a"])]
        assert [run.content for run in runs] == ["fine", "fine"]
        with pytest.raises(ConfigurationError, match=r"there is no agent 'b': there is 'a'$"):
            running.run("b", "hello")
        assert running.hooks("no such run") == []


def test_a_run_gets_what_goes_along(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def look(user_id: str, metadata: dict[str, Any], dependencies: dict[str, Any], session_state: Any) -> None:
        seen.update(user_id=user_id, metadata=metadata, dependencies=dependencies, session_state=session_state)

    given: dict[str, Any] = {
        "user_id": "ann",
        "metadata": {"m": 1},
        "dependencies": {"d": 2},
        "session_state": {"s": 3},
    }
    with RunningAgentOS(agent_os_of(tmp_path, hooks=[look])) as running:
        run = running.run("a", "hello", session_id="s-1", stream=True, **given)
    assert (run.session_id, seen) == ("s-1", given)


def test_a_run_that_is_turned_away_raises(tmp_path: Path) -> None:
    with RunningAgentOS(agent_os_of(tmp_path)) as running:
        running.served.begin_shutdown()
        with pytest.raises(ServerBusyError):
            running.run("a", "hello")


def test_drain_does_not_wait_for_ever_and_says_for_what(tmp_path: Path) -> None:
    go_on = threading.Event()

    @hook(name="slow", run_in_background=True)
    def slow() -> None:
        go_on.wait(20)

    with RunningAgentOS(agent_os_of(tmp_path, hooks=[slow])) as running:
        run = running.run("a", "hello")
        with pytest.raises(TimeoutError, match=rf"^not done after 0\.1 s: slow \(\w+\) of run {run.run_id}$"):
            running.drain(timeout=0.1)
        go_on.set()
        running.drain()
        assert [each.status for each in running.deliveries()] == ["delivered"]


def test_all_deliveries_are_listed_oldest_first(tmp_path: Path) -> None:
    @hook(name="note", run_in_background=True)
    async def note() -> None: ...

    with RunningAgentOS(agent_os_of(tmp_path, hooks=[note])) as running:
        runs = [running.run("a", "hello").run_id for _ in range(205)]
        running.drain()
        assert [each.run_id for each in running.deliveries()] == runs
        assert [each.run_id for each in running.deliveries(run_id=runs[7], hook="note", status="delivered")] == [
            runs[7]
        ]


def test_it_does_not_wait_for_itself(tmp_path: Path) -> None:
    with RunningAgentOS(agent_os_of(tmp_path)) as running:

        async def call_from_its_loop() -> None:
            running.drain()

        with pytest.raises(RunningLoopError):
            running.call(call_from_its_loop())
        with pytest.raises(TimeoutError):
            running.call(asyncio.Event().wait(), timeout=0.01)


def test_nothing_goes_on_after_its_end(tmp_path: Path) -> None:
    with RunningAgentOS(agent_os_of(tmp_path)) as running:
        left = running.start(asyncio.Event().wait())
    assert left.cancelled()
    assert not running.served.is_open
    with pytest.raises(ConfigurationError, match="is not running any more"):
        running.drain()


def test_what_cannot_be_ended_is_left_behind_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookline.testing.running.CLOSE_SECONDS", 0.05)
    go_on = threading.Event()

    async def refuse_to_end() -> None:
        while not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    with RunningAgentOS(agent_os_of(tmp_path)) as running:
        running.start(refuse_to_end())
    assert "something goes on after the end of AgentOS 'agent-os'" in caplog.text
    go_on.set()


def test_a_start_that_fails_raises_what_went_wrong(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(StorageError), RunningAgentOS(agent_os_of(tmp_path)):
        pytest.fail("it has started")


def test_an_end_that_fails_raises_what_went_wrong(tmp_path: Path) -> None:
    @asynccontextmanager
    async def lifespan(scope: Any) -> AsyncIterator[None]:
        async with agent_os.lifespan():
            yield
        raise LookupError("at the end")

    agent_os = agent_os_of(tmp_path)
    with pytest.raises(LookupError, match="at the end"), RunningAgentOS(agent_os, _app(lifespan)) as running:
        assert running.run("a", "hello").status == "completed"


def test_an_app_that_forgets_the_lifespan_is_told_the_line(tmp_path: Path) -> None:
    @asynccontextmanager
    async def lifespan(scope: Any) -> AsyncIterator[None]:
        yield

    with (
        pytest.raises(ConfigurationError, match=r"async with agent_os\.lifespan\(app\): yield"),
        RunningAgentOS(agent_os_of(tmp_path), _app(lifespan)),
    ):
        pytest.fail("it has started")


def _app(lifespan: Callable[[Any], Any]) -> Callable[..., Any]:
    """An ASGI app that has nothing but a lifespan."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        async with lifespan(scope):
            assert await receive() == {"type": "lifespan.startup"}
            await send({"type": "lifespan.startup.complete"})
            assert await receive() == {"type": "lifespan.shutdown"}
        await send({"type": "lifespan.shutdown.complete"})

    return app


async def test_an_app_that_only_says_that_it_failed() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no luck"})

    with pytest.raises(RuntimeError, match="the app's startup failed: no luck"):
        async with app_lifespan(app):
            pytest.fail("it has started")


async def test_an_app_that_ends_at_once() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope["state"]["seen"] = True

    with pytest.raises(RuntimeError, match="ended without a word"):
        async with app_lifespan(app):
            pytest.fail("it has started")


# Recorder


def test_a_recorder_without_an_agent_os_says_so() -> None:
    with pytest.raises(ConfigurationError, match=r"AgentOS\(plugins=\[recorder\]\)"):
        Recorder().calls()


def test_a_recorder_forgets(tmp_path: Path) -> None:
    recorder = Recorder()
    with RunningAgentOS(agent_os_of(tmp_path, recorder, hooks=[print])) as running:
        running.run("a", "one")
        assert len(recorder.calls()) == 1
        recorder.clear()
        assert [recorder.calls(), recorder.runs, recorder.events, recorder.deliveries] == [[], [], [], []]
        second = running.run("a", "two")
        assert [run.to_dict() for run in recorder.runs] == [second.to_dict()]


def test_a_recorder_is_no_hook(tmp_path: Path) -> None:
    @hook(run_in_background=True)
    async def note(delivery: Delivery) -> None: ...

    class Other:
        plugin_name = "other"

        @hookimpl
        def post_run(self) -> None: ...

    plans = []
    for plugins in ([Other()], [Other(), Recorder()]):
        agent_os = agent_os_of(tmp_path, *plugins, hooks=[note]).load()
        plans.append([item.name for item in agent_os.plan_of(agent_os.runnables["agent", "a"]).items])
    assert plans[0] == plans[1]


# names


class Watcher:
    plugin_name = "watcher"

    @hookimpl
    def pre_run(self) -> None: ...

    @hookimpl
    def pre_model(self) -> None: ...


def notify() -> None: ...


@pytest.mark.parametrize(
    ("hook", "mend"),
    [
        ("notfy", "did you mean 'notify'?"),
        ("pre_run", "did you mean 'watcher.pre_run'?"),
        ("watcher.pre_modle", "did you mean 'watcher.pre_model'?"),
        ("else", "there is 'notify', 'watcher.pre_model', 'watcher.pre_run'"),
    ],
)
def test_a_hook_that_nobody_has_is_a_mistake(tmp_path: Path, hook: str, mend: str) -> None:
    recorder = Recorder()
    with RunningAgentOS(agent_os_of(tmp_path, recorder, Watcher(), hooks=[notify])) as running:
        for ask in (recorder.calls, lambda name: running.deliveries(hook=name)):
            with pytest.raises(ConfigurationError) as raised:
                ask(hook)
            assert str(raised.value) == f"there is no hook {hook!r}: {mend}"


def test_a_hook_that_was_not_called_is_none(tmp_path: Path) -> None:
    recorder = Recorder()
    with RunningAgentOS(agent_os_of(tmp_path, recorder, Watcher(), hooks=[notify])) as running:
        for known in ("notify", "watcher.pre_run", "watcher.pre_model"):
            assert (recorder.calls(known), running.deliveries(hook=known)) == ([], [])


def test_a_hook_of_the_ledger_is_known_though_the_app_has_it_no_more(tmp_path: Path) -> None:
    @hook(name="gone", run_in_background=True)
    async def gone() -> None: ...

    with RunningAgentOS(agent_os_of(tmp_path, hooks=[gone])) as running:
        running.run("a", "hello")
        running.drain()
    with RunningAgentOS(agent_os_of(tmp_path)) as running:
        assert [each.status for each in running.deliveries(hook="gone")] == ["delivered"]
        assert running.deliveries(hook="gone", status="dead") == []
        with pytest.raises(ConfigurationError, match=r"there is no hook 'other': there is none at all$"):
            running.deliveries(hook="other")


def test_a_status_that_no_delivery_has_is_a_mistake(tmp_path: Path) -> None:
    with RunningAgentOS(agent_os_of(tmp_path)) as running:
        with pytest.raises(
            ConfigurationError, match=r"^there is no status of deliveries 'delvered': did you mean 'delivered'\?$"
        ):
            running.deliveries(status="delvered")
        with pytest.raises(ConfigurationError, match="'completed': there is 'waiting', 'pending', "):
            running.deliveries(status="completed")


# AgentOS.replaced


def test_replaced_takes_everything_back(tmp_path: Path) -> None:
    agent_os = agent_os_of(tmp_path).load()
    served = agent_os.runnables["agent", "a"]
    before = [dict(vars(each)) for each in (agent_os, served)]
    other, clock, model = SqliteDb(tmp_path / "other.db"), ManualClock(), ScriptedModel("other")
    with agent_os.replaced(db=other, clock=clock, model=model, plugins=[Recorder()]) as replaced:
        assert replaced is agent_os
        with RunningAgentOS(replaced) as running:
            assert running.run(served, "hello").content == "other"
        assert (agent_os.database, served.db, agent_os.clock) == (other, other, clock)
        assert {"hookline-recorder"} == {plugin.name for plugin in agent_os.registry.plugins if plugin.hooks}
    assert [dict(vars(each)) for each in (agent_os, served)] == before
    assert not (tmp_path / "ledger.db").exists()


def test_replaced_takes_everything_back_after_an_error(tmp_path: Path) -> None:
    agent_os = agent_os_of(tmp_path)
    with pytest.raises(LookupError), agent_os.replaced(db=SqliteDb(tmp_path / "other.db")):
        raise LookupError
    assert agent_os.database.url.endswith("ledger.db")


def test_one_that_is_running_is_not_replaced(tmp_path: Path) -> None:
    agent_os = agent_os_of(tmp_path)
    with (
        RunningAgentOS(agent_os),
        pytest.raises(ConfigurationError, match="is running: it cannot be replaced"),
        agent_os.replaced(db=SqliteDb(tmp_path / "other.db")),
    ):
        pytest.fail("it was")


def test_a_standalone_run_within_uses_the_replaced_ledger(tmp_path: Path) -> None:
    """A hook that runs an agent by itself must not write to the file that the app names."""
    named = agent(db=SqliteDb(tmp_path / "production.db"))
    agent_os = AgentOS(agents=[named], settings=Settings(plugins=[]))
    with agent_os.replaced(db=SqliteDb(tmp_path / "other.db")):
        assert named.run("hello").status == "completed"
    assert not (tmp_path / "production.db").exists()


# LoopThread.close


def test_a_loop_thread_can_be_closed(caplog: pytest.LogCaptureFixture) -> None:
    thread = LoopThread("closing")
    assert thread.close(1)
    first = thread.loop
    left = thread.submit(asyncio.Event().wait())
    assert thread.close(10)
    assert first.is_closed()
    assert left.cancelled()
    assert thread.loop is not first
    assert thread.close(10)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
