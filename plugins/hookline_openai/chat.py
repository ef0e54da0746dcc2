"""`OpenAIChat`: the light description of a chat model; its library is imported when it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hookline import ModelRequest, ModelResponse
from hookline_openai import chat_wire
from hookline_openai.answers import StreamedAnswer
from hookline_openai.model import OpenAIModel


class OpenAIChat(OpenAIModel):
    """A model behind OpenAI's chat completions API.

    One object serves all runs, with one client (and its connections) per event loop.

    Args:
        id: the provider's name of the model.
        api_key: the key; `OPENAI_API_KEY` by default, looked up at the first request.
        base_url: where the API is; `OPENAI_BASE_URL`, or OpenAI itself, by default.
        timeout: seconds of silence after which a request fails; 5 at most for the connection.
        max_retries: how often a request that failed (no connection, 408, 409, 429, 5xx) is sent again, after the
            provider's `Retry-After` or a growing delay.
        temperature: how varied the answers are; left to the provider if None, as the next ones.
        top_p: the share of likely words that are considered.
        max_completion_tokens: how long an answer may get.
        reasoning_effort: how long a reasoning model thinks.
        options: any further field of the request's body, `{"max_tokens": 500}`, also another provider's own.
        default_headers: HTTP headers of every request.

    Raises:
        ConfigurationError: an option is hookline's own to set.
    """

    path = chat_wire.PATH
    reserved = chat_wire.RESERVED

    def _body_options(self, named: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        return {**named, **options}

    def _request_body(self, request: ModelRequest) -> dict[str, Any]:
        return chat_wire.request_body(self.id, self.options, request)

    def _read_answer(self, body: bytes) -> ModelResponse:
        return chat_wire.read_answer(body)

    def _streamed_answer(self) -> StreamedAnswer:
        return chat_wire.StreamedChat()
