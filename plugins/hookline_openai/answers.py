"""What the answers of OpenAI's APIs have in common: JSON that must be checked, event streams, how an answer ends."""

from __future__ import annotations

import json
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hookline import Message, ModelResponse, ToolCall, Usage

_LONGEST_QUOTE = 300
_DEEPEST = 100
_LINE_END = re.compile(rb"[\r\n]")


class AnswerError(Exception):
    """What came back is not an answer."""


class StreamedAnswer(ABC):
    """The answer that the bytes of an event stream add up to."""

    def __init__(self) -> None:
        self.done = False
        self._began = False
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Take some bytes and give the pieces of text that they complete.

        Raises:
            AnswerError: the provider reports an error, or sends what is no piece of an answer.
        """
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        for line in lines:
            if line.startswith(b"data:"):
                event = line[5:].strip()
                if event == b"[DONE]":
                    self.done = True
                elif event and (text := self._checked(decode(event))):
                    yield text

    @abstractmethod
    def take(self, data: Mapping[str, Any]) -> str | None:
        """Take one event and give the text that it brings.

        Raises:
            AnswerError: it is no piece of an answer.
        """

    @abstractmethod
    def result(self) -> ModelResponse:
        """The whole answer, once the stream has ended.

        Raises:
            AnswerError: it is incomplete, a refusal, or withheld by the provider's filter.
        """

    def broken_off(self) -> AnswerError:
        """The error of a stream that ended too early; tells what came if that was no event at all."""
        unread = f": {quote(self._rest)}" if self._rest.strip() and not self._began else ""
        return AnswerError(f"the stream ended in the midst of the answer{unread}")

    def _checked(self, data: Mapping[str, Any]) -> str | None:
        self._began = True
        if data.get("error"):
            raise reported(data["error"])
        return self.take(data)


def model_response(
    content: str | None, calls: list[ToolCall], usage: Usage, *, reasoning: str | None, cut: bool
) -> ModelResponse:
    """The response that the parts of an answer make; `cut` says that it reached its limit of tokens.

    Raises:
        AnswerError: it was cut before it began.
    """
    if cut and not content and not calls:
        raise AnswerError("spent all its tokens before it wrote any text: raise max_completion_tokens")
    text = _whole(content or "") or (None if calls else "")
    return ModelResponse(Message("assistant", text, calls or None), usage, _whole(reasoning or "") or None)


def check_withheld(*, filtered: bool, refusal: str | None) -> None:
    """See that the answer was neither filtered nor refused.

    Raises:
        AnswerError: it was.
    """
    if filtered:
        raise AnswerError("the provider's content filter withheld the answer (content_filter)")
    if refusal:
        raise AnswerError(f"the model refused: {refusal[:_LONGEST_QUOTE]}")


def complete_call(call: ToolCall) -> ToolCall:
    """The call with an id and arguments, also where the server sends none.

    Raises:
        AnswerError: it has no name.
    """
    if not call.name:
        raise AnswerError("a tool call names no tool")
    call.id = _whole(call.id) or f"call_{uuid.uuid4().hex}"
    call.name = _whole(call.name)
    call.arguments = _whole(call.arguments) or "{}"
    return call


def _whole(text: str) -> str:
    """The text with characters that came in two halves put together, and a lone half replaced: no client takes one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def arguments_of(value: object) -> str:
    """The JSON text of a tool call's arguments, or a piece of it.

    Raises:
        AnswerError: it is neither text nor an object.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, dict):  # some servers send the object instead of its text
        return json.dumps(value)
    raise AnswerError(f"a tool call's arguments are of the type {type(value).__name__}")


def usage_of(value: object, asked_name: str, answered_name: str) -> Usage:
    """The usage in an answer, 0 for what it does not tell."""
    counts = value if isinstance(value, dict) else {}
    asked, answered, total = (
        count if isinstance(count := counts.get(name), int) else 0
        for name in (asked_name, answered_name, "total_tokens")
    )
    return Usage(asked, answered, total or asked + answered)


def decode(body: bytes) -> Mapping[str, Any]:
    """The JSON object in some bytes.

    Raises:
        AnswerError: there is none.
    """
    try:
        value = json.loads(body)
    except RecursionError:
        raise AnswerError(f"{_TOO_DEEP}: {quote(body)}") from None
    except ValueError as error:
        raise AnswerError(f"answered something that is not JSON: {quote(body)}") from error
    if body.count(b"[") + body.count(b"{") > _DEEPEST and _is_too_deep(value):
        raise AnswerError(f"{_TOO_DEEP}: {quote(body)}")
    return object_of(value, "answer")


_TOO_DEEP = "answered something that is nested too deeply"


def _is_too_deep(value: object) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        inner = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in inner for child in (item.values() if isinstance(item, dict) else item)]
    return bool(level)


def object_of(value: object, what: str) -> Mapping[str, Any]:
    """The value, which must be an object.

    Raises:
        AnswerError: it is something else.
    """
    if not isinstance(value, dict):
        raise AnswerError(f"the {what} is not an object but {quote(json.dumps(value).encode())}")
    return value


def list_of(data: Mapping[str, Any], name: str) -> Sequence[Any]:
    """A field that must be a list; an empty one if it is missing.

    Raises:
        AnswerError: it is something else.
    """
    value = data.get(name) or []
    if not isinstance(value, list):
        raise AnswerError(f"{name} is of the type {type(value).__name__}, not a list")
    return value


def text_of(data: Mapping[str, Any], name: str) -> str | None:
    """A field that must be text, or missing.

    Raises:
        AnswerError: it is something else.
    """
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise AnswerError(f"{name} is of the type {type(value).__name__}, not text")
    return value


def reported(error: object) -> AnswerError:
    """The error that the provider put in the place of an answer."""
    message = error.get("message") if isinstance(error, dict) else error
    return AnswerError(f"the provider reported an error: {str(message or error)[:_LONGEST_QUOTE]}")


def quote(body: bytes) -> str:
    """Some bytes as they are shown in an error, shortened."""
    text = body.decode("utf-8", "replace")
    return repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "...")
