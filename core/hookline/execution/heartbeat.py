"""This process in the ledger: who it is, and that it is alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
import uuid
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from hookline.errors import StorageError
from hookline.storage import SILENT_SECONDS, ServerRecord, Storage
from hookline.threads import LoopThread

logger = logging.getLogger("hookline.ledger")

BEAT_SECONDS = 3.0

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


def this_server() -> ServerRecord:
    """A new row for this process."""
    now = time.time()
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


class Heartbeat:
    """Writes the server's row and renews its leases, from a thread of its own."""

    def __init__(self, storage: Storage, server: ServerRecord) -> None:
        self._storage = storage
        self._server = server
        self._beating: Future[None] | None = None

    async def start(self) -> None:
        """Write the row for the first time, then keep beating.

        Raises:
            StorageError: the row could not be written.
        """
        await self._storage.beat(self._server)
        self._beating = _upkeep.submit(self._beat_for_ever())

    async def stop(self) -> None:
        """Stop beating and delete the row."""
        if self._beating is not None:
            self._beating.cancel()
        try:
            await self._storage.retire(self._server.server_id)
        except StorageError as error:
            logger.warning("this server's row stays until others find it silent: %s", error)

    async def _beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await self._storage.beat(replace(self._server, heartbeat_at=time.time()))
            except Exception as error:  # noqa: BLE001 - the border to storages: the next beat comes whatever it is
                logger.error("heartbeat not written; after %g s of silence others take over: %s", SILENT_SECONDS, error)
