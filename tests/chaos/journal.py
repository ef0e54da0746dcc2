"""The journal: what the hooks did, a line each, appended by whichever process ran them."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; `event` is `end` only where the hook came to its proper end."""

    event: Literal["start", "end"]
    run_id: str
    hook: str
    delivery_id: str
    attempt: int
    pid: int
    time: float


class Journal:
    """Appends lines; each is one write, so that several processes do not mix theirs and a kill leaves no half one."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, event: Literal["start", "end"], run_id: str, hook: str, delivery_id: str, attempt: int) -> None:
        """Add a line."""
        entry = Entry(event, run_id, hook, delivery_id, attempt, os.getpid(), time.time())
        os.write(self._file, json.dumps(asdict(entry)).encode() + b"\n")


def read_journal(path: Path) -> list[Entry]:
    """All lines, in the order in which they were written."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [Entry(**json.loads(line)) for line in lines]
