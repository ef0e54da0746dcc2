"""The readers: a few threads, each with a connection of its own, so that nobody who reads waits for who writes."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from hookline.errors import StorageError
from hookline_sql.connections import Connections, ReaderConnection
from hookline_sql.operations import Operation, Owner, answer, asked, said_of

T = TypeVar("T")

READERS = 3


class Readers:
    """Runs operations that change nothing, each seeing one state of the database from its beginning to its end."""

    def __init__(self, connections: Connections, file: str) -> None:
        self._file = file
        self._owner = Owner(file)
        self._waiting: queue.SimpleQueue[Operation[Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._working = READERS
        self._closing: list[Operation[None]] = []
        for number in range(1, READERS + 1):
            threading.Thread(
                target=self._work, args=(connections.reader(),), name=f"hookline-sql-reader-{number}", daemon=True
            ).start()

    def submit(self, call: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Have an operation done.

        Raises:
            StorageError: the readers are closed, or another process's; errors of the operation are the future's.
        """
        self._owner.check()
        operation = asked(call)
        with self._lock:
            if self._closing:
                raise StorageError(f"{self._file} is closed")
            self._waiting.put(operation)
        return operation.done

    def close(self) -> asyncio.Future[None]:
        """Take no more; the future is done when everything that waits has been done."""
        operation = asked(lambda connection: None)
        with self._lock:
            if not self._working:
                answer([operation])
            elif not self._closing:
                for _ in range(READERS):
                    self._waiting.put(None)
            self._closing.append(operation)
        return operation.done

    def _work(self, connection: ReaderConnection) -> None:
        while (operation := self._waiting.get()) is not None:
            try:
                operation.result = connection.read(operation.call)
            except BaseException as error:  # noqa: BLE001 - whoever asked for it gets it, and others are served
                operation.error = said_of(error, self._file)
            answer([operation])
            del operation
        connection.close()
        self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._working -= 1
            if not self._working:
                answer(self._closing)
