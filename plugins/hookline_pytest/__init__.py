"""The pytest plugin: fixtures for testing an app of agents, or a plugin for hookline, without a server or waiting.

It is there as soon as hookline and pytest are installed. Say what is tested, in `pyproject.toml`:

    [tool.pytest.ini_options]
    hookline_app = "app:agent_os"

or, in a `conftest.py` or a test file, by a fixture of your own:

    @pytest.fixture
    def hookline_app():
        return AgentOS(agents=[Agent("parrot", model=ScriptedModel("fine", repeat=True))], plugins=[my_plugin])

Then a test takes what it needs; all of it is one system:

    def test_a_failed_hook_is_called_again(agent_os, client, clock, recorder):
        client.post("/agents/parrot/runs", data={"message": "hello"}).raise_for_status()
        agent_os.drain()
        clock.advance(300)
        agent_os.drain()
        assert [call.outcome for call in recorder.calls("notify")] == ["failed", "delivered"]

| fixture | what it is |
|---|---|
| `agent_os` | the app, running on an SQLite file of this test alone: a `hookline.testing.RunningAgentOS` |
| `client` | an `httpx2.Client` that talks to it, within the process |
| `clock` | its `hookline.testing.ManualClock`: it stands still until the test moves it |
| `recorder` | a `hookline.testing.Recorder`: its events, runs, deliveries and calls of hooks |

Where your tests or another plugin have a fixture of such a name, that one is used; ours are also called
`hookline_agent_os`, `hookline_client`, `hookline_clock` and `hookline_recorder`. Override these to change what they are
made of, and:

* `hookline_app`: an AgentOS, or an app whose `state.agent_os` is one, as `agent_os.get_app()` gives it. Its lifespan
  and its own routes are part of the test.
* `hookline_db`: the ledger. What the app itself names is never opened.
* `hookline_model`: a model that all agents ask instead of their own, such as a `ScriptedModel`; default: None.

Settings are read for each test from the environment and the working directory's `hookline.toml`, when `agent_os` is
made; an app that gives `settings=` with values in code keeps them. Hooks run for real, and call whom they call.

**Async tests** may use all of this too; its methods block their loop, not that of the AgentOS. To be on one loop with
it, run it there yourself:

    async def test_it(hookline_app, hookline_db, clock, recorder):
        with hookline_app.replaced(db=hookline_db, clock=clock, plugins=[recorder]) as agent_os:
            async with agent_os.lifespan():
                ...

`-p no:hookline` leaves the plugin out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

# Every pytest of the environment imports this module: hookline itself is imported by the fixtures that are used.
if TYPE_CHECKING:
    import httpx2

    from hookline import Database, Model
    from hookline.testing import ManualClock, Recorder, RunningAgentOS

INI_OPTION = "hookline_app"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `hookline_app`."""
    parser.addini(INI_OPTION, "where the AgentOS that is tested is found: module:attribute", default="")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Add the fixtures' short names, but for those that another plugin has; a conftest's own win anyway."""
    from hookline_pytest import short_names

    manager = config.pluginmanager
    taken = {
        name
        for plugin in manager.get_plugins()
        if not str(manager.get_name(plugin)).endswith("conftest.py")
        for name in _fixtures_of(plugin)
    }
    free = ModuleType("hookline_short_names")
    vars(free).update((name, value) for name, value in _fixtures_of(short_names).items() if name not in taken)
    manager.register(free, free.__name__)


def _fixtures_of(plugin: object) -> dict[str, Any]:
    kind = type(hookline_clock)  # pytest's own class for fixtures
    attributes = {**vars(type(plugin)), **getattr(plugin, "__dict__", {})}
    return {getattr(value, "name", name): value for name, value in attributes.items() if isinstance(value, kind)}


@pytest.fixture(scope="session")
def hookline_app(request: pytest.FixtureRequest) -> Any:
    """What is tested: an AgentOS, or an app whose `state.agent_os` is one; override it, or set the option."""
    from hookline_pytest.finding import find, reference_of

    return find(reference_of(request.config, INI_OPTION), request.config.rootpath)


@pytest.fixture
def hookline_db(tmp_path: Path) -> Database:
    """The ledger of this test: an SQLite file in `tmp_path`."""
    from hookline_pytest.finding import sqlite

    return sqlite()(str(tmp_path / "hookline.db"))


@pytest.fixture
def hookline_model() -> Model | None:
    """The model that all agents ask; None: each its own."""
    return None


@pytest.fixture
def hookline_clock() -> ManualClock:
    """A clock that stands still until the test moves it; it begins now."""
    from hookline.testing import ManualClock

    return ManualClock()


@pytest.fixture
def hookline_recorder() -> Recorder:
    """What happens in `agent_os`; it is empty as long as that is not running."""
    from hookline.testing import Recorder

    return Recorder()


@pytest.fixture
def hookline_agent_os(
    hookline_app: Any,
    hookline_db: Database,
    hookline_model: Model | None,
    hookline_clock: ManualClock,
    hookline_recorder: Recorder,
) -> Iterator[RunningAgentOS]:
    """The AgentOS of `hookline_app`, running beside the test on a ledger and a clock of the test's own."""
    from hookline.testing import RunningAgentOS
    from hookline_pytest.finding import parts_of

    agent_os, app = parts_of(hookline_app)
    with (
        agent_os.replaced(db=hookline_db, clock=hookline_clock, model=hookline_model, plugins=[hookline_recorder]),
        RunningAgentOS(agent_os, app) as running,
    ):
        yield running


@pytest.fixture
def hookline_client(hookline_agent_os: RunningAgentOS) -> Iterator[httpx2.Client]:
    """An HTTP client of `agent_os`, within the process; streams come as they are written."""
    from hookline_pytest.client import client_of

    with client_of(hookline_agent_os) as client:
        yield client
