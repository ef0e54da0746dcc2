"""A provider and the models that talk to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hookline_openai import OpenAIChat, OpenAIResponses
from hookline_openai.model import OpenAIModel
from stub_openai import StubOpenAI


@pytest.fixture
async def stub() -> AsyncIterator[StubOpenAI]:
    async with StubOpenAI() as running:
        yield running


@pytest.fixture(params=[OpenAIChat, OpenAIResponses])
def model_class(request: pytest.FixtureRequest) -> type[OpenAIModel]:
    chosen: type[OpenAIModel] = request.param
    return chosen


@pytest.fixture
async def model(stub: StubOpenAI, model_class: type[OpenAIModel]) -> AsyncIterator[OpenAIModel]:
    """A model that does not retry by itself."""
    model = model_class("test-model", api_key="sk-secret-1234", base_url=stub.base_url, max_retries=0)
    yield model
    await model.aclose()
