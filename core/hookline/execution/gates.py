"""Gates: how many attempts of each hook may be under way in this process, and circuits that pause what keeps failing.

A circuit is `closed` while its hook works. After `circuit_threshold` failed attempts in a row, across runs, it is
`open`: no attempt is begun for `circuit_cooldown` seconds. Then it is `half-open`: one attempt is made, and its result
closes the circuit or opens it again. Each process has its own.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from hookline.clock import Clock
from hookline.deliveries import DeliveryStatus, HookKey
from hookline.execution.attempt import Verdict
from hookline.jsontext import optional_time_text
from hookline.plan import PlannedHook
from hookline.policy import Policy

logger = logging.getLogger("hookline.deliveries")

ROUNDING_SECONDS = 0.001
"""So much earlier than its circuit lets one through a delivery is due: not too late by the last bit of a float."""

CircuitState = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True)
class HookState:
    """What holds for one background hook in this process.

    Attributes:
        circuit: see the module.
        failures: failed attempts in a row.
        open_until: when an open circuit lets an attempt through, in seconds since the epoch; else None.
        running: attempts under way.
        waits_for_threads: whether nothing of it is begun because too many threads were left behind.
    """

    key: HookKey
    circuit: CircuitState
    failures: int
    open_until: float | None
    running: int
    waits_for_threads: bool

    @property
    def is_held(self) -> bool:
        """Whether its deliveries are held up by something that somebody should know of."""
        return self.circuit != "closed" or self.waits_for_threads

    def to_dict(self) -> dict[str, Any]:
        """The plain data of this state, as the HTTP API shows it."""
        return {
            "circuit": self.circuit,
            "failures": self.failures,
            "open_until": optional_time_text(self.open_until),
            "running": self.running,
            "waits_for_threads": self.waits_for_threads,
        }


class Gate:
    """The gate of one hook.

    Attributes:
        wanted: whether deliveries of it wait in the ledger for room here, as far as this process knows.
    """

    def __init__(self, key: HookKey, policy: Policy, clock: Clock, has_threads: Callable[[], bool] | None) -> None:
        self.key = key
        self.policy = policy
        self.wanted = False
        self._clock = clock
        self._has_threads = has_threads
        self._circuit: CircuitState = "closed"
        self._failures = 0
        self._reopens_at = 0.0  # monotonic
        self._running = 0
        self._probing = False
        self._turn = 0

    @property
    def room(self) -> float:
        """How many more attempts may begin now; infinite where nothing limits them."""
        if self._circuit == "open" or self._waits_for_threads:
            return 0
        limit = math.inf if self.policy.concurrency is None else self.policy.concurrency
        if self._circuit == "half-open":
            return min(1 - self._probing, max(0, limit - self._running))
        return max(0, limit - self._running)

    def enter(self, *, claimed: bool) -> int | None:
        """Begin an attempt, if there is room: the number to `leave` with.

        What was not claimed for that room comes after what waits in the ledger, which was there first.
        """
        if self.room <= 0 or (self.wanted and not claimed and self.room != math.inf):
            self.wanted = True
            return None
        self._running += 1
        self._probing = self._circuit == "half-open"
        return self._turn

    def leave(self, turn: int, *, failed: bool | None) -> bool:
        """End an attempt; `failed` is None for one that says nothing about its hook. True if others want the room."""
        self._running -= 1
        if turn == self._turn:  # else it was begun before the circuit last changed, and says nothing about it now
            self._probing = False
            if failed is not None:
                self._judge(failed=failed)
        if not self.wanted or self.room <= 0:
            return False
        self.wanted = self.room != math.inf  # then they are claimed like others
        return True

    def postpone(self, due_at: float | None) -> Verdict:
        """What becomes of a delivery that could not enter: it waits out of line, where it keeps its place.

        Where the circuit is open it is due when that lets an attempt through.
        """
        now = self._clock.time()
        if self._circuit == "open":
            due_at = now + max(0.0, self.seconds_left - ROUNDING_SECONDS)
        return Verdict(DeliveryStatus.PENDING, "postponed", None, 0.0, now if due_at is None else due_at)

    @property
    def seconds_left(self) -> float:
        """How long an open circuit stays so; 0 for others."""
        return self._reopens_at - self._clock.monotonic() if self._circuit == "open" else 0.0

    def reopen(self) -> bool:
        """Let one attempt through, if it is time; whether it is."""
        if self._circuit != "open" or self.seconds_left > ROUNDING_SECONDS:
            return False
        self._turn_to("half-open")
        self.wanted = True
        return True

    @property
    def state(self) -> HookState:
        """What holds now."""
        return HookState(
            key=self.key,
            circuit=self._circuit,
            failures=self._failures,
            open_until=self._clock.time() + self.seconds_left if self._circuit == "open" else None,
            running=self._running,
            waits_for_threads=self._waits_for_threads,
        )

    @property
    def _waits_for_threads(self) -> bool:
        return self._has_threads is not None and not self._has_threads()

    def _judge(self, *, failed: bool) -> None:
        if not failed:
            self._failures = 0
            if self._circuit == "half-open":
                self._turn_to("closed")
                logger.warning("hook %s works again: its deliveries go on", self.key, extra={"hook": self.key.hook})
            return
        self._failures += 1
        threshold = self.policy.circuit_threshold
        if self._circuit == "half-open" or (self._circuit == "closed" and 0 < threshold <= self._failures):
            self._turn_to("open")
            self._reopens_at = self._clock.monotonic() + self.policy.circuit_cooldown
            logger.warning(
                "hook %s is paused for %g s: its last %d attempts failed",
                self.key,
                self.policy.circuit_cooldown,
                self._failures,
                extra={"hook": self.key.hook},
            )

    def _turn_to(self, circuit: CircuitState) -> None:
        self._circuit = circuit
        self._turn += 1
        self._probing = False


class Gates:
    """The gates of all hooks; `has_threads` tells whether a sync hook may begin now."""

    def __init__(self, clock: Clock, has_threads: Callable[[], bool]) -> None:
        self._clock = clock
        self._has_threads = has_threads
        self._gates: dict[HookKey, Gate] = {}

    def of(self, key: HookKey, hook: PlannedHook) -> Gate:
        """The gate of a hook."""
        gate = self._gates.get(key)
        if gate is None:
            has_threads = None if hook.callee.is_async else self._has_threads
            gate = self._gates[key] = Gate(key, hook.policy, self._clock, has_threads)
        return gate

    def claims(self) -> tuple[list[HookKey], dict[HookKey, int]]:
        """Which hooks' deliveries are not to be claimed like others, and how many of each may be all the same."""
        apart: list[HookKey] = []
        rooms: dict[HookKey, int] = {}
        for key, gate in self._gates.items():
            room = gate.room
            if room != math.inf:
                apart.append(key)
                if room > 0:
                    rooms[key] = int(room)
        return apart, rooms

    def claimed(self, rooms: dict[HookKey, int], keys: Iterable[HookKey], *, is_all: bool) -> None:
        """Take note of what a claim gave for these rooms.

        `is_all`: it was not cut short, so a hook that did not fill its room has nothing more.
        """
        counts: dict[HookKey, int] = {}
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
        for key, room in rooms.items():
            gate = self._gates[key]
            gate.wanted = counts.get(key, 0) >= room or (gate.wanted and not is_all)

    def reopen(self) -> bool:
        """Let one attempt through each open circuit whose time it is; whether there is one."""
        return bool([gate for gate in self._gates.values() if gate.reopen()])

    @property
    def seconds_left(self) -> float:
        """How long until the next open circuit lets an attempt through; infinite if there is none."""
        waits = [gate.seconds_left for gate in self._gates.values()]
        return min((wait for wait in waits if wait > 0), default=math.inf)

    @property
    def states(self) -> list[HookState]:
        """What holds for each hook, sorted by hook."""
        return [gate.state for _, gate in sorted(self._gates.items())]
