"""The models and their connections: shared by runs, one client per event loop, closed when a call is given up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import anyio
import pytest

from hookline import Message, ModelRequest
from hookline_openai.model import OpenAIModel
from stub_openai import StubOpenAI, StubProcess, marker


async def ask(model: OpenAIModel, text: str, *, stream: bool = False) -> str | None:
    response = await model.respond(ModelRequest([Message("user", text)], stream=stream), lambda _: None)
    return response.message.content


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - the stub tells by counts
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("stream", [False, True])
async def test_calls_one_after_the_other_use_one_connection(stub: StubOpenAI, model: OpenAIModel, stream: bool) -> None:
    for number in range(5):
        assert await ask(model, f"call {number}", stream=stream) == f"You said: call {number}"

    assert stub.stats.connections == 1


async def test_many_calls_run_at_once(stub: StubOpenAI, model: OpenAIModel) -> None:
    calls = [asyncio.create_task(ask(model, marker(gate="all", text=number))) for number in range(100)]
    await until(lambda: stub.stats.in_flight == 100)
    stub.open_gate("all")

    assert await asyncio.gather(*calls) == [str(number) for number in range(100)]
    assert stub.stats.connections == 100


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancel_scope_closes_the_connection(stub: StubOpenAI, model: OpenAIModel, stream: bool) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: ask(model, marker(chunks=2, gate="never", after=int(stream)), stream=stream))
        await stub.arrived("never")
        group.cancel_scope.cancel()

    await until(lambda: stub.stats.aborted == 1)
    assert await ask(model, "still there?") == "You said: still there?"


async def test_an_emit_that_raises_closes_it(stub: StubOpenAI, model: OpenAIModel) -> None:
    def emit(piece: str) -> None:
        raise ValueError(piece)

    request = ModelRequest([Message("user", marker(chunks=2, gate="never", after=1))], stream=True)
    with pytest.raises(ValueError, match="piece-1"):
        await model.respond(request, emit)

    await until(lambda: stub.stats.aborted == 1)


async def test_it_can_be_used_again_after_it_was_closed(stub: StubOpenAI, model: OpenAIModel) -> None:
    await ask(model, "one")
    await model.aclose()
    await ask(model, "two")
    await model.aclose()
    await model.aclose()

    assert stub.stats.connections == 2


async def test_closing_what_was_never_opened_is_nothing(model_class: type[OpenAIModel]) -> None:
    await model_class().aclose()


async def test_the_first_call_imports_the_library_off_the_loop(
    model: OpenAIModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    opened = model.open

    def open_and_tell() -> None:
        threads.append(threading.get_ident())
        opened()

    monkeypatch.setattr(model, "open", open_and_tell)
    await ask(model, "hi")
    await ask(model, "hi")

    assert len(threads) == 1
    assert threads != [threading.get_ident()]


def test_several_event_loops_may_use_one_model(model_class: type[OpenAIModel]) -> None:
    async def use(model: OpenAIModel) -> list[str | None]:
        answers = await asyncio.gather(*(ask(model, f"n{number}") for number in range(5)))
        await model.aclose()
        return answers

    with StubProcess() as stub:
        model = model_class(api_key="k", base_url=stub.base_url)
        results: list[list[str | None]] = []
        threads = [threading.Thread(target=lambda: results.append(asyncio.run(use(model)))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        results.append(asyncio.run(use(model)))

        assert results == [[f"You said: n{number}" for number in range(5)]] * 5
        assert stub.stats()["calls"] == 25
