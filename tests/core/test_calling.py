"""Arguments by name, for every kind of callable; and calls from which nothing escapes."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from core_support import eventually
from hookline import ConfigurationError, HookError, HookTimeoutError, calling
from hookline.calling import Caller, display_name, is_async_callable, read_callee
from hookline.threads import DaemonThreads

OFFERED = {"run_input": "the input", "user_id": "ada", "metadata": {"k": 1}}

seen: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


@pytest.fixture
def threads() -> DaemonThreads:
    return DaemonThreads("test-hook", 4)


def callee_of(function: Callable[..., Any]) -> calling.Callee:
    return read_callee(function, name="it", offered=OFFERED, what="hook")


async def call(function: Callable[..., Any], threads: DaemonThreads, timeout: float | None = 10.0) -> Any:
    return await Caller().call(callee_of(function), OFFERED, timeout=timeout, threads=threads)


def plain(run_input: Any, user_id: Any) -> Any:
    return run_input, user_id


async def coroutine(run_input: Any, user_id: Any) -> Any:
    return run_input, user_id


def keyword_only(*, user_id: Any, run_input: Any) -> Any:
    return run_input, user_id


def with_defaults(run_input: Any = None, *, user_id: Any = "nobody", other: int = 3) -> Any:
    assert other == 3
    return run_input, user_id


def positional_only(user_id: Any, run_input: Any, /) -> Any:
    return run_input, user_id


def positional_and_all(user_id: Any, /, **rest: Any) -> Any:
    return rest["run_input"], user_id


def everything(**kwargs: Any) -> Any:
    assert kwargs == OFFERED
    return kwargs["run_input"], kwargs["user_id"]


def with_args(run_input: Any, *args: Any, user_id: Any) -> Any:
    assert args == ()
    return run_input, user_id


def with_extra(extra: str, run_input: Any, *, user_id: Any) -> Any:
    assert extra == "bound"
    return run_input, user_id


def unoffered_before_offered(extra: int = 1, run_input: Any = None, user_id: Any = None, /) -> Any:
    assert extra == 1
    return run_input, user_id


class Thing:
    def method(self, run_input: Any, user_id: Any) -> Any:
        return run_input, user_id

    async def async_method(self, run_input: Any, user_id: Any) -> Any:
        return run_input, user_id

    @classmethod
    def of_class(cls, run_input: Any, user_id: Any) -> Any:
        return run_input, user_id

    @staticmethod
    async def static(run_input: Any, user_id: Any) -> Any:
        return run_input, user_id


class SyncObject:
    def __call__(self, run_input: Any, user_id: Any) -> Any:
        return run_input, user_id


class AsyncObject:
    async def __call__(self, run_input: Any, user_id: Any) -> Any:
        return run_input, user_id


def wrapped() -> Callable[..., Any]:
    @functools.wraps(coroutine)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return coroutine(*args, **kwargs)

    return wrapper


CALLABLES = {
    "function": plain,
    "async function": coroutine,
    "keyword-only": keyword_only,
    "defaults": with_defaults,
    "positional-only": positional_only,
    "positional-only and **kwargs": positional_and_all,
    "**kwargs": everything,
    "*args": with_args,
    "method": Thing().method,
    "async method": Thing().async_method,
    "classmethod": Thing.of_class,
    "async staticmethod": Thing.static,
    "object": SyncObject(),
    "async object": AsyncObject(),
    "partial": functools.partial(with_extra, "bound"),
    "partial by keyword": functools.partial(with_extra, extra="bound"),
    "partial of a partial": functools.partial(functools.partial(with_extra), "bound"),
    "partial of async": functools.partial(coroutine),
    "partial of an async object": functools.partial(AsyncObject()),
    "sync wrapper of async": wrapped(),
    "lambda": lambda run_input, user_id: (run_input, user_id),
    "lambda that gives a coroutine": lambda run_input, user_id: coroutine(run_input, user_id=user_id),
    "unoffered positional-only default first": unoffered_before_offered,
}


@pytest.mark.parametrize("function", CALLABLES.values(), ids=CALLABLES.keys())
async def test_every_kind_of_callable_gets_its_arguments_by_name(
    function: Callable[..., Any], threads: DaemonThreads
) -> None:
    assert await call(function, threads) == ("the input", "ada")


async def test_what_a_partial_has_bound_is_not_replaced(threads: DaemonThreads) -> None:
    assert await call(functools.partial(plain, user_id="ops"), threads) == ("the input", "ops")


def test_only_what_is_named_is_picked() -> None:
    assert callee_of(lambda user_id: None).arguments(OFFERED) == ([], {"user_id": "ada"})


@pytest.mark.parametrize("kind", ["positional", "keyword-only", "positional-only"])
def test_an_impossible_parameter_is_named(kind: str) -> None:
    functions: dict[str, Callable[..., Any]] = {
        "positional": lambda run_input, banana: None,
        "keyword-only": lambda *, banana, run_input=None: None,
        "positional-only": lambda banana, /, run_input=None: None,
    }
    with pytest.raises(ConfigurationError, match=r"hook: 'it' requires the parameter 'banana'") as raised:
        callee_of(functions[kind])
    assert "run_input" in str(raised.value), "the message lists what there is"


def test_a_callable_without_a_signature_is_refused_by_name() -> None:
    def hook() -> None: ...

    hook.__signature__ = "nonsense"  # type: ignore[attr-defined]  # as some C extensions' callables have it
    with pytest.raises(ConfigurationError, match=r"'it' has no signature"):
        callee_of(hook)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (plain, "plain"),
        (Thing().method, "Thing.method"),
        (functools.partial(plain), "plain"),
        (functools.partial(functools.partial(SyncObject())), "SyncObject"),
        (SyncObject(), "SyncObject"),
    ],
)
def test_display_names(function: object, name: str) -> None:
    assert display_name(function) == name


@pytest.mark.parametrize(
    ("function", "expected"),
    [(plain, False), (coroutine, True), (AsyncObject(), True), (SyncObject(), False), (Thing().async_method, True)],
)
def test_async_callables_are_known(function: Callable[..., Any], *, expected: bool) -> None:
    assert is_async_callable(function) is expected
    assert is_async_callable(functools.partial(function)) is expected


# threads and loops


async def test_sync_callables_never_run_on_the_loops_thread(threads: DaemonThreads) -> None:
    where = await call(threading.current_thread, threads)
    assert where is not threading.current_thread()
    assert where.daemon


async def test_async_callables_run_on_the_callers_loop(threads: DaemonThreads) -> None:
    async def hook() -> Any:
        return asyncio.get_running_loop(), threading.current_thread()

    assert await call(hook, threads) == (asyncio.get_running_loop(), threading.current_thread())


_word: ContextVar[str] = ContextVar("word", default="unset")


@pytest.mark.parametrize("is_async", [True, False])
async def test_context_variables_are_readable_and_changes_do_not_come_back(
    threads: DaemonThreads, *, is_async: bool
) -> None:
    def look() -> str:
        found = _word.get()
        _word.set("changed")
        return found

    async def look_async() -> str:
        return look()

    _word.set("given")
    assert await call(look_async if is_async else look, threads) == "given"
    assert _word.get() == "given"


# nothing escapes


@pytest.mark.parametrize(
    "error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, StopIteration, GeneratorExit, BaseException]
)
@pytest.mark.parametrize("kind", ["sync", "async", "late"])
async def test_what_no_hook_may_raise_becomes_a_hook_error(
    error: type[BaseException], kind: str, threads: DaemonThreads
) -> None:
    def hook() -> None:
        raise error("on purpose")

    async def async_hook() -> None:
        hook()

    async def late_hook() -> None:
        await asyncio.sleep(0)
        hook()

    function: Callable[..., Any] = {"sync": hook, "async": async_hook, "late": late_hook}[kind]
    expected = (HookError, RuntimeError) if error is StopIteration else HookError
    with pytest.raises(expected) as raised:
        await call(function, threads)
    assert error.__name__ in str(raised.value)
    assert await call(lambda: "the pool goes on", threads) == "the pool goes on"


async def test_an_ordinary_error_comes_out_as_it_is(threads: DaemonThreads) -> None:
    def hook() -> None:
        raise ValueError("ordinary")

    with pytest.raises(ValueError, match="ordinary"):
        await call(hook, threads)


# time limits


@pytest.mark.parametrize("kind", ["sync", "async", "wrapper"])
async def test_a_call_over_its_limit_is_a_timeout_that_names_it(kind: str, threads: DaemonThreads) -> None:
    release = threading.Event()

    async def hang() -> None:
        await asyncio.Event().wait()

    def gives_a_coroutine() -> Any:
        return hang()

    functions: dict[str, Callable[..., Any]] = {"sync": release.wait, "async": hang, "wrapper": gives_a_coroutine}
    callee = calling.Callee(functions[kind], "it", kind == "async", (), (), takes_all=False)
    try:
        with pytest.raises(HookTimeoutError, match=r"'it' did not end within 0\.05 s"):
            await Caller().call(callee, {}, timeout=0.05, threads=threads)
    finally:
        release.set()


async def test_a_hook_that_swallows_its_cancellation_is_abandoned_and_counted(
    threads: DaemonThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "GRACE_SECONDS", 0.05)
    let_go = asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                seen.append("swallowed")

    caller = Caller()
    with pytest.raises(HookTimeoutError):
        await caller.call(callee_of(stubborn), OFFERED, timeout=0.05, threads=threads)
    assert seen == ["swallowed"], "it was cancelled once"
    assert caller.abandoned_tasks == 1
    let_go.set()
    await eventually(lambda: caller.abandoned_tasks == 0)


async def test_a_hook_may_clean_up_when_its_time_is_over(threads: DaemonThreads) -> None:
    async def tidy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned up")

    caller = Caller()
    with pytest.raises(HookTimeoutError):
        await caller.call(callee_of(tidy), OFFERED, timeout=0.02, threads=threads)
    assert seen == ["cleaned up"]
    assert caller.abandoned_tasks == 0


async def test_a_cancelled_caller_cancels_the_hook(threads: DaemonThreads) -> None:
    begun = asyncio.Event()

    async def hook() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = asyncio.create_task(call(hook, threads, timeout=None))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]
