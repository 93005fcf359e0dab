"""Seconds of one device on which two threads may work at once: each second is told once, and shared by both."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass
class Spent:
    """Of one piece of work: how long it took, and its share of that where another went on beside it."""

    wall_s: float = 0.0
    share_s: float = 0.0


class Meter:
    """`total_s`: seconds in which at least one piece of work was under way; their shares add up to it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.total_s = 0.0
        self._clock, self._lock = clock, threading.Lock()
        self._under_way, self._since, self._each_s = 0, 0.0, 0.0

    @contextlib.contextmanager
    def spending(self) -> Iterator[Spent]:
        """One piece of work; what it has spent is known at its end."""
        spent = Spent()
        began, before = self._changed(1)
        try:
            yield spent
        finally:
            ended, after = self._changed(-1)
            spent.wall_s, spent.share_s = ended - began, after - before

    def _changed(self, by: int) -> tuple[float, float]:
        """Now, and what one that had been under way all the time would have been given of it."""
        with self._lock:
            now = self._clock()
            if self._under_way:
                self.total_s += now - self._since
                self._each_s += (now - self._since) / self._under_way
            self._under_way, self._since = self._under_way + by, now
            return now, self._each_s
