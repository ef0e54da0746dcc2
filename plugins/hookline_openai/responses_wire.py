"""The Responses API as plain data: what is asked, and what an answer must look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hookline import Message, ModelRequest, ModelResponse, ToolCall, ToolDefinition
from hookline_openai.answers import (
    AnswerError,
    StreamedAnswer,
    arguments_of,
    check_withheld,
    complete_call,
    decode,
    list_of,
    model_response,
    object_of,
    quote,
    reported,
    text_of,
    usage_of,
)
from hookline_openai.schemas import named_schema

PATH = "/responses"

RESERVED = frozenset(
    {"model", "input", "tools", "stream", "stream_options", "background", "conversation", "previous_response_id"}
)
"""Fields of a request that hookline sets, or that would keep the history elsewhere than in its database."""

_ENDS = ("response.completed", "response.incomplete", "response.failed")


def request_body(model_id: str, options: Mapping[str, Any], request: ModelRequest) -> dict[str, Any]:
    """The body of one request; the request's own options win over the model's."""
    body: dict[str, Any] = {
        "store": False,
        **options,
        **request.options,
        "model": model_id,
        "input": [item for message in request.messages for item in _items(message)],
    }
    if request.tools:
        body["tools"] = [_tool_data(tool) for tool in request.tools]
    if request.output_schema is not None:
        schema_format = {"type": "json_schema", **named_schema(request.output_schema)}
        body["text"] = {**body.get("text", {}), "format": schema_format}
    if request.stream:
        body["stream"] = True
    return body


def _items(message: Message) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        yield {"type": "function_call_output", "call_id": message.tool_call_id, "output": message.content or ""}
        return
    if message.content or not message.tool_calls:
        yield {"role": message.role, "content": message.content or ""}
    for call in message.tool_calls or ():
        yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}


def _tool_data(tool: ToolDefinition) -> dict[str, Any]:
    # This API is strict unless told otherwise, and then changes schemas that strict mode does not know.
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": False,
    }


def read_answer(body: bytes) -> ModelResponse:
    """The answer in the body of a response.

    Raises:
        AnswerError: it is a refusal, withheld by the provider's filter, or no answer at all.
    """
    data = decode(body)
    if not (isinstance(data.get("output"), list) or data.get("error")):
        raise AnswerError(f"answered without an output: {quote(body)}")
    return _read(data)


class StreamedResponse(StreamedAnswer):
    """The answer that a stream of response events adds up to."""

    def __init__(self) -> None:
        super().__init__()
        self._items: dict[int, Any] = {}
        self._response: Mapping[str, Any] | None = None

    def take(self, data: Mapping[str, Any]) -> str | None:
        """See `StreamedAnswer.take`.

        Raises:
            AnswerError: it is no piece of an answer.
        """
        kind = data.get("type")
        if kind == "response.output_text.delta":
            return text_of(data, "delta")
        if kind == "response.output_item.done":
            index = data.get("output_index")
            self._items[index if isinstance(index, int) else len(self._items)] = data.get("item")
        elif kind in _ENDS:
            self._response = object_of(data.get("response"), "response")
        elif kind == "error":
            raise reported(data)
        return None

    def result(self) -> ModelResponse:
        """See `StreamedAnswer.result`.

        Raises:
            AnswerError: there is no answer.
        """
        if self._response is None:
            raise self.broken_off()
        if self._response.get("output"):
            return _read(self._response)
        # Some servers do not repeat at the end what they sent item by item.
        return _read({**self._response, "output": [item for _, item in sorted(self._items.items())]})


def _read(response: Mapping[str, Any]) -> ModelResponse:
    status, error = response.get("status"), response.get("error")
    if error or status == "failed":
        raise reported(error or "no reason given")
    if status not in (None, "completed", "incomplete"):
        raise AnswerError(f"sent no whole answer: its status is {status!r}")
    reason = object_of(response.get("incomplete_details") or {}, "incomplete_details").get("reason")
    output = _Output(response)
    check_withheld(filtered=reason == "content_filter", refusal="".join(output.refusal))
    return model_response(
        "".join(output.texts),
        output.calls,
        usage_of(response.get("usage"), "input_tokens", "output_tokens"),
        reasoning="\n\n".join(output.reasoning),
        cut=status == "incomplete",
    )


class _Output:
    """The items of an answer, sorted by what they are; those that hookline did not ask for are passed over."""

    def __init__(self, response: Mapping[str, Any]) -> None:
        self.texts: list[str] = []
        self.refusal: list[str] = []
        self.reasoning: list[str] = []
        self.calls: list[ToolCall] = []
        takers = {"message": self._message, "function_call": self._call, "reasoning": self._thought}
        for value in list_of(response, "output"):
            item = object_of(value, "output item")
            if take := takers.get(text_of(item, "type") or ""):
                take(item)

    def _message(self, item: Mapping[str, Any]) -> None:
        for value in list_of(item, "content"):
            part = object_of(value, "content part")
            self.texts.append(text_of(part, "text") or "")
            self.refusal.append(text_of(part, "refusal") or "")

    def _call(self, item: Mapping[str, Any]) -> None:
        id_, name = text_of(item, "call_id") or "", text_of(item, "name") or ""
        self.calls.append(complete_call(ToolCall(id_, name, arguments_of(item.get("arguments")))))

    def _thought(self, item: Mapping[str, Any]) -> None:
        """A summary, or the text itself, which servers of open models send."""
        for value in list_of(item, "summary") or list_of(item, "content"):
            if text := text_of(object_of(value, "reasoning part"), "text"):
                self.reasoning.append(text)
