"""Operations on their way: asked for on an event loop, done in a thread, answered on the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from hookline.errors import StorageError
from hookline_sql.failures import storage_error

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Operation(Generic[T]):
    """A function of a connection, and who waits for it; `asked_at` is on the monotonic clock."""

    call: Callable[[Connection], T]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[T]
    asked_at: float = field(default_factory=time.monotonic)
    result: T | None = None
    error: Exception | None = None


class Owner:
    """The process that opened a file: SQLite's connections, and the threads that use them, do not outlive a fork."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._pid = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is the process."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Raise StorageError in a process that was forked from it."""
        if not self.is_here:
            raise StorageError(forked(self._file))


def forked(file: str) -> str:
    """What is said to a process that was forked while its parent had the file open."""
    return (
        f"{file} was open when this process was forked, and SQLite cannot be used on both sides: "
        "start processes with the method 'spawn'"
    )


def asked(call: Callable[[Connection], T]) -> Operation[T]:
    """An operation for the running event loop."""
    loop = asyncio.get_running_loop()
    return Operation(call, loop, loop.create_future())


def answer(operations: Iterable[Operation[Any]]) -> None:
    """Give results and errors to those who wait, each event loop woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Operation[Any]]] = {}
    for operation in operations:
        by_loop.setdefault(operation.loop, []).append(operation)
    for loop, its_operations in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, its_operations)


def _resolve(operations: list[Operation[Any]]) -> None:
    for operation in operations:
        if operation.done.done():  # cancelled: what was done stays done
            continue
        if operation.error is not None:
            operation.done.set_exception(operation.error)
        else:
            operation.done.set_result(operation.result)


def said_of(error: BaseException, file: str) -> Exception:
    """What one caller is told of an error: a StorageError of their own, unless it is about the arguments."""
    if isinstance(error, SQLAlchemyError | sqlite3.Error):
        told: Exception = storage_error(error, file)
    elif isinstance(error, UnicodeEncodeError | OverflowError):
        told = StorageError(f"{file} cannot hold a value ({error})")
    elif isinstance(error, StorageError):
        told = type(error)(str(error))
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    else:  # what no event loop could carry on to the caller
        told = StorageError(f"{file}: an operation ended with {type(error).__name__} ({error})")
    told.__cause__ = error
    return told
