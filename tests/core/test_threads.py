"""hookline's own threads: limited, daemon, and never waited for when given up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from core_support import eventually
from hookline.threads import DaemonThreads, LoopThread


@contextmanager
def released() -> Iterator[threading.Event]:
    """An event that is set in the end, so that no thread stays behind."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


async def test_no_more_threads_than_the_limit_and_none_lost() -> None:
    pool = DaemonThreads("few", 3)
    lock, now, most = threading.Lock(), 0, 0
    barrier = threading.Event()

    def work() -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        barrier.wait(0.01)
        with lock:
            now -= 1
        return threading.current_thread().name

    names = await asyncio.gather(*(pool.run(work) for _ in range(30)))
    assert most == 3
    assert set(names) == {"few-1", "few-2", "few-3"}


async def test_an_idle_thread_is_used_again() -> None:
    pool = DaemonThreads("one", 8)
    names = set()
    for _ in range(20):
        names.add(await pool.run(lambda: threading.current_thread().name))
        await asyncio.sleep(0.002)  # it says so before it is idle
    assert len(names) <= 2


async def test_run_raises_what_the_call_raised() -> None:
    nothing: dict[str, int] = {}
    with pytest.raises(KeyError, match="lost"):
        await DaemonThreads("raising", 1).run(lambda: nothing["lost"])


async def test_a_given_up_call_is_counted_until_it_ends_and_its_place_is_taken() -> None:
    pool = DaemonThreads("stuck", 1)
    with released() as event:
        begun = threading.Event()

        def stuck() -> None:
            begun.set()
            event.wait()

        given_up = pool.submit(stuck)
        await eventually(begun.is_set)
        given_up.cancel()
        await asyncio.sleep(0)
        assert pool.abandoned == 1
        assert await asyncio.wait_for(pool.run(lambda: "next"), 10) == "next"
    await eventually(lambda: pool.abandoned == 0)
    assert await asyncio.wait_for(pool.run(lambda: "after"), 10) == "after"


async def test_abandoned_threads_do_not_grow_without_bound() -> None:
    pool = DaemonThreads("stuck", 2, max_abandoned=2)
    before = threading.active_count()
    with released() as event:
        for _ in range(10):
            future = pool.submit(event.wait)
            await asyncio.sleep(0.01)
            future.cancel()
            await asyncio.sleep(0)
        assert threading.active_count() - before <= 4
    await eventually(lambda: pool.abandoned == 0)
    answers = await asyncio.wait_for(asyncio.gather(*(pool.run(lambda: 1) for _ in range(6))), 10)
    assert sum(answers) == 6


async def test_a_call_that_is_given_up_before_it_began_never_begins() -> None:
    pool = DaemonThreads("busy", 1)
    called = []
    with released() as event:
        first = pool.submit(event.wait)
        second = pool.submit(lambda: called.append("second"))
        second.cancel()
        await asyncio.sleep(0)
        event.set()
        await first
    assert await pool.run(lambda: "third") == "third"
    assert called == []
    assert pool.abandoned == 0


async def test_a_blocked_thread_keeps_no_other_loop_from_closing() -> None:
    pool = DaemonThreads("shared", 1)
    with released() as event:

        async def give_up() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.run(event.wait), 0.02)

        await asyncio.to_thread(asyncio.run, give_up())
    assert await asyncio.wait_for(pool.run(lambda: "fine"), 10) == "fine"


async def test_a_loop_thread_is_one_daemon_loop() -> None:
    thread = LoopThread("a-loop")

    async def where() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        return asyncio.get_running_loop(), threading.current_thread()

    first = await asyncio.wrap_future(thread.submit(where()))
    second = await asyncio.wrap_future(thread.submit(where()))
    assert first == second == (thread.loop, first[1])
    assert first[1].daemon
    assert first[0] is not asyncio.get_running_loop()
    thread.loop.call_soon_threadsafe(thread.loop.stop)
    await eventually(lambda: not first[1].is_alive())
    thread.loop.close()
