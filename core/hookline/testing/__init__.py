"""Helpers for the tests of agents, hooks and plugins.

**A model that answers what the test says**

    model = ScriptedModel(call_tool("add", a=1, b=2), "The sum is 3.")
    run = await Agent(name="Adder", model=model, tools=[add]).arun("1 + 2?")
    assert run.content == "The sum is 3."
    assert model.requests[1].messages[-1].content == "3"

**A clock that a test moves**: `ManualClock`, for `AgentOS(clock=...)`.

**An AgentOS under test**: with hookline installed, pytest has the fixtures `agent_os` (a `RunningAgentOS`), `client`,
`clock` and `recorder` (a `Recorder`); see `hookline_pytest`.

**The contracts of models and storages**, as classes of tests: a plugin that provides a model subclasses `ModelContract`
and tells, by a `FarEnd`, how the other side is made to do each thing; one that provides a storage subclasses
`StorageContract` and tells how to make an empty one. These need pytest, which is imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hookline.testing.hook_calls import HookCall
from hookline.testing.manual_clock import ManualClock
from hookline.testing.recorder import Recorder
from hookline.testing.running import RunningAgentOS
from hookline.testing.scripted_model import Reply, ScriptedModel, call_tool

if TYPE_CHECKING:
    from hookline.testing.model_contract import Capability, Exchange, FarEnd, ModelContract, RemoteEnd
    from hookline.testing.storage_contract import StorageContract

__all__ = [
    "Capability",
    "Exchange",
    "FarEnd",
    "HookCall",
    "ManualClock",
    "ModelContract",
    "Recorder",
    "RemoteEnd",
    "Reply",
    "RunningAgentOS",
    "ScriptedModel",
    "StorageContract",
    "call_tool",
]

_MODEL_CONTRACT = frozenset({"Capability", "Exchange", "FarEnd", "ModelContract", "RemoteEnd"})


def __getattr__(name: str) -> Any:
    """Import a contract at its first use; its assertions then explain themselves as those of test files do."""
    if name in _MODEL_CONTRACT:
        import pytest

        pytest.register_assert_rewrite("hookline.testing.model_contract")
        from hookline.testing import model_contract

        return getattr(model_contract, name)
    if name == "StorageContract":
        from hookline.testing.storage_contract import StorageContract

        return StorageContract
    raise AttributeError(f"module 'hookline.testing' has no attribute {name!r}")
