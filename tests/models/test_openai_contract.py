"""`OpenAIChat` and `OpenAIResponses` keep the contract of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from hookline import Model
from hookline.testing import ModelContract
from hookline_openai import OpenAIChat, OpenAIResponses
from stub_far_end import StubEnd
from stub_openai import StubOpenAI


class ChatEnd(StubEnd):
    def model(self) -> Model:
        return OpenAIChat("test-model", api_key="k", base_url=self.stub.base_url)

    def results_in(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        return {each["tool_call_id"]: each["content"] for each in body["messages"] if each["role"] == "tool"}


class ResponsesEnd(StubEnd):
    def model(self) -> Model:
        return OpenAIResponses("test-model", api_key="k", base_url=self.stub.base_url)

    def results_in(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        items = [item for item in body["input"] if item.get("type") == "function_call_output"]
        return {item["call_id"]: item["output"] for item in items}


class TestOpenAIChat(ModelContract):
    @pytest.fixture
    def far_end(self, stub: StubOpenAI) -> ChatEnd:
        return ChatEnd(stub)


class TestOpenAIResponses(ModelContract):
    @pytest.fixture
    def far_end(self, stub: StubOpenAI) -> ResponsesEnd:
        return ResponsesEnd(stub)
