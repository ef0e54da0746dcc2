"""What the models of this package share: settings, the connection to the provider, and the course of a call."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar

from hookline import ConfigurationError, ModelError, ModelRequest, ModelResponse
from hookline_openai.answers import AnswerError, StreamedAnswer

if TYPE_CHECKING:
    from hookline_openai.client import Provider


class OpenAIModel(ABC):
    """A model behind one of OpenAI's APIs; `OpenAIChat` tells what the arguments are.

    Attributes:
        path: where the API is below the base URL.
        reserved: fields of a request that hookline sets itself.
    """

    path: ClassVar[str]
    reserved: ClassVar[frozenset[str]]

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
        self.options = self._body_options(
            {name: value for name, value in named.items() if value is not None}, options or {}
        )
        if taken := sorted(self.reserved & self.options.keys()):
            raise ConfigurationError(f"{self!r}: options must not hold {', '.join(taken)}: hookline sets these itself")
        self._api_key = api_key
        self._provider: Provider | None = None
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r})"

    def open(self) -> None:
        """Import the openai library; takes about a second the first time, so call it in a thread."""
        with self._opening:
            if self._provider is None:
                from hookline_openai.client import Provider  # imports openai

                self._provider = Provider(self, self.path, self._api_key)

    async def respond(self, request: ModelRequest, emit: Callable[[str], None]) -> ModelResponse:
        """Answer one request; with `request.stream`, each piece of text goes to `emit` as it comes.

        A cancellation closes the connection to the provider.

        Raises:
            ModelError: no key, no connection, an error of the provider, a refusal, or garbage.
        """
        if self._provider is None:
            await asyncio.to_thread(self.open)
        assert self._provider is not None  # noqa: S101 - `open` has set it
        body = self._request_body(request)
        try:
            if not request.stream:
                return self._read_answer(await self._provider.post(body, request.retries))
            answer = self._streamed_answer()
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

    @abstractmethod
    def _body_options(self, named: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of each request's body: those with an argument of their own, and `options`, which win."""

    @abstractmethod
    def _request_body(self, request: ModelRequest) -> dict[str, Any]:
        """The body of one request."""

    @abstractmethod
    def _read_answer(self, body: bytes) -> ModelResponse:
        """The answer in the body of a response; raises AnswerError."""

    @abstractmethod
    def _streamed_answer(self) -> StreamedAnswer:
        """What puts a streamed answer together."""
