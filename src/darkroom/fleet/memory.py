"""What was needed lately: fewer workers are wanted only once that has held for a while.

The highest need within a window counts, as in the stabilization window of Kubernetes' HorizontalPodAutoscaler.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """So many workers were needed, until that moment at the longest."""

    at: float
    workers: int


class Memory:
    """The needs of each pool in the last `window_s` seconds; of one not seen before, those that are `there`."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._needs: dict[str, deque[Need]] = {}
        self._ready: dict[str, frozenset[str]] = {}

    def newly_ready(self, pool: str, ready: Set[str], there: Set[str]) -> int:
        """How many became ready since the look before, so were never idle for the window; none if that is 0."""
        before = self._ready.get(pool, frozenset(ready))
        self._ready[pool] = frozenset((before | ready) & there)
        return len(ready - before) if self._window_s > 0 else 0

    def most(self, pool: str, now: float, workers: int, there: int) -> Need:
        """Note what is needed now; the highest need of the window, this one included.

        Nobody saw when the need of the look before ended, so it counts as one that held until now, for those of
        its workers who are still `there`.
        """
        needs = self._needs.setdefault(pool, deque([Need(now, there)]))
        needs[-1] = Need(now, min(needs[-1].workers, there))
        while needs and needs[-1].workers <= workers:
            needs.pop()
        needs.append(Need(now, workers))
        while now - needs[0].at >= self._window_s and len(needs) > 1:
            needs.popleft()
        return needs[0]


class Load:
    """How many of certain workers had jobs in the last `window_s` seconds, on average over time."""

    def __init__(self, window_s: float) -> None:
        self._window_s, self._area = window_s, 0.0
        self._looks: deque[Need] = deque()

    def mean(self, now: float, busy: int) -> float:
        """Note what is busy now; the mean of the window, each look counting for the time since the one before."""
        looks = self._looks
        self._area += busy * (now - looks[-1].at) if looks else 0.0
        looks.append(Need(now, busy))
        while len(looks) > 1 and now - looks[1].at >= self._window_s:
            gone = looks.popleft()
            self._area -= looks[0].workers * (looks[0].at - gone.at)
        passed_s = now - looks[0].at
        return self._area / passed_s if passed_s > 0 else 0.0
