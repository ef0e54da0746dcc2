"""The provider's side: HTTP through the openai SDK's client, and its errors as `ModelError`.

The SDK's `post` is used rather than `chat.completions.create` or `responses.create`: connections, authentication,
retries and errors are the same, but the answer comes as bytes. Building the SDK's response objects takes a third of a
call's CPU and three quarters of a stream's, and these objects do not check what they hold.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any

import httpx2
import openai

from hookline import ModelError

if TYPE_CHECKING:
    from hookline_openai.model import OpenAIModel

_CONNECT_SECONDS = 5.0
_LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=200)
_KEY_LIKE = re.compile(r"\bsk-[\w*.-]{4,}")
_SHORTEST_KEY = 8  # servers that need none get "none" or "x", which is no secret and part of any text
_LONGEST_TEXT = 500

# Besides the SDK's own errors: a body that breaks off, a bad URL, what cannot be encoded as JSON or header.
_FAILURES = (
    openai.OpenAIError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.StreamError,
    TypeError,
    ValueError,
)


class Provider:
    """One provider as one model uses it: a client per event loop, shared by all runs of that loop.

    Args:
        model: whose settings count.
        path: where the model's API is below the base URL.
        api_key: the key; None: `OPENAI_API_KEY`.
    """

    def __init__(self, model: OpenAIModel, path: str, api_key: str | None) -> None:
        self._model = model
        self._path = path
        self._api_key = api_key
        self._clients: dict[asyncio.AbstractEventLoop, openai.AsyncOpenAI] = {}
        self._lock = threading.Lock()
        # Takes tens of milliseconds, which must not be the event loop's.
        self._ssl_context = httpx2.create_ssl_context()

    @property
    def _connect_seconds(self) -> float:
        return min(self._model.timeout, _CONNECT_SECONDS)

    @property
    def label(self) -> str:
        """The model, as error messages name it."""
        return f"model {self._model.id!r}"

    async def post(self, body: Mapping[str, Any], retries: int | None) -> bytes:
        """Send one request and read its whole answer.

        Raises:
            ModelError: it failed.
        """
        response = await self._send(self._client(), body, retries, stream=False)
        return response.content

    async def stream(self, body: Mapping[str, Any], retries: int | None) -> AsyncGenerator[bytes, None]:
        """Send one request and give the bytes of its answer as they come; closing it closes the connection.

        Raises:
            ModelError: it failed, at first or in the midst.
        """
        client = self._client()
        response = await self._send(client, body, retries, stream=True)
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except _FAILURES as error:
            raise self._model_error(error, client) from _without_key(error, client.api_key)
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the running event loop's client."""
        with self._lock:
            client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    async def _send(
        self, client: openai.AsyncOpenAI, body: Mapping[str, Any], retries: int | None, *, stream: bool
    ) -> httpx2.Response:
        options: openai.RequestOptions = {} if retries is None else {"max_retries": retries}
        try:
            return await client.post(self._path, cast_to=httpx2.Response, body=body, options=options, stream=stream)
        except _FAILURES as error:
            raise self._model_error(error, client) from _without_key(error, client.api_key)

    def _client(self) -> openai.AsyncOpenAI:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._new_client()
            with self._lock:
                for closed in [known for known in self._clients if known.is_closed()]:
                    del self._clients[closed]
                self._clients[loop] = client
        return client

    def _new_client(self) -> openai.AsyncOpenAI:
        model = self._model
        api_key = (self._api_key or os.environ.get("OPENAI_API_KEY", "")).strip()  # files end with a newline
        if not api_key:
            raise ModelError(
                f"{self.label}: there is no API key: set OPENAI_API_KEY, or give {type(model).__name__}(api_key=...)"
                " (a server that needs none takes any text)"
            )
        timeout = httpx2.Timeout(model.timeout, connect=self._connect_seconds)
        try:
            return openai.AsyncOpenAI(
                api_key=api_key,
                base_url=model.base_url or None,
                timeout=timeout,
                max_retries=model.max_retries,
                default_headers=model.default_headers,
                http_client=openai.DefaultAsyncHttpxClient(verify=self._ssl_context, limits=_LIMITS, timeout=timeout),
            )
        except _FAILURES as error:
            raise ModelError(f"{self.label}: {_redacted(_text_of(error), api_key)}") from _without_key(error, api_key)

    def _model_error(self, error: Exception, client: openai.AsyncOpenAI) -> ModelError:
        status = error.status_code if isinstance(error, openai.APIStatusError) else None
        text = _redacted(self._reason(error), client.api_key)
        return ModelError(f"{self.label} at {client.base_url.host}: {text}", status_code=status)

    def _reason(self, error: Exception) -> str:
        match error:
            case openai.AuthenticationError():
                return f"HTTP 401, check OPENAI_API_KEY: {_said_by_provider(error)}"
            case openai.APIStatusError():
                return f"HTTP {error.status_code}: {_said_by_provider(error)}"
            case openai.APITimeoutError() | httpx2.TimeoutException():
                connecting = isinstance(error.__cause__, httpx2.ConnectTimeout)
                what, seconds = ("connection", self._connect_seconds) if connecting else ("answer", self._model.timeout)
                return f"timed out: no {what} within {seconds:g} s"
            case openai.APIConnectionError():
                return f"the connection failed: {_text_of(error.__cause__ or error)}"
            case httpx2.HTTPError() | httpx2.StreamError():
                return f"the connection broke: {_text_of(error)}"
            case _:
                return f"the request could not be made: {_text_of(error)}"


def _said_by_provider(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict) and isinstance(message := body.get("message"), str) and message:
        return message
    return str(body or error.message)


def _text_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _without_key(error: Exception, api_key: str) -> Exception | None:
    """The error as the cause of another, unless a traceback would show the key."""
    return None if _has_key(str(error), api_key) else error


def _redacted(text: str, api_key: str) -> str:
    """Take the key out of a text, and what looks like one; shorten it."""
    hidden = text.replace(api_key, "***") if _has_key(text, api_key) else text
    return _KEY_LIKE.sub("***", hidden)[:_LONGEST_TEXT]


def _has_key(text: str, api_key: str) -> bool:
    return len(api_key) >= _SHORTEST_KEY and api_key in text
