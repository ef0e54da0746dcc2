"""The readers: a few threads, each with a connection of its own, so that nobody who reads waits for who writes."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from hookline.errors import StorageError
from hookline_sql.operations import Operation, answer, asked, said_of

T = TypeVar("T")

READERS = 3


class Readers:
    """Runs operations that change nothing, each seeing one state of the database from its beginning to its end."""

    def __init__(self, engine: Engine, file: str) -> None:
        self._engine = engine
        self._file = file
        self._waiting: queue.SimpleQueue[Operation[Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._working = READERS
        self._closing: Operation[None] | None = None
        for number in range(1, READERS + 1):
            threading.Thread(target=self._work, name=f"hookline-sql-reader-{number}", daemon=True).start()

    def submit(self, call: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Have an operation done.

        Raises:
            StorageError: the readers are closed; errors of the operation are the future's.
        """
        operation = asked(call)
        with self._lock:
            if self._closing is not None:
                raise StorageError(f"{self._file} is closed")
            self._waiting.put(operation)
        return operation.done

    def close(self) -> asyncio.Future[None]:
        """Take no more; the future is done when everything that waits has been done."""
        operation = asked(lambda connection: None)
        with self._lock:
            self._closing = operation
            for _ in range(READERS):
                self._waiting.put(None)
        return operation.done

    def _work(self) -> None:
        connection: Connection | None = None
        while (operation := self._waiting.get()) is not None:
            try:
                connection = connection or self._engine.connect()
                operation.result = _read(connection, operation.call)
            except Exception as error:  # noqa: BLE001 - whoever asked for the operation gets it
                operation.error = said_of(error, self._file)
            answer([operation])
            del operation
        if connection is not None:
            connection.close()
        self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._working -= 1
            is_last = self._working == 0
        if is_last and self._closing is not None:
            answer([self._closing])


def _read(connection: Connection, call: Callable[[Connection], T]) -> T:
    try:
        connection.exec_driver_sql("BEGIN")
        return call(connection)
    finally:
        connection.rollback()
