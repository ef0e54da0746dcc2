"""This process in the ledger: who it is, and that it is alive."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hookline.clock import SYSTEM_CLOCK, Clock, MovedClock
from hookline.errors import StorageError
from hookline.storage import SILENT_SECONDS, ServerRecord, Storage
from hookline.threads import LoopThread

logger = logging.getLogger("hookline.ledger")

BEAT_SECONDS = 3.0

SET_SECONDS = 2.0
"""A clock that differs by more from what has passed meanwhile was set."""

_upkeep = LoopThread("hookline-upkeep")
"""Off every serving loop: a hook that blocks one must not cost its server the leases."""


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="ascii").strip()
    return ""


def _link(path: str) -> str:
    with contextlib.suppress(OSError):
        return str(Path(path).readlink())
    return ""


def _process_started(pid: int) -> int | None:
    """When a process began, in clock ticks since boot (field 22 of `/proc/PID/stat`); None if it is gone.

    A zombie is gone too: its parent has not asked for it yet, and in a container perhaps never will.
    """
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[19]) if fields and fields[0] not in "ZX" else None


def this_server(clock: Clock = SYSTEM_CLOCK) -> ServerRecord:
    """A new row for this process."""
    now = clock.time()
    return ServerRecord(
        server_id=str(uuid.uuid4()),
        host=socket.gethostname(),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        pid_namespace=_link("/proc/self/ns/pid"),
        pid=os.getpid(),
        pid_started=_process_started(os.getpid()) or 0,
        started_at=now,
        heartbeat_at=now,
    )


def is_gone(server: ServerRecord, me: ServerRecord, now: float) -> bool:
    """Whether a server is dead: silent for too long, or its process is seen to be gone.

    Only a process of the same boot and the same pid namespace can be looked at; elsewhere silence must do.
    """
    if server.server_id == me.server_id:
        return False
    if now - server.heartbeat_at > SILENT_SECONDS:
        return True
    same_view = (
        bool(me.boot_id and me.pid_namespace)
        and (server.host, server.boot_id, server.pid_namespace) == (me.host, me.boot_id, me.pid_namespace)
        and server.pid_started > 0
    )
    return same_view and _process_started(server.pid) != server.pid_started


class _Beat(NamedTuple):
    """A server's last sign of life: the instant that it wrote, and when that was (monotonic, as seen here)."""

    said_at: float
    seen_at: float


class Watch:
    """Tells which servers are gone, and goes on telling so when somebody sets the clock.

    A server is silent from when its row was last seen to change; instants that others wrote are believed only within
    what this process has seen itself. For a while after the clock was set, leases are judged by the earlier one of both
    times, so that nobody loses one by it.
    """

    def __init__(self, me: ServerRecord, clock: Clock) -> None:
        self._me = me
        self._clock = clock
        self._beats: dict[str, _Beat] = {}
        self._looked_at = clock.monotonic()
        self._offset = clock.time() - clock.monotonic()
        self._old_offset = self._offset
        self._careful_until = float("-inf")

    def gone(self, servers: Sequence[ServerRecord], now: float) -> list[str]:
        """The ids of those servers that are dead, by what their rows said at an instant (monotonic)."""
        self._beats = {server.server_id: self._beat_of(server, now) for server in servers}
        self._looked_at = now
        return [
            server.server_id
            for server in servers
            if is_gone(server, self._me, server.heartbeat_at + now - self._beats[server.server_id].seen_at)
        ]

    def _beat_of(self, server: ServerRecord, now: float) -> _Beat:
        known = self._beats.get(server.server_id)
        if known is not None and known.said_at == server.heartbeat_at:
            return known
        ago = max(0.0, self._clock.time() - server.heartbeat_at)
        return _Beat(server.heartbeat_at, now - (ago if known is None else min(ago, now - self._looked_at)))

    def time(self) -> float:
        """The present instant, for judging leases."""
        time, monotonic = self._clock.time(), self._clock.monotonic()
        offset = time - monotonic
        if abs(offset - self._offset) > SET_SECONDS:
            change = offset - self._offset
            logger.warning(
                "the clock was set %s by %.0f s: deliveries that are due at some instant come that much %s",
                "forward" if change > 0 else "back",
                abs(change),
                "earlier" if change > 0 else "later",
            )
            self._old_offset, self._careful_until = self._offset, monotonic + SILENT_SECONDS
        self._offset = offset
        return min(time, monotonic + self._old_offset) if monotonic < self._careful_until else time


class Heartbeat:
    """Writes the server's row and renews its leases, from a thread of its own."""

    def __init__(self, storage: Storage, server: ServerRecord, clock: Clock = SYSTEM_CLOCK) -> None:
        self._storage = storage
        self._server = server
        self._clock = clock
        self._beating: Future[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Write the row for the first time, then keep beating.

        Raises:
            StorageError: the row could not be written.
        """
        await self._storage.beat(self._server)
        self._beating = _upkeep.submit(self._beat_for_ever())

    async def stop(self) -> None:
        """Stop beating and delete the row."""
        self._unsubscribe()
        if self._beating is not None:
            self._beating.cancel()
        try:
            await self._storage.retire(self._server.server_id)
        except StorageError as error:
            logger.warning("this server's row stays until others find it silent: %s", error)

    async def _beat_for_ever(self) -> None:
        moved = MovedClock(self._clock)
        self._unsubscribe = moved.unsubscribe
        while True:
            await moved.wait(BEAT_SECONDS)
            try:
                await self._storage.beat(replace(self._server, heartbeat_at=self._clock.time()))
            except Exception as error:  # noqa: BLE001 - the border to storages: the next beat comes whatever it is
                logger.error("heartbeat not written; after %g s of silence others take over: %s", SILENT_SECONDS, error)
