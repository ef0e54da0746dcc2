"""The writer: one thread and one connection for all changes, as many as wait in one transaction."""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from hookline.errors import StorageError
from hookline_sql.connections import Connections
from hookline_sql.failures import is_locked, makes_suspect
from hookline_sql.operations import Operation, Owner, answer, asked, said_of

T = TypeVar("T")

MOST_AT_ONCE = 64
"""How many operations share a transaction at most."""


class Writer:
    """Runs operations one after the other, in the order in which they were asked for.

    A transaction holds the operations that wait when it begins, so that they share its one flush to the disk. If one
    of them fails, the transaction is rolled back and repeated with a savepoint around each: the others succeed.
    An operation is therefore a function that may be called twice.

    Whatever an operation, SQLite or the disk does, everybody who waits is told, and the thread goes on.
    """

    def __init__(self, connections: Connections, file: str, busy_timeout: float) -> None:
        self._connections = connections
        self._file = file
        self._busy_timeout = busy_timeout
        self._owner = Owner(file)
        self._asked: queue.SimpleQueue[Operation[Any] | None] = queue.SimpleQueue()
        self._waiting: deque[Operation[Any]] = deque()
        self._closing: list[Operation[None]] = []
        self._is_closed = False
        self._lock = threading.Lock()
        self._ended = False
        self._apart = False
        threading.Thread(target=self._work, name="hookline-sql-writer", daemon=True).start()

    def submit(self, call: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Have an operation done; a caller that stops waiting does not take it back.

        Raises:
            StorageError: the writer is closed, or another process's; errors of the operation are the future's.
        """
        self._owner.check()
        operation = asked(call)
        with self._lock:
            if self._closing:
                raise StorageError(f"{self._file} is closed")
            self._asked.put(operation)
        return operation.done

    def close(self) -> asyncio.Future[None]:
        """Take no more; the future is done when everything that waits has been done and the file is closed."""
        operation = asked(lambda connection: None)
        with self._lock:
            if self._is_closed:
                answer([operation])
            elif not self._closing:
                self._asked.put(None)
            self._closing.append(operation)
        return operation.done

    def _work(self) -> None:
        while self._collect(block=True):
            try:
                batch = self._begin()
            except BaseException as error:  # noqa: BLE001 - those who wait must be told, and later ones served
                self._connections.roll_back(error)
                self._give_up(error, latest=math.inf)
                continue
            if batch:
                self._do(batch)
        self._end()

    def _collect(self, *, block: bool = False) -> bool:
        """Take over what was asked for; False once there is nothing left and never will be."""
        must_wait = block and not self._waiting
        while not self._ended and (must_wait or not self._asked.empty()):
            must_wait = False
            operation = self._asked.get()
            if operation is None:
                self._ended = True
            else:
                self._waiting.append(operation)
        return bool(self._waiting)

    def _begin(self) -> list[Operation[Any]]:
        """Begin a transaction; returns its operations.

        While the lock is held elsewhere, those that have waited for `busy_timeout` fail; no transaction has begun if
        none is left.
        """
        while self._waiting:
            try:
                self._connections.begin()
            except (SQLAlchemyError, StorageError) as error:
                self._connections.roll_back(error)
                self._give_up(error, latest=time.monotonic() - self._busy_timeout if is_locked(error) else math.inf)
            else:
                self._collect()
                return [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_AT_ONCE))]
        return []

    def _give_up(self, error: BaseException, *, latest: float) -> None:
        """Fail the waiting operations that were asked for until `latest`."""
        self._collect()
        given_up = []
        while self._waiting and self._waiting[0].asked_at <= latest:
            given_up.append(self._waiting.popleft())
        self._fail(given_up, error)
        answer(given_up)

    def _do(self, batch: list[Operation[Any]]) -> None:
        """Do what a transaction that has begun is for, end it, and answer."""
        apart, self._apart = self._apart, False
        try:
            if apart:
                self._do_apart(batch)
            elif not self._do_together(batch):
                self._apart = True
                self._waiting.extendleft(reversed(batch))
                return
        except BaseException as error:  # noqa: BLE001 - as far as it is known, nothing is stored
            self._connections.roll_back(error)
            self._fail((operation for operation in batch if operation.error is None), error)
        answer(batch)

    def _do_together(self, batch: list[Operation[Any]]) -> bool:
        """Do all operations and commit; False, with nothing done, if one of several failed."""
        connection = self._connections.writing
        try:
            for operation in batch:
                operation.result = operation.call(connection)
        except BaseException as error:
            if len(batch) == 1 or makes_suspect(error):
                raise
            self._connections.roll_back(error)
            return False
        self._connections.commit()
        return True

    def _do_apart(self, batch: list[Operation[Any]]) -> None:
        """Do each operation in its own savepoint, and commit those that succeed."""
        sql = self._connections.writing.exec_driver_sql
        for operation in batch:
            sql("SAVEPOINT operation")
            try:
                operation.result = operation.call(self._connections.writing)
            except BaseException as error:
                # A full disk, say, makes SQLite give up all of the transaction.
                if makes_suspect(error) or not self._connections.is_in_transaction:
                    raise
                operation.error = said_of(error, self._file)
                sql("ROLLBACK TO operation")
            sql("RELEASE operation")
        self._connections.commit()

    def _fail(self, operations: Iterable[Operation[Any]], error: BaseException) -> None:
        for operation in operations:
            operation.error = said_of(error, self._file)

    def _end(self) -> None:
        # No PRAGMA optimize: without its statistics SQLite always takes the indexes that the tests have looked at.
        try:
            self._connections.close()
        except BaseException as error:  # noqa: BLE001 - whoever waits for the end must see it
            self._fail(self._closing, error)
        with self._lock:
            self._is_closed = True
            answer(self._closing)
