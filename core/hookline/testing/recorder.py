"""`Recorder`: a plugin that writes down what happens in the AgentOS that has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hookline.agent_os import AgentOS
from hookline.deliveries import Delivery
from hookline.errors import ConfigurationError, RunningLoopError
from hookline.events import TERMINAL_EVENTS, RunEvent
from hookline.hookspecs import hookimpl
from hookline.runs import RunOutput
from hookline.testing.hook_calls import HookCall, calls_of_run
from hookline.testing.known_names import check_hook


class Recorder:
    """Writes down runs, events and deliveries; for `AgentOS(plugins=[recorder])`, or as the fixture `recorder`.

        recorder = Recorder()
        async with AgentOS(agents=[agent], db=db, plugins=[recorder]).lifespan():
            ...
            assert [call.outcome for call in await recorder.read_calls("notify")] == ["delivered"]

    It is no hook around a run: plans and listings of hooks are the same with it.

    Attributes:
        events: all events of all runs, in the order of their happening.
        runs: the runs that have ended, in the order of their ends.
        deliveries: those that came to an end: `delivered`, `dead` or `discarded`, in that order.
    """

    plugin_name = "hookline-recorder"

    def __init__(self) -> None:
        self.events: list[RunEvent] = []
        self.runs: list[RunOutput] = []
        self.deliveries: list[Delivery] = []
        self._run_ids: dict[str, None] = {}
        self._served: tuple[AgentOS, asyncio.AbstractEventLoop] | None = None

    def clear(self) -> None:
        """Forget what has happened so far."""
        for written in (self.events, self.runs, self.deliveries, self._run_ids):
            written.clear()

    def events_of(self, run_id: str) -> list[str]:
        """The names of one run's events."""
        return [event.event.value for event in self.events if event.run_id == run_id]

    def calls(self, hook: str | None = None) -> list[HookCall]:
        """All calls of one hook, or of all hooks, run by run; for tests that are no coroutines.

        The ledger is asked: each attempt of a delivery is a call, and what is still to be stored comes a moment later,
        so drain first.

        Args:
            hook: the hook's name, as `hookline hooks` lists it.

        Raises:
            RunningLoopError: called on the event loop of the AgentOS; await `read_calls()` there.
            ConfigurationError: the lifespan of the AgentOS is not running, or no hook has that name.
        """
        _, loop = self._running()
        if loop is _current_loop():
            raise RunningLoopError("calls() would block the event loop of the AgentOS: await read_calls() instead")
        return asyncio.run_coroutine_threadsafe(self.read_calls(hook), loop).result()

    async def read_calls(self, hook: str | None = None) -> list[HookCall]:
        """As `calls()`, on the event loop of the AgentOS.

        Raises:
            ConfigurationError: the lifespan of the AgentOS is not running, or no hook has that name.
        """
        agent_os, _ = self._running()
        found = [call for run_id in list(self._run_ids) for call in await calls_of_run(agent_os.storage, run_id)]
        if hook is None:
            return found
        check_hook(agent_os, hook, seen=[call.hook for call in found])
        return [call for call in found if call.hook == hook]

    def _running(self) -> tuple[AgentOS, asyncio.AbstractEventLoop]:
        if self._served is None:
            raise ConfigurationError(
                "the recorder has no ledger to ask: its AgentOS is not running; give it AgentOS(plugins=[recorder]), "
                "or, where it is a fixture, request `agent_os` or `client` too"
            )
        return self._served

    # the hook points

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, agent_os: AgentOS) -> AsyncIterator[None]:
        """Know whose ledger to ask."""
        self._served = agent_os, asyncio.get_running_loop()
        yield
        self._served = None

    @hookimpl
    def run_event(self, event: RunEvent) -> None:
        """Write down an event, and the run at its end."""
        self._run_ids[event.run_id] = None
        self.events.append(event)
        if event.event in TERMINAL_EVENTS:
            self.runs.append(RunOutput.from_dict(event.data["run"]))

    @hookimpl
    async def delivery_finished(self, delivery: Delivery) -> None:
        """Write down a delivery that came to an end."""
        self.deliveries.append(delivery)


def _current_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
