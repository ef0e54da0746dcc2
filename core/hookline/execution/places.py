"""Places: which lines are under way in this process, which wait for a place, and how many more may be claimed.

What lost its lease may be what ends the process. So of those deliveries that lost it (`interrupted`) a few are under
way at a time, and those that lost it again (`suspects`) run alone, one after the other: once a suspect is found nothing
else begins. It is claimed for good when nothing is under way, and the others go on when a scan finds no further one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import takewhile

from hookline.execution.lines import Line


class Places:
    """At most `concurrency` lines under way, and the queue for them.

    Attributes:
        active: what is under way.
    """

    def __init__(self, concurrency: int) -> None:
        self.active: dict[asyncio.Task[None], Line] = {}
        self._concurrency = concurrency
        self._most_interrupted = max(1, concurrency // 8)
        self._most_kept = max(1, concurrency // 4)
        self._queue: deque[Line] = deque()
        self._interrupted = 0
        self._suspects = 0
        self._holds = False

    def __bool__(self) -> bool:
        return bool(self.active or self._queue)

    def __iter__(self) -> Iterator[Line]:
        yield from self.active.values()
        yield from self._queue

    def put(self, line: Line) -> None:
        """Let a line wait for its place: a suspect before all, what was claimed before what was just committed."""
        self._count(line, 1)
        self._queue.insert(0 if line.is_suspect else self._claimed_in_queue if line.claimed else len(self._queue), line)

    def pop(self, *, keep: bool) -> Line | None:
        """The next line that may start now; `keep`: some places are not for fresh lines."""
        return self._queue.popleft() if self._queue and self._may_start(self._queue[0], keep=keep) else None

    def clear(self) -> list[Line]:
        """Empty the queue; returns what was in it."""
        lines = list(self._queue)
        self._queue.clear()
        for line in lines:
            self._count(line, -1)
        return lines

    def enter(self, task: asyncio.Task[None], line: Line) -> None:
        """A line begins."""
        line.started = True
        self.active[task] = line

    def leave(self, task: asyncio.Task[None]) -> Line:
        """A line is over."""
        line = self.active.pop(task)
        self._count(line, -1)
        return line

    def free(self, *, ending: int = 0, keep: bool) -> int:
        """How many more lines may be claimed; `ending` of the active ones are about to leave."""
        if self._suspects > 0:
            return 0
        if self._holds:  # it takes a scan to end that, however many wait
            return 0 if self.active else 1
        free = self._concurrency - len(self.active) + ending
        kept = self._most_kept if keep else 0
        return max(0, free - len(self._queue), min(free, kept) - self._claimed_in_queue)

    @property
    def free_for_interrupted(self) -> int:
        """How many of those may have lost a lease."""
        return max(0, self._most_interrupted - self._interrupted)

    @property
    def may_begin_suspect(self) -> bool:
        """Whether nothing is under way that may end the process before the suspect has begun."""
        return not self.active

    def hold(self, *, has_suspect: bool) -> None:
        """Take note of a scan: whether it found a suspect, so that nothing else may begin."""
        self._holds = has_suspect

    def _count(self, line: Line, change: int) -> None:
        if line.interruptions > 0:
            self._interrupted += change
            self._suspects += change * line.is_suspect

    def _may_start(self, line: Line, *, keep: bool) -> bool:
        if line.is_suspect:
            return self.may_begin_suspect
        if self._holds:
            return False
        kept = self._most_kept if keep and not line.claimed else 0
        return len(self.active) < self._concurrency - kept

    @property
    def _claimed_in_queue(self) -> int:
        """How many claimed lines wait for a place: they are before the fresh ones."""
        return sum(1 for _ in takewhile(lambda line: line.claimed, self._queue))
