"""The writer: one thread and one connection for all changes, as many as wait in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import math
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from hookline.errors import StorageError
from hookline_sql.failures import is_locked
from hookline_sql.operations import Operation, answer, asked, said_of

T = TypeVar("T")

MOST_AT_ONCE = 64
"""How many operations share a transaction at most."""

LOCK_SLICE_SECONDS = 0.25
"""How long one attempt to begin waits for the lock; then those who waited too long are told."""


class Writer:
    """Runs operations one after the other, in the order in which they were asked for.

    A transaction holds all operations that wait when it begins, so that they share its one flush to the disk. If one
    of them fails, the transaction is rolled back and repeated with a savepoint around each: the others succeed.
    An operation is therefore a function that may be called twice.
    """

    def __init__(self, connection: Connection, file: str, busy_timeout: float) -> None:
        self._connection = connection
        self._file = file
        self._busy_timeout = busy_timeout
        self._waiting: queue.SimpleQueue[Operation[Any] | None] = queue.SimpleQueue()
        self._closing: Operation[None] | None = None
        self._lock = threading.Lock()
        self._ended = False
        slice_ms = round(1000 * min(busy_timeout, LOCK_SLICE_SECONDS))
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {max(1, slice_ms)}")
        connection.rollback()
        threading.Thread(target=self._work, name="hookline-sql-writer", daemon=True).start()

    def submit(self, call: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Have an operation done; a caller that stops waiting does not take it back.

        Raises:
            StorageError: the writer is closed; errors of the operation are the future's.
        """
        operation = asked(call)
        with self._lock:
            if self._closing is not None:
                raise StorageError(f"{self._file} is closed")
            self._waiting.put(operation)
        return operation.done

    def close(self) -> asyncio.Future[None]:
        """Take no more; the future is done when everything that waits has been done and the file is closed."""
        operation = asked(lambda connection: None)
        with self._lock:
            self._closing = operation
            self._waiting.put(None)
        return operation.done

    def _work(self) -> None:
        while not self._ended:
            self._do(self._next())
        self._end()

    def _next(self) -> list[Operation[Any]]:
        """Everything that waits, once there is something."""
        batch: list[Operation[Any]] = []
        self._fill(batch, most=MOST_AT_ONCE, block=True)
        return batch

    def _fill(self, batch: list[Operation[Any]], *, most: float, block: bool = False) -> None:
        with contextlib.suppress(queue.Empty):
            while len(batch) < most and not self._ended:
                operation = self._waiting.get(block=block and not batch)
                if operation is None:
                    self._ended = True
                else:
                    batch.append(operation)

    def _do(self, batch: list[Operation[Any]]) -> None:
        self._begin(batch)
        if batch and not self._do_together(batch):
            self._begin(batch)
            if batch:
                self._do_apart(batch)
        answer(batch)

    def _begin(self, batch: list[Operation[Any]]) -> None:
        """Begin a transaction for a batch.

        While the lock is held elsewhere, more operations join the batch, and those that have waited for
        `busy_timeout` fail and leave it; no transaction has begun if none is left.
        """
        while batch:
            try:
                self._connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except SQLAlchemyError as error:
                self._connection.rollback()
                latest = time.monotonic() - (self._busy_timeout if is_locked(error) else 0.0)
                self._fill(batch, most=math.inf)
                given_up = [operation for operation in batch if operation.asked_at <= latest]
                self._fail(given_up, error)
                answer(given_up)
                batch[:] = [operation for operation in batch if operation.asked_at > latest]

    def _do_together(self, batch: list[Operation[Any]]) -> bool:
        """Do all operations and commit; False, with nothing done, if one of several failed."""
        try:
            for operation in batch:
                operation.result = operation.call(self._connection)
        except Exception as error:  # noqa: BLE001 - whoever asked for the operation gets it
            self._connection.rollback()
            if len(batch) > 1:
                return False
            self._fail(batch, error)
        else:
            self._commit(batch)
        return True

    def _do_apart(self, batch: list[Operation[Any]]) -> None:
        """Do each operation in its own savepoint, and commit those that succeed."""
        sql = self._connection.exec_driver_sql
        for operation in batch:
            try:
                sql("SAVEPOINT operation")
                operation.result = operation.call(self._connection)
                sql("RELEASE operation")
            except Exception as error:  # noqa: BLE001 - whoever asked for the operation gets it
                self._fail([operation], error)
                if not self._in_transaction():  # a full disk, say, makes SQLite give up all of it
                    self._connection.rollback()
                    self._fail([other for other in batch if other.error is None], error)
                    return
                sql("ROLLBACK TO operation")
                sql("RELEASE operation")
        self._commit([operation for operation in batch if operation.error is None])

    def _commit(self, batch: list[Operation[Any]]) -> None:
        try:
            self._connection.commit()
        except SQLAlchemyError as error:
            self._connection.rollback()
            self._fail(batch, error)

    def _in_transaction(self) -> bool:
        driver_connection = self._connection.connection.driver_connection
        return isinstance(driver_connection, sqlite3.Connection) and driver_connection.in_transaction

    def _fail(self, batch: list[Operation[Any]], error: Exception) -> None:
        for operation in batch:
            operation.error = said_of(error, self._file)

    def _end(self) -> None:
        # No PRAGMA optimize: without its statistics SQLite always takes the indexes that the tests have looked at.
        self._connection.close()
        if self._closing is not None:
            answer([self._closing])
