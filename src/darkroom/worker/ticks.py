"""The latest batches with the jobs in them, for whoever looks on: at which step a job joined others, and left them.

The engine's thread only notes a batch, and only while somebody looks; names are given when the worker reports.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from ..engine.handle import Handle
from ..engine.options import Tick
from .attempt import Attempt

MOST = 100  # in one report
FRESH_S = 3.0  # beats and those who look need not keep step: a batch stands in a few reports


class Ticks:
    """Batches as reports tell them; `in_flight` are the worker's attempts, `is_watched`: somebody looks."""

    def __init__(self, in_flight: Callable[[], Iterable[Attempt]]) -> None:
        self._in_flight = in_flight
        self.is_watched = False
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._new: deque[tuple[int, Tick]] = deque(maxlen=MOST)
        self._ended: deque[tuple[Handle, str]] = deque(maxlen=MOST * 32)
        self._told: deque[dict[str, Any]] = deque(maxlen=MOST)

    def note(self, tick: Tick) -> None:
        """A batch ran."""
        if self.is_watched:
            self._new.append((next(self._numbers), tick))

    def end(self, attempt: Attempt) -> None:
        """The attempt is about to leave the attempts in flight."""
        self._ended.extend((handle, attempt.job.id) for handle in attempt.handles)

    def latest(self, now: float) -> list[dict[str, Any]]:
        """Batches of the last `FRESH_S`, the oldest first: {n, at, seconds, module, kind, rows, jobs: [[id, rows]]}."""
        with self._lock:
            names = {handle: each.job.id for each in self._in_flight() for handle in list(each.handles)}
            names |= dict(_taken(self._ended))  # behind the others: what leaves them meanwhile is in both
            self._told.extend(_said(number, tick, names) for number, tick in _taken(self._new))
            while self._told and self._told[0]["at"] < now - FRESH_S:
                self._told.popleft()
            return list(self._told)


def _taken(those: deque[Any]) -> Iterable[Any]:
    for _ in range(len(those)):
        yield those.popleft()


def _said(number: int, tick: Tick, names: dict[Handle, str]) -> dict[str, Any]:
    rows: dict[str, int] = {}
    for handle, count_of in tick.parts:
        if handle in names:  # else it is nobody's job: a model that is tried
            rows[names[handle]] = rows.get(names[handle], 0) + count_of
    return {
        "n": number,
        "at": round(tick.at, 3),
        "seconds": round(tick.seconds, 5),
        "module": tick.module,
        "kind": str(tick.kind),
        "rows": tick.rows,
        "jobs": [[job_id, count_of] for job_id, count_of in rows.items()],
    }
