"""What every model must do, as a class of tests: `ModelContract`.

    from hookline.testing import Capability, FarEnd, ModelContract

    class TestMyModel(ModelContract):
        capabilities = frozenset(Capability) - {Capability.REASONING}

        @pytest.fixture
        def far_end(self) -> MyFarEnd:
            return MyFarEnd()

`MyFarEnd` is a `RemoteEnd`: a server of the test's own that speaks the provider's language, and is told what to do
next. A model that asks nobody has a `FarEnd`, and does not declare `Capability.REMOTE`.
"""

# ruff: noqa: S101 - a contract is made of assertions

from __future__ import annotations

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

import pytest

from hookline.errors import ModelError
from hookline.messages import Message, ToolCall
from hookline.models import Model, ModelRequest, ModelResponse, ToolDefinition, Usage

__all__ = ["Capability", "Exchange", "FarEnd", "ModelContract", "RemoteEnd"]

_DEADLINE = 30.0
_RETRY_AFTER = 1.0
"""Seconds; more than the first delay that clients choose by themselves."""

_TOOLS = (
    ToolDefinition(
        "roll_a_die",
        "Roll a die.",
        {"type": "object", "properties": {"sides": {"type": "integer", "minimum": 2}}, "required": ["sides"]},
    ),
    ToolDefinition("flip_a_coin", "Flip a coin.", {"type": "object", "properties": {}}),
)
_RESULTS = ("17", "Error: CoinLostError: it rolled under the table")


class Capability(StrEnum):
    """What a model can do; where it matters, the contract also sees that a model does not do more than it declares."""

    STREAM = "stream"
    """Text comes piece by piece."""
    TOOL_CALLS = "tool_calls"
    """It calls tools and reads their results."""
    PARALLEL_TOOL_CALLS = "parallel_tool_calls"
    """It calls several tools in one answer."""
    USAGE = "usage"
    """It tells the tokens of each call."""
    REASONING = "reasoning"
    """It shows its reasoning."""
    REMOTE = "remote"
    """It asks a server over HTTP, which can fail, fall silent, or break the connection."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One call as the far end is set to answer it, and thus what the model must make of it.

    Attributes:
        user: what the user must say; far ends that are steered by it may write anything here.
        text: the answer's text.
        tool_calls: names and arguments of the tools that are called.
        reasoning: the reasoning text that the far end sends.
        usage: what the far end counts for it, streamed or not.
    """

    user: str
    text: str = ""
    tool_calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    reasoning: str | None = None
    usage: Usage = field(default_factory=Usage)


class FarEnd(ABC):
    """The other side of a model. Each method that returns an `Exchange` sets what the next calls with its `user` do."""

    @abstractmethod
    def model(self) -> Model:
        """A new model that asks this far end; the tests open and close it."""

    @abstractmethod
    def text(self) -> Exchange:
        """Answer a text of several words, some of them beyond ASCII, in several pieces if it is streamed."""

    @abstractmethod
    def tool_calls(self, tools: Sequence[ToolDefinition]) -> Exchange:
        """Call each of these tools once, in their order (without `PARALLEL_TOOL_CALLS`: the first).

        Where the conversation ends with their results, answer any text instead.
        """

    @abstractmethod
    def tool_results(self, calls: Sequence[ToolCall], response: ModelResponse) -> Sequence[str]:
        """What the far end was given, in the call that `response` answers, as the results of these tool calls."""

    def reasoning(self) -> Exchange:
        """Answer a text and the reasoning before it; as `text()` where there is none."""
        return self.text()


class RemoteEnd(FarEnd):
    """A server as the other side; counts are of all calls since it was made."""

    @abstractmethod
    def failing(self, status: int, *, times: int | None = None, retry_after: float | None = None) -> Exchange:
        """Answer errors of this HTTP status, at first `times` times (None: always), then a text.

        `retry_after` is the `Retry-After` of these errors, in seconds.
        """

    @abstractmethod
    def dropping(self) -> Exchange:
        """Break the connection: after the first piece of a stream, otherwise before the answer."""

    @abstractmethod
    def holding(self) -> Exchange:
        """Fall silent until `release()`: after the first piece of a stream, otherwise before the answer."""

    @abstractmethod
    async def held(self) -> None:
        """Wait until a call has come to that silence."""

    @abstractmethod
    def release(self) -> None:
        """End the silence: the answer goes on."""

    @abstractmethod
    async def left(self) -> None:
        """Wait until a client has closed its connection before its answer was complete."""

    @abstractmethod
    def requests(self) -> int:
        """How many HTTP requests for an answer have come, repeated ones included."""


