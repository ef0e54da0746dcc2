"""A provider and a model that talks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hookline_openai import OpenAIChat
from stub_openai import StubOpenAI


@pytest.fixture
async def stub() -> AsyncIterator[StubOpenAI]:
    async with StubOpenAI() as running:
        yield running


@pytest.fixture
async def model(stub: StubOpenAI) -> AsyncIterator[OpenAIChat]:
    """A model that does not retry by itself."""
    chat = OpenAIChat("test-model", api_key="sk-secret-1234", base_url=stub.base_url, max_retries=0)
    yield chat
    await chat.aclose()
