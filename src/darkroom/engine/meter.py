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
    is_shared: bool = False


class Meter:
    """`total_s`: seconds in which at least one piece of work was under way; their shares add up to it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.total_s = 0.0
        self._clock, self._lock = clock, threading.Lock()
        self._under_way: list[Spent] = []
        self._since = self._each_s = 0.0

    @contextlib.contextmanager
    def spending(self) -> Iterator[Spent]:
        """One piece of work; what it has spent is known at its end."""
        spent = Spent()
        with self._lock:
            began, before = self._told()
            self._under_way.append(spent)
            for each in self._under_way if len(self._under_way) > 1 else ():
                each.is_shared = True
        try:
            yield spent
        finally:
            with self._lock:
                ended, after = self._told()
                self._under_way = [each for each in self._under_way if each is not spent]
            spent.wall_s, spent.share_s = ended - began, after - before

    def _told(self) -> tuple[float, float]:
        """Now, and what one that had been under way all the time would have been given of it."""
        now = self._clock()
        if self._under_way:
            self.total_s += now - self._since
            self._each_s += (now - self._since) / len(self._under_way)
        self._since = now
        return now, self._each_s
