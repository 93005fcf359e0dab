"""Hands back at once what dead workers held, so that nobody waits for their leases to run out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..core import JobState, Lease, WorkerReport
from ..errors import StoreUnavailable
from ..jobs.store import FETCH_LIMIT, JobFilter, Store

RETRY_S = 5.0  # between two tries


class Releasing:
    """Who is dead, and still holds jobs as far as the store knows: a store that is away is asked again."""

    def __init__(self, store: Store, say: Callable[[str], None]) -> None:
        self._store, self._say = store, say
        self._unreleased: list[tuple[str, bool]] = []  # ids of workers, and whether their death is charged
        self._retry_at = 0.0

    def note_death(self, name: str, worker_id: str, *, is_charged: bool = True) -> None:
        """Release what it held, now or when the store is there again; `name` is what people know it by."""
        self._unreleased.append((worker_id, is_charged))
        try:
            self._release_all()
        except StoreUnavailable as error:
            self._say(f"{name}'s jobs come back when the store does, or their leases end: {error.message}")

    def tend(self) -> None:
        """Try again, where it is time to."""
        if self._unreleased and time.time() >= self._retry_at:
            with contextlib.suppress(StoreUnavailable):
                self._release_all()

    def _release_all(self) -> None:
        self._retry_at = time.time() + RETRY_S
        while self._unreleased:
            worker_id, is_charged = self._unreleased[0]
            if not is_charged:
                hand_back(self._store, worker_id)
            self._store.release_worker(worker_id, "its worker ended", time.time())
            del self._unreleased[0]


@dataclass
class Word:
    """When a worker spoke last: by its own clock, and when that was noticed here (monotonic seconds)."""

    at: float
    noticed_at: float


class Orphans:
    """Workers whose keeper is gone, and that may live on: what is cut off from its cluster drains, and beats meanwhile.

    Dead is who says nothing for `silent_s`; who says that it stopped held nothing more.
    """

    def __init__(self, silent_s: float) -> None:
        self._silent_s = silent_s
        self._there: dict[str, float] = {}  # when they were asked for, by name
        self._words: dict[str, Word] = {}

    def oldest(self, there: Mapping[str, float]) -> float | None:
        """When the first was asked for of all whose reports `look` needs."""
        return min([*there.values(), *self._there.values()], default=None)

    def look(self, there: Mapping[str, float], reports: Mapping[str, WorkerReport], now: float) -> list[str]:
        """Who has died, once each; `there` are those with a keeper, by name when they were asked for."""
        self._there |= there
        self._words = {name: word for name, word in self._words.items() if name not in there}
        for name in self._there.keys() - there.keys():
            report = reports.get(name)
            if report is None or report.state == "stopped":
                self._forget(name)
            elif name not in self._words or report.at != self._words[name].at:
                self._words[name] = Word(report.at, now)
        dead = [name for name, word in self._words.items() if now - word.noticed_at >= self._silent_s]
        for name in dead:
            self._forget(name)
        return dead

    def lose_sight(self) -> None:
        """The store was away: each one's silence counts from the next look."""
        self._words.clear()

    def _forget(self, name: str) -> None:
        self._there.pop(name, None)
        self._words.pop(name, None)


def hand_back(store: Store, worker_id: str) -> None:
    """Return what a forwarder held when it ended, charged to no job: over there they go on."""
    cursor: str | None = None
    while True:
        page = store.list_jobs(JobFilter(state=JobState.RUNNING, limit=FETCH_LIMIT, cursor=cursor))
        leases = [Lease(job.id, job.fence) for job in page.jobs if job.worker == worker_id]
        if leases:
            store.release(leases, "its forwarder ended", time.time())
        cursor = page.cursor
        if cursor is None:
            return
