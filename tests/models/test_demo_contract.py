"""`DemoModel` keeps the contract of models, as far as a model without a far end can."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from hookline import Model, ModelResponse, ToolCall, ToolDefinition, Usage
from hookline.testing import Capability, Exchange, FarEnd, ModelContract
from hookline_demo import DemoModel


class DemoEnd(FarEnd):
    """What is said steers the model: it repeats it, and calls the tools that are mentioned."""

    def model(self) -> Model:
        return DemoModel(delay=0)

    def text(self) -> Exchange:
        said = "Grüße 👋 to everybody"
        return Exchange(user=said, text=f"You said: {said}", usage=Usage(4, 6, 10))

    def tool_calls(self, tools: Sequence[ToolDefinition]) -> Exchange:
        assert [tool.name for tool in tools] == ["roll_a_die", "flip_a_coin"]
        calls = [("roll_a_die", {"sides": 20}), ("flip_a_coin", {})]
        return Exchange(user="Roll a die of 20 sides, and flip a coin!", tool_calls=calls)

    def tool_results(self, calls: Sequence[ToolCall], response: ModelResponse) -> Sequence[str]:
        _, *told = re.split(r"(\w+) says: ", response.message.content or "")
        results = dict(zip(told[::2], told[1::2], strict=True))
        return [results[call.name].strip() for call in calls]


class TestDemoModel(ModelContract):
    capabilities = frozenset(Capability) - {Capability.REASONING, Capability.REMOTE}

    @pytest.fixture
    def far_end(self) -> DemoEnd:
        return DemoEnd()
