"""`OpenAIResponses`: the light description of a model; its library is imported when it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hookline import ModelRequest, ModelResponse
from hookline_openai import responses_wire
from hookline_openai.answers import StreamedAnswer
from hookline_openai.model import OpenAIModel

_OWN_NAMES = {"max_completion_tokens": "max_output_tokens"}


class OpenAIResponses(OpenAIModel):
    """A model behind OpenAI's Responses API.

        OpenAIResponses(id="gpt-5-mini", reasoning_effort="low", options={"reasoning": {"summary": "auto"}})

    The arguments are those of `OpenAIChat`. In the request's body `max_completion_tokens` is `max_output_tokens`, and
    `reasoning_effort` is a part of `reasoning`; the summary asked for above is the `reasoning` of the `ModelResponse`.

    hookline keeps the history, and the provider is told not to (`store`): each request holds the whole conversation,
    without the model's reasoning of earlier requests. `options={"store": True}` keeps a copy there as well.

    Raises:
        ConfigurationError: an option is hookline's own to set.
    """

    path = responses_wire.PATH
    reserved = responses_wire.RESERVED

    def _body_options(self, named: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        body = {_OWN_NAMES.get(name, name): value for name, value in named.items()} | dict(options)
        if (effort := body.pop("reasoning_effort", None)) is not None:
            body["reasoning"] = {"effort": effort, **(body.get("reasoning") or {})}
        return body

    def _request_body(self, request: ModelRequest) -> dict[str, Any]:
        return responses_wire.request_body(self.id, self.options, request)

    def _read_answer(self, body: bytes) -> ModelResponse:
        return responses_wire.read_answer(body)

    def _streamed_answer(self) -> StreamedAnswer:
        return responses_wire.StreamedResponse()
