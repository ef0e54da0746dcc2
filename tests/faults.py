"""Faults of disks and files, brought about for real; a test is skipped where this machine or user cannot have one."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

NOBODY = 65_534
PAGE = 4096


@contextmanager
def small_disk(folder: Path, size: str = "4m") -> Iterator[Path]:
    """A file system of that size, mounted on the folder."""
    folder.mkdir(exist_ok=True)
    _run_or_skip("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def immutable(*files: Path) -> Iterator[None]:
    """The files cannot be written, not even by root or by who has them open."""
    _run_or_skip("chattr", "+i", *map(str, files))
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *map(str, files)], check=True)


@contextmanager
def read_only_mount(folder: Path) -> Iterator[None]:
    """The folder is on a file system that is mounted read-only."""
    _run_or_skip("mount", "--bind", str(folder), str(folder))
    try:
        _run_or_skip("mount", "-o", "remount,bind,ro", str(folder))
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def files_cannot_grow(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond that many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Fill a disk with a file, which is returned, but for about as many bytes as are to be left."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while shutil.disk_usage(disk).free > leave:
            file.write(b"\0" * min(65_536, max(PAGE, shutil.disk_usage(disk).free - leave)))
    return ballast


def garble_table(file: Path, table: str) -> None:
    """Write garbage over the first page of a table of a database that nobody has open; its header stays sound."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    garble_page(file, page)


def garble_page(file: Path, page: int) -> None:
    """Write garbage over a page, counted from 1."""
    with file.open("r+b") as opened:
        opened.seek((page - 1) * PAGE)
        opened.write(b"\xa5" * PAGE)


def log_of(file: Path) -> Path:
    """The write-ahead log of a database."""
    return Path(f"{file}-wal")


def index_of(file: Path) -> Path:
    """The index of a database's write-ahead log."""
    return Path(f"{file}-shm")


def _run_or_skip(*command: str) -> None:
    if os.geteuid() != 0:
        pytest.skip(f"only root may {command[0]}")
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"this machine does not let tests {command[0]}: {done.stderr.strip()}")
