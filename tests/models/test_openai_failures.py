"""The models when things go wrong: every failure is a `ModelError` that tells its cause, and no key."""

from __future__ import annotations

import socket
import traceback
from typing import Any

import pytest

from hookline import Message, ModelError, ModelRequest
from hookline_openai.model import OpenAIModel
from stub_openai import StubOpenAI, marker

KEY = "sk-secret-1234"


async def failure(model: OpenAIModel, text: str, **more: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await model.respond(ModelRequest([Message("user", text)], **more), lambda _: None)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert "test-model" in str(caught.value)
    return caught.value


async def test_without_a_key_it_says_what_to_set(stub: StubOpenAI, model_class: type[OpenAIModel]) -> None:
    model = model_class("test-model", base_url=stub.base_url)

    assert "set OPENAI_API_KEY" in str(await failure(model, "hi"))
    assert stub.stats.calls == 0


async def test_a_key_that_is_set_later_is_used(
    stub: StubOpenAI, monkeypatch: pytest.MonkeyPatch, model_class: type[OpenAIModel]
) -> None:
    model = model_class("test-model", base_url=stub.base_url)
    await failure(model, "hi")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    response = await model.respond(ModelRequest([Message("user", "hi")]), lambda _: None)
    await model.aclose()

    assert response.message.content == "You said: hi"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 503])
async def test_an_error_of_the_provider_keeps_its_status_and_text(
    model: OpenAIModel, status: int, stream: bool
) -> None:
    error = await failure(model, marker(status=status, message="no such luck"), stream=stream)

    assert error.status_code == status
    assert f"HTTP {status}" in str(error)
    assert str(error).endswith(": no such luck")
    assert ("check OPENAI_API_KEY" in str(error)) == (status == 401)


async def test_a_key_that_the_provider_repeats_is_taken_out(model: OpenAIModel) -> None:
    error = await failure(model, marker(status=401, message=f"Incorrect API key: {KEY}, or was it sk-s***1234?"))

    assert str(error).endswith("Incorrect API key: ***, or was it ***?")


async def test_a_key_that_is_no_secret_leaves_the_text_alone(stub: StubOpenAI, model_class: type[OpenAIModel]) -> None:
    model = model_class("test-model", api_key="x", base_url=stub.base_url, max_retries=0)

    error = await failure(model, marker(status=400, message="an exact text"))
    await model.aclose()

    assert str(error).endswith("an exact text")


async def test_a_long_error_is_cut(model: OpenAIModel) -> None:
    error = await failure(model, marker(status=400, message="x" * 5000))

    assert len(str(error)) < 700


@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_listens(unused_port: int, stream: bool, model_class: type[OpenAIModel]) -> None:
    model = model_class("test-model", api_key=KEY, base_url=f"http://127.0.0.1:{unused_port}/v1", max_retries=0)

    error = await failure(model, "hi", stream=stream)
    await model.aclose()

    assert "at 127.0.0.1: the connection failed" in str(error)
    assert error.status_code is None


async def test_an_address_that_is_none(model: OpenAIModel, model_class: type[OpenAIModel]) -> None:
    for address in ("not a url", "http://[", "ftp://127.0.0.1/"):
        broken = model_class("test-model", api_key=KEY, base_url=address, max_retries=0)
        await failure(broken, "hi")
        await broken.aclose()


async def test_credentials_in_the_address_are_not_told(stub: StubOpenAI, model_class: type[OpenAIModel]) -> None:
    address = stub.base_url.replace("http://", "http://user:hunter22@")
    model = model_class("test-model", api_key=KEY, base_url=address, max_retries=0)

    error = await failure(model, marker(status=500))
    await model.aclose()

    assert "hunter22" not in str(error)


@pytest.mark.parametrize("stream", [False, True])
async def test_silence_ends_at_the_timeout(stub: StubOpenAI, stream: bool, model_class: type[OpenAIModel]) -> None:
    model = model_class("test-model", api_key=KEY, base_url=stub.base_url, max_retries=0, timeout=0.1)

    error = await failure(model, marker(gate="never", after=int(stream)), stream=stream)
    await model.aclose()

    assert "timed out: no answer within 0.1 s" in str(error)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_sent(model: OpenAIModel, stream: bool) -> None:
    error = await failure(model, "hi", options={"odd": object()}, stream=stream)

    assert "the request could not be made: TypeError" in str(error)


async def test_a_key_that_is_no_header(stub: StubOpenAI, model_class: type[OpenAIModel]) -> None:
    model = model_class("test-model", api_key="sk-ü\n", base_url=stub.base_url, max_retries=0)

    await failure(model, "hi")
    await model.aclose()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("json", "answered something that is not JSON: '{\"choices\": [{'"),
        ("html", "answered something that is not JSON: '<html>maintenance</html>'"),
        ("list", "the answer is not an object but '[1, 2]'"),
        ("null", "the answer is not an object but 'null'"),
    ],
)
async def test_garbage(model: OpenAIModel, kind: str, reason: str, stream: bool) -> None:
    error = await failure(model, marker(garbage=kind), stream=stream)

    assert (reason in str(error)) or (stream and "the stream ended in the midst of the answer" in str(error))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_filtered_answer_is_none(model: OpenAIModel, stream: bool) -> None:
    error = await failure(model, marker(finish="content_filter"), stream=stream)

    assert "content_filter" in str(error)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_none(model: OpenAIModel, stream: bool) -> None:
    error = await failure(model, marker(refusal="I will not do that."), stream=stream)

    assert str(error).endswith("the model refused: I will not do that.")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cut_answer_is_one_unless_it_is_empty(model: OpenAIModel, stream: bool) -> None:
    request = ModelRequest([Message("user", marker(finish="length", text="half an ans"))], stream=stream)
    assert (await model.respond(request, lambda _: None)).message.content == "half an ans"

    error = await failure(model, marker(finish="length", text=""), stream=stream)
    assert "raise max_completion_tokens" in str(error)


async def test_a_drop_before_the_answer(model: OpenAIModel) -> None:
    assert "the connection failed: RemoteProtocolError" in str(await failure(model, marker(drop=0)))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"drop": 0}, "the connection broke"),
        ({"drop": 2}, "the connection broke"),
        ({"eof": 2}, "the stream ended in the midst of the answer"),
        ({"error": 1, "message": "overloaded"}, "the provider reported an error: overloaded"),
    ],
)
async def test_a_stream_that_breaks_off(model: OpenAIModel, how: dict[str, Any], reason: str) -> None:
    error = await failure(model, marker(chunks=3, **how), stream=True)

    assert reason in str(error)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_failed_is_repeated_as_often_as_the_request_says(
    stub: StubOpenAI, model: OpenAIModel, stream: bool
) -> None:
    text = marker(status=500, times=2, retry_after=0.001, text="at last")

    await failure(model, text + "a", retries=1, stream=stream)
    assert stub.stats.calls == 2

    response = await model.respond(ModelRequest([Message("user", text)], retries=2, stream=stream), lambda _: None)
    assert response.message.content == "at last"
    assert stub.stats.calls == 5


async def test_without_a_say_the_model_decides_on_retries(stub: StubOpenAI, model_class: type[OpenAIModel]) -> None:
    model = model_class("test-model", api_key=KEY, base_url=stub.base_url, max_retries=1)
    text = marker(status=429, retry_after=0.001)

    await failure(model, text)
    assert stub.stats.calls == 2
    await failure(model, text, retries=0)
    assert stub.stats.calls == 3
    await model.aclose()


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