class ModelContract:
    """The tests that every model passes; subclass it as `Test...`, and override the fixture `far_end`.

    They run on asyncio, through the pytest plugin that anyio brings.

    Attributes:
        capabilities: what the model can do; everything, unless declared otherwise. A test of what is not declared
            looks for the opposite, or is skipped with that reason.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)
    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        """The only event loop that hookline runs on."""
        return "asyncio"

    @pytest.fixture
    def far_end(self) -> FarEnd:
        """The other side of the model: to be overridden, as a sync or an async fixture."""
        pytest.fail(f"{type(self).__name__} must override the fixture `far_end`")

    @pytest.fixture
    def remote_end(self, far_end: FarEnd) -> RemoteEnd:
        """The far end of a model that declares `Capability.REMOTE`."""
        self._need(Capability.REMOTE)
        if not isinstance(far_end, RemoteEnd):
            pytest.fail(f"{type(self).__name__} declares Capability.REMOTE: {far_end!r} must be a RemoteEnd")
        return far_end

    @pytest.fixture
    async def model(self, far_end: FarEnd) -> AsyncIterator[Model]:
        """The model, closed in the end."""
        model = far_end.model()
        yield model
        await model.aclose()

    async def test_it_is_a_model_that_may_be_opened_and_closed_at_any_time(self, model: Model) -> None:
        """Opening and closing twice, in this order or the other, is no error."""
        assert isinstance(model, Model)
        await model.aclose()
        for _ in range(2):
            await asyncio.to_thread(model.open)
        for _ in range(2):
            await model.aclose()

    async def test_an_answer(self, model: Model, far_end: FarEnd) -> None:
        """Text and usage are the far end's, and nothing is emitted where no stream was asked for."""
        exchange = far_end.text()
        pieces, response = await _ask(model, exchange)

        assert pieces == []
        assert response.message == Message("assistant", exchange.text)
        self._check_usage(response, exchange)

    async def test_a_stream(self, model: Model, far_end: FarEnd) -> None:
        """The pieces add up to the text, and the response is the same as without a stream."""
        exchange = far_end.text()
        pieces, response = await _ask(model, exchange, stream=True)

        assert response.message == Message("assistant", exchange.text)
        assert (len(pieces) > 1) == (Capability.STREAM in self.capabilities)
        assert "".join(pieces) == (exchange.text if pieces else "")
        assert "" not in pieces
        self._check_usage(response, exchange)

    @pytest.mark.parametrize("stream", [False, True])
    async def test_reasoning(self, model: Model, far_end: FarEnd, stream: bool) -> None:
        """The reasoning is beside the text and not a part of it."""
        exchange = far_end.reasoning()
        pieces, response = await _ask(model, exchange, stream=stream)

        assert (exchange.reasoning is not None) == (Capability.REASONING in self.capabilities)
        assert response.reasoning == exchange.reasoning
        assert response.message.content == exchange.text
        assert "".join(pieces) in {"", exchange.text}

    @pytest.mark.parametrize("stream", [False, True])
    async def test_tool_calls(self, model: Model, far_end: FarEnd, stream: bool) -> None:
        """Calls are whole, in order, and each has an id of its own."""
        self._need(Capability.TOOL_CALLS)
        exchange = far_end.tool_calls(_TOOLS)
        _, response = await _ask(model, exchange, stream=stream, tools=_TOOLS)
        calls = response.message.tool_calls or []

        parallel = Capability.PARALLEL_TOOL_CALLS in self.capabilities
        assert [call.name for call in calls] == [tool.name for tool in _TOOLS[: 2 if parallel else 1]]
        assert [(call.name, json.loads(call.arguments)) for call in calls] == list(exchange.tool_calls)
        assert len({call.id for call in calls}) == len(calls)
        assert all(call.id for call in calls)

    @pytest.mark.parametrize("stream", [False, True])
    async def test_results_and_errors_of_tools_are_passed_back(
        self, model: Model, far_end: FarEnd, stream: bool
    ) -> None:
        """Each result reaches the far end as that of its own call; an error is a result like any other."""
        self._need(Capability.TOOL_CALLS)
        exchange = far_end.tool_calls(_TOOLS)
        _, asked = await _ask(model, exchange, stream=stream, tools=_TOOLS)
        calls = asked.message.tool_calls or []
        results = _RESULTS[-len(calls) :]
        told = [Message("tool", text, tool_call_id=call.id) for call, text in zip(calls, results, strict=True)]

        _, response = await _ask(model, exchange, asked.message, *told, stream=stream, tools=_TOOLS)

        assert response.message.content
        assert not response.message.tool_calls
        assert list(far_end.tool_results(calls, response)) == list(results)

    async def test_a_call_that_is_cancelled_in_mid_stream_ends_there(self, model: Model, far_end: FarEnd) -> None:
        """The cancellation comes through, and the model goes on with other calls."""
        self._need(Capability.STREAM)
        exchange = far_end.text()

        def cancel(piece: str) -> None:
            del piece
            call.cancel()

        call = asyncio.create_task(_respond(model, exchange, cancel, stream=True))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, _DEADLINE)

        _, response = await _ask(model, exchange)
        assert response.message.content == exchange.text

    async def test_several_event_loops_use_one_model_at_once(self, model: Model, far_end: FarEnd) -> None:
        """Nothing that belongs to one event loop is used in another, nor missed after it was closed."""
        exchange = far_end.text()

        async def use() -> list[str | None]:
            responses = [(await _ask(model, exchange, stream=stream))[1] for stream in (False, True)]
            await model.aclose()
            return [response.message.content for response in responses]

        for _ in range(2):
            threads = [asyncio.to_thread(lambda: asyncio.run(use())) for _ in range(3)]
            assert await asyncio.gather(use(), *threads) == [[exchange.text] * 2] * 4

    async def test_a_piece_is_emitted_before_the_next_one_is_there(self, model: Model, remote_end: RemoteEnd) -> None:
        """A stream waits for nothing but its next piece."""
        self._need(Capability.STREAM)
        exchange, pieces, first = remote_end.holding(), list[str](), asyncio.Event()

        def emit(piece: str) -> None:
            pieces.append(piece)
            first.set()

        call = asyncio.create_task(_respond(model, exchange, emit, stream=True))
        await asyncio.wait_for(first.wait(), _DEADLINE)
        assert exchange.text.startswith(pieces[0])
        assert not call.done()
        remote_end.release()

        assert (await asyncio.wait_for(call, _DEADLINE)).message.content == exchange.text == "".join(pieces)

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_cancellation_closes_the_far_connection(
        self, model: Model, remote_end: RemoteEnd, stream: bool
    ) -> None:
        """Nobody pays for an answer that nobody reads; the model goes on with other calls."""
        call = asyncio.create_task(_ask(model, remote_end.holding(), stream=stream))
        await asyncio.wait_for(remote_end.held(), _DEADLINE)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, _DEADLINE)

        await asyncio.wait_for(remote_end.left(), _DEADLINE)
        exchange = remote_end.text()
        _, response = await _ask(model, exchange)
        assert response.message.content == exchange.text

    async def test_a_429_is_repeated_after_the_time_it_names(self, model: Model, remote_end: RemoteEnd) -> None:
        """`Retry-After` is kept, and the run sees only the answer."""
        exchange = remote_end.failing(429, times=1, retry_after=_RETRY_AFTER)
        began_at = time.monotonic()
        _, response = await _ask(model, exchange, retries=1)

        assert time.monotonic() - began_at > _RETRY_AFTER * 0.99  # timers may ring a little early
        assert response.message.content == exchange.text
        assert remote_end.requests() == 2

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("status", [429, 500, 503])
    async def test_when_all_retries_failed_the_status_is_told(
        self, model: Model, remote_end: RemoteEnd, status: int, stream: bool
    ) -> None:
        """The request says how often a call is repeated; the error tells the last status and the model."""
        error = await _failure(model, remote_end.failing(status, retry_after=0.01), retries=1, stream=stream)

        assert error.status_code == status
        assert remote_end.requests() == 2

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_request_that_was_refused_is_not_repeated(
        self, model: Model, remote_end: RemoteEnd, stream: bool
    ) -> None:
        """A 400 stays one."""
        error = await _failure(model, remote_end.failing(400), retries=2, stream=stream)

        assert error.status_code == 400
        assert remote_end.requests() == 1

    async def test_a_drop_before_the_answer(self, model: Model, remote_end: RemoteEnd) -> None:
        """A connection that breaks is the model's failure, without a status."""
        error = await _failure(model, remote_end.dropping(), retries=0)

        assert error.status_code is None
        assert remote_end.requests() == 1

    async def test_a_drop_in_mid_stream(self, model: Model, remote_end: RemoteEnd) -> None:
        """Half an answer is none, and it is not asked for again: its first half has been emitted."""
        self._need(Capability.STREAM)
        exchange, pieces = remote_end.dropping(), list[str]()
        error = await _failure(model, exchange, pieces.append, retries=2, stream=True)

        assert error.status_code is None
        assert pieces
        assert exchange.text.startswith("".join(pieces))
        assert exchange.text != "".join(pieces)
        assert remote_end.requests() == 1

    def _need(self, capability: Capability) -> None:
        if capability not in self.capabilities:
            pytest.skip(f"{type(self).__name__} does not declare Capability.{capability.name}")

    def _check_usage(self, response: ModelResponse, exchange: Exchange) -> None:
        assert (exchange.usage != Usage()) == (Capability.USAGE in self.capabilities)
        assert response.usage == exchange.usage


async def _respond(
    model: Model, exchange: Exchange, emit: Callable[[str], None], *more: Message, **options: Any
) -> ModelResponse:
    request = ModelRequest([Message("user", exchange.user), *more], **options)
    async with asyncio.timeout(_DEADLINE):
        return await model.respond(request, emit)


async def _ask(model: Model, exchange: Exchange, *more: Message, **options: Any) -> tuple[list[str], ModelResponse]:
    pieces: list[str] = []
    return pieces, await _respond(model, exchange, pieces.append, *more, **options)


async def _failure(
    model: Model, exchange: Exchange, emit: Callable[[str], None] = lambda _: None, **options: Any
) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await _respond(model, exchange, emit, **options)
    assert model.id in str(caught.value)
    return caught.value
