"""`OpenAIChat`: the light description of a chat model; its library is imported when it is opened."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from hookline import ConfigurationError, ModelError, ModelRequest, ModelResponse
from hookline_openai.wire import RESERVED, AnswerError, StreamedAnswer, read_answer, request_body

if TYPE_CHECKING:
    from hookline_openai.client import Provider


class OpenAIChat:
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

    def __init__(
        self,
        id: str = "gpt-4o-mini",
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = 120.0,
        max_retries: int = 2,
        temperature: float | None = None,
        top_p: float | None = None,
        max_completion_tokens: int | None = None,
        reasoning_effort: str | None = None,
        options: Mapping[str, Any] | None = None,
        default_headers: Mapping[str, str] | None = None,
    ) -> None:
        self.id = id
        self.base_url = base_url
        self.timeout = timeout
        self.max_retries = max_retries
        self.default_headers = default_headers
        named = {
            "temperature": temperature,
            "top_p": top_p,
            "max_completion_tokens": max_completion_tokens,
            "reasoning_effort": reasoning_effort,
        }
        self.options = {name: value for name, value in named.items() if value is not None} | dict(options or {})
        if taken := sorted(RESERVED & self.options.keys()):
            raise ConfigurationError(
                f"OpenAIChat({id!r}): options must not hold {', '.join(taken)}: hookline sets these itself"
            )
        self._api_key = api_key
        self._provider: Provider | None = None
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        return f"OpenAIChat(id={self.id!r})"

    def open(self) -> None:
        """Import the openai library; takes about a second the first time, so call it in a thread."""
        with self._opening:
            if self._provider is None:
                from hookline_openai.client import Provider  # imports openai

                self._provider = Provider(self, self._api_key)

    async def respond(self, request: ModelRequest, emit: Callable[[str], None]) -> ModelResponse:
        """Answer one request; with `request.stream`, each piece of text goes to `emit` as it comes.

        A cancellation closes the connection to the provider.

        Raises:
            ModelError: no key, no connection, an error of the provider, a refusal, or garbage.
        """
        if self._provider is None:
            await asyncio.to_thread(self.open)
        assert self._provider is not None  # noqa: S101 - `open` has set it
        body = request_body(self.id, self.options, request)
        try:
            if not request.stream:
                return read_answer(await self._provider.post(body, request.retries))
            answer = StreamedAnswer()
            async with aclosing(self._provider.stream(body, request.retries)) as chunks:
                async for chunk in chunks:
                    for text in answer.feed(chunk):
                        emit(text)
            return answer.result()
        except AnswerError as error:
            raise ModelError(f"{self._provider.label}: {error}") from error

    async def aclose(self) -> None:
        """Close the running event loop's client and its connections."""
        if self._provider is not None:
            await self._provider.aclose()
