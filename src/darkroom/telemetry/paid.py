"""What workers were paid for since this gateway began, as counters: made of what the store keeps of their time."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, Metric

from ..core import WorkerTime

HOUR_S = 3600.0
PARTS = ("start", "load", "busy", "idle")

Key = tuple[str, float, int]  # a process's day


class Paid:
    """Adds up what is new at each look: of workers that began after `began_at` (seconds since the epoch) all of it, of
    older ones what came after the first look. What was before that, an earlier life of this gateway told; Prometheus
    goes on from there when a count begins at 0 again, and would count twice what is said twice. The same goes for
    workers that began while another gateway led, where this one was not looked at before it led.
    """

    def __init__(self, began_at: float) -> None:
        self._began_at = began_at
        self._lock = threading.Lock()  # two may look at once
        self._known: dict[Key, WorkerTime] = {}
        self._seconds: defaultdict[tuple[str, str], float] = defaultdict(float)  # by pool and part
        self._usd: defaultdict[str, float] = defaultdict(float)
        self._has_looked = False

    def look(self, times: Iterable[WorkerTime], *, is_counting: bool, others_led_at: float = 0.0) -> None:
        """Take in what is new; it is added up where this gateway is the one that counts."""
        told_before = max(self._began_at, others_led_at)
        with self._lock:
            found = {(time.worker, time.began_at, time.day): time for time in times}
            for pool in {time.pool for time in found.values()}:
                self._usd[pool] += 0.0  # a count that starts at 0 can be seen to rise
                for part in PARTS:
                    self._seconds[pool, part] += 0.0
            if is_counting:
                for key, time in found.items():
                    self._add(time, self._known.get(key) or self._unknown(time, told_before))
            self._known, self._has_looked = found, True

    def _unknown(self, time: WorkerTime, told_before: float) -> WorkerTime:
        """What had been told of a day that is seen for the first time."""
        is_told = not self._has_looked and time.began_at < told_before
        return time if is_told else WorkerTime(time.worker, time.day, time.began_at)

    def _add(self, time: WorkerTime, before: WorkerTime) -> None:
        now, then = _parts(time), _parts(before)
        for part in PARTS:
            self._seconds[time.pool, part] += max(0.0, now[part] - then[part])
        paid_s = max(0.0, time.alive_s - before.alive_s)
        self._usd[time.pool] += paid_s * time.price_per_hour_usd / HOUR_S

    def counters(self) -> Iterable[Metric]:
        """Seconds by pool and what they went to, dollars by pool; that of workers in none is empty."""
        with self._lock:
            seconds, usd = dict(self._seconds), dict(self._usd)
        paid = CounterMetricFamily(
            "darkroom_worker_seconds", "Seconds that workers were there, by what they went to.", labels=["pool", "part"]
        )
        for (pool, part), value in sorted(seconds.items()):
            paid.add_metric([pool, part], value)
        cost = CounterMetricFamily("darkroom_worker_cost_usd", "What workers cost.", labels=["pool"])
        for pool, value in sorted(usd.items()):
            cost.add_metric([pool], value)
        return [paid, cost]


def _parts(time: WorkerTime) -> dict[str, float]:
    idle_s = time.alive_s - time.start_s - time.load_s - time.busy_s
    return {"start": time.start_s, "load": time.load_s, "busy": time.busy_s, "idle": idle_s}
