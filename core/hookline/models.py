"""Models: what an agent asks, and what a model plugin implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from hookline.messages import Message


@dataclass(slots=True)
class ToolDefinition:
    """A tool as a model sees it; `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(slots=True)
class Usage:
    """Tokens of one call, as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


@dataclass(slots=True)
class ModelRequest:
    """One call of a model.

    Attributes:
        messages: the whole conversation, a system message first if there is one.
        tools: what the model may call.
        stream: whether text is wanted piece by piece.
        output_schema: the JSON Schema (with a `title`) that the answer must follow, or None.
        retries: how often the client may repeat a call that failed; None: the client's own choice.
        options: the provider's own parameters (`temperature`, ...).
    """

    messages: Sequence[Message]
    tools: Sequence[ToolDefinition] = ()
    stream: bool = False
    output_schema: Mapping[str, Any] | None = None
    retries: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class ModelResponse:
    """A model's whole answer.

    Attributes:
        message: the assistant's message.
        usage: what it cost.
        reasoning: what the provider shows of the model's reasoning, for `post_model` hooks; it is stored nowhere.
    """

    message: Message
    usage: Usage = field(default_factory=Usage)
    reasoning: str | None = None


@runtime_checkable
class Model(Protocol):
    """What an agent can use as its model.

    An object is shared by all runs and may be used from several event loops: it keeps one client per loop.
    Making one costs nothing: no import of a heavy library, no key needed; both wait for `open()`.
    """

    id: str

    def open(self) -> None:
        """Import what the model needs; called once at start, in a thread."""

    async def respond(self, request: ModelRequest, emit: Callable[[str], None]) -> ModelResponse:
        """Answer one request; with `request.stream`, also give each piece of text to `emit` as it comes.

        A cancellation closes the connection to the provider.

        Raises:
            ModelError: the provider failed, refused or answered something else than an answer.
        """
        ...

    async def aclose(self) -> None:
        """Close what belongs to the running event loop."""
