"""The faults: what befalls the servers, at which moment."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from chaos.fleet import SHUTDOWN_SECONDS, Fleet
from chaos.signals import Signal
from server_process import ServerProcess

RECOVERY_SECONDS = 15.0
"""How long a restarted server may take until nothing is held by the dead one (DESIGN, section 7)."""
TAKEOVER_SECONDS = 23.0
"""The same where a server is frozen: 15 s of silence, a sweep each 5 s, and a busy machine."""
FREEZE_SECONDS = (13.0, 27.0)
"""From past the lease, when nobody may take over yet, to well past the silence."""


class Kind(StrEnum):
    """What happens to a server."""

    KILL = "kill"
    KILL_STARTING = "kill while it starts"
    TERMINATE = "terminate"
    KILL_TERMINATING = "kill while it shuts down"
    KILL_BESIDE = "kill beside a second server"
    FREEZE = "freeze beside a second server"


PERCENT = {
    Kind.KILL: 50,
    Kind.KILL_STARTING: 8,
    Kind.TERMINATE: 15,
    Kind.KILL_TERMINATING: 11,
    Kind.KILL_BESIDE: 9,
    Kind.FREEZE: 7,
}


def plan_faults(rng: Random, count: int, kinds: Collection[Kind], most_freezes: int) -> list[Kind]:
    """So many faults of these kinds; freezes beyond the limit become kills, and where any is allowed, one is."""
    weights = [PERCENT[kind] for kind in kinds]
    planned = rng.choices(list(kinds), weights=weights, k=count)
    if most_freezes and Kind.FREEZE in kinds and Kind.FREEZE not in planned:
        planned[rng.randrange(count)] = Kind.FREEZE
    for index in [index for index, kind in enumerate(planned) if kind is Kind.FREEZE][most_freezes:]:
        planned[index] = Kind.KILL
    return planned


class NotRecoveredError(Exception):
    """What a dead server held was not taken over in time."""


@dataclass(slots=True)
class Seen:
    """What came of the faults; times in seconds.

    Attributes:
        done: how many of each kind.
        frozen_with_lock: freezes that caught a server in the midst of a transaction, so that none could write.
        recovery: from a live server's first answer until nothing was held by the dead one, the longest.
        takeover: from the freeze until nothing was held by the frozen one, the longest.
    """

    done: Counter[Kind] = field(default_factory=Counter)
    frozen_with_lock: int = 0
    recovery: float = 0.0
    takeover: float = 0.0


class Faults:
    """Brings faults about, one after the other, after pauses of so many seconds at most."""

    def __init__(self, fleet: Fleet, rng: Random, moments: list[Signal], pause: float) -> None:
        self.seen = Seen()
        self._fleet = fleet
        self._rng = rng
        self._moments = moments
        self._pause = pause
        self._ways: dict[Kind, Callable[[], Awaitable[None]]] = {
            Kind.KILL: self._kill,
            Kind.KILL_STARTING: self._kill_starting,
            Kind.TERMINATE: self._terminate,
            Kind.KILL_TERMINATING: self._kill_terminating,
            Kind.KILL_BESIDE: self._kill_beside,
            Kind.FREEZE: self._freeze,
        }

    async def bring(self, kind: Kind) -> None:
        """Bring one about, and wait until it is recovered from.

        Raises:
            NotRecoveredError: that took too long.
            FaultyEndError: a server did not end as it has to.
        """
        await self._ways[kind]()
        await self._recover()
        self.seen.done[kind] += 1

    async def _recover(self) -> None:
        seconds = await self._fleet.taken_over(RECOVERY_SECONDS)
        if seconds is None:
            raise NotRecoveredError(f"after {RECOVERY_SECONDS:g} s a dead server still holds something")
        self.seen.recovery = max(self.seen.recovery, seconds)

    async def _moment(self) -> None:
        """Some time later, often just when the model is called or a client has its answer."""
        await asyncio.sleep(self._rng.uniform(0.0, self._pause))
        if self._rng.random() < 0.5:
            await self._rng.choice(self._moments).wait(limit=5.0)
            await asyncio.sleep(self._rng.uniform(0.0, 0.03))

    async def _kill(self) -> None:
        fleet = self._fleet
        await self._moment()
        await fleet.kill(fleet.main)
        await fleet.start(fleet.main)

    async def _kill_starting(self) -> None:
        fleet = self._fleet
        await self._moment()
        await fleet.kill(fleet.main)
        await fleet.start(fleet.main, answers=False)
        await asyncio.sleep(self._rng.uniform(0.0, 2.5))
        await fleet.kill(fleet.main)
        await fleet.start(fleet.main)

    async def _terminate(self) -> None:
        fleet = self._fleet
        await self._moment()
        await fleet.terminate(fleet.main)
        await fleet.start(fleet.main)

    async def _kill_terminating(self) -> None:
        fleet = self._fleet
        await self._moment()
        await fleet.terminate(fleet.main, kill_after=self._rng.uniform(0.0, SHUTDOWN_SECONDS * 1.2))
        await fleet.start(fleet.main)

    async def _kill_beside(self) -> None:
        fleet = self._fleet
        await fleet.start(fleet.other)
        await self._moment()
        await fleet.kill(fleet.main)
        await self._recover()
        fleet.swap()
        if self._rng.random() < 0.5:  # both for a while, then one again
            await fleet.start(fleet.other)
            await self._moment()
            await self._end(fleet.other)

    async def _freeze(self) -> None:
        fleet, frozen = self._fleet, self._fleet.main
        await fleet.start(fleet.other)
        await self._moment()
        fleet.freeze(frozen)
        if await asyncio.to_thread(fleet.ledger.is_locked, 1.5):
            self.seen.frozen_with_lock += 1
            await asyncio.sleep(self._rng.uniform(0.0, 6.0))
        else:
            await self._stay_frozen(self._rng.uniform(*FREEZE_SECONDS))
        fleet.thaw(frozen)
        await self._moment()
        if self._rng.random() < 0.5:
            fleet.swap()
        await self._end(fleet.other)

    async def _stay_frozen(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        taken = await self._fleet.taken_over(min(seconds, TAKEOVER_SECONDS))
        if taken is not None:
            self.seen.takeover = max(self.seen.takeover, taken)
        elif seconds >= TAKEOVER_SECONDS:
            raise NotRecoveredError(f"after {TAKEOVER_SECONDS:g} s a frozen server still holds something")
        await asyncio.sleep(max(0.0, ends_at - time.monotonic()))

    async def _end(self, server: ServerProcess) -> None:
        if self._rng.random() < 0.5:
            await self._fleet.terminate(server)
        else:
            await self._fleet.kill(server)
