"""The definition of an AgentOS alone: loaded and asked without a lifespan, an event loop or a database."""

from __future__ import annotations

import pytest

from core_support import agent
from hookline import ConfigurationError, RunOutput, Settings, hookimpl
from hookline.definition import Definition
from hookline_sql import SqliteDb


def note(run_output: RunOutput) -> None: ...


class Plugin:
    @hookimpl
    def post_run(self, run_output: RunOutput) -> None: ...


def test_it_loads_and_plans_and_opens_nothing(db: SqliteDb) -> None:
    served = agent()
    given = Definition(agents=[served], db=db, post_hooks=[note], plugins=[Plugin()], settings=Settings(plugins=[]))
    assert given.load() is given
    assert [(each.name, each.source) for each in given.plan_of(served).items] == [
        ("note", "server"),
        ("Plugin.post_run", "plugin"),
    ]
    assert given.database is db
    assert not db.file.exists()


def test_what_load_finds_is_not_known_before() -> None:
    given = Definition("given", agents=[agent()])
    assert (given.id, given.name) == ("given", "given")
    with pytest.raises(ConfigurationError, match=r"read by load\(\)"):
        _ = given.settings
    with pytest.raises(ConfigurationError, match=r"loaded by load\(\)"):
        _ = given.registry
