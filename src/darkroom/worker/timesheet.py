"""Where the time of a worker's process goes, by days of UTC: what the device was paid for.

    process begins --start_s, load_s--> ready --load_s, busy_s of which forward_s, and the rest idle--> its end

What the engine tries of a model later, the first batch of each shape against single calls, belongs to `start_s` too.

Each of its heartbeats tells the sums of today and of the day before, so that one that is lost costs nothing. What lies
between two heartbeats counts for the day of the later one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil

from ..jobs.allowances import day_of

SUMS = ("alive_s", "start_s", "load_s", "busy_s", "forward_s")  # of core.WorkerTime
DAYS_TOLD = 2


def process_began_at() -> float:
    """When this process began, in seconds since the epoch: the device is held since then."""
    return float(psutil.Process().create_time())


class Timesheet:
    """Adds up a process that began at `began_at` (seconds since the epoch).

    `stats` are the engine's: `busy_s`, of which `outside_s` outside of forwards and `checking_s` in forwards that only
    try a model. `clock` counts seconds.
    """

    def __init__(
        self,
        began_at: float,
        price_per_hour_usd: float,
        stats: Callable[[], Mapping[str, Any]],
        clock: Callable[[], float] = time.monotonic,
        now: float | None = None,
    ) -> None:
        self._same = {"began_at": began_at, "price_per_hour_usd": price_per_hour_usd}
        self._stats, self._clock = stats, clock
        self._since = clock() - max(0.0, (time.time() if now is None else now) - began_at)
        self._loaded_s = 0.0
        self._load: tuple[float, float] | None = None  # that is under way: when it began, and what was busy by then
        self._ready: tuple[float, ...] | None = None  # start_s, and what the engine had worked by then
        self._told = self._begun = dict.fromkeys(SUMS, 0.0)  # at the latest report, and at the begin of its day
        self._days: deque[dict[str, Any]] = deque(maxlen=DAYS_TOLD)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """A model is loaded, one at a time; while the engine works beside it, that is its work's time."""
        self._load = (self._clock(), self._engine_s()[0])
        try:
            yield
        finally:
            self._loaded_s, self._load = self._load_s(), None

    def ready(self) -> None:
        """Jobs may come."""
        self._ready = (self._sums()["start_s"], *self._engine_s())

    def days(self, now: float) -> tuple[Mapping[str, Any], ...]:
        """The latest days as heartbeats tell them, the last one that of `now`; one thread asks."""
        day, sums = day_of(now), self._sums()
        if not self._days or self._days[-1]["day"] != day:
            self._begun = self._told
            self._days.append({})
        spent = {name: round(max(0.0, sums[name] - self._begun[name]), 4) for name in SUMS}
        self._days[-1] = {"day": day, **self._same, **spent}
        self._told = sums
        return tuple(self._days)

    def _engine_s(self) -> tuple[float, float, float]:
        """Busy; of that in forwards; of that in those that try a model."""
        stats = self._stats()
        return float(stats["busy_s"]), float(stats["busy_s"] - stats["outside_s"]), float(stats["checking_s"])

    def _load_s(self) -> float:
        if self._load is None:
            return self._loaded_s
        began, busy_s = self._load
        return self._loaded_s + max(0.0, self._clock() - began - (self._engine_s()[0] - busy_s))

    def _sums(self) -> dict[str, float]:
        alive_s, load_s = self._clock() - self._since, self._load_s()
        if self._ready is None:
            work = (max(0.0, alive_s - load_s), load_s, 0.0, 0.0)
        else:
            start_s, *before = self._ready
            busy_s, forward_s, tried_s = (now - then for now, then in zip(self._engine_s(), before, strict=True))
            work = (start_s + tried_s, load_s, busy_s - tried_s, forward_s - tried_s)
        return dict(zip(SUMS, (alive_s, *work), strict=True))
