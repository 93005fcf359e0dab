"""The fleet in figures, for those who run it: the queue, what ended in a window of time, what it took and cost.

Everything is made of jobs as the store lists them, the latest first and so many at the most. One look serves all who
ask meanwhile, and the next comes after ten times as long as it took: looking costs a tenth of a core at the most.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..core import FINAL_STATES, Job, JobState
from ..fleet.nouns import Phase
from ..fleet.told import FleetNote, PoolNote, read_note
from ..jobs.store import JobFilter, Queue, Store
from .moments import rfc3339
from .threads import Threads

MOST_JOBS = 5000  # that ended in a window
MOST_LIVE = 1000  # that wait, and that run
PAGE = 200  # at a time: what is read in one go holds up the event loop
BUCKETS, ERRORS, TENANTS = 60, 50, 100
FRESH_S, REST = 2.0, 10.0
WINDOWS = 8  # that are remembered
WATCH_S = 30.0  # after a look at workers' batches: longer than clocks may be apart
HOUR_S = 3600.0


@dataclass(frozen=True)
class Seen:
    """Jobs as a look found them, `now`: those that ended in the window, and those that wait or run.

    `is_partial`: there were more in the window. `queued` None: too many to list. `note`: of whoever scales the fleet.
    """

    now: float
    window_s: float
    jobs: tuple[Job, ...]
    is_partial: bool
    queue: Queue
    queued: tuple[Job, ...] | None
    running: tuple[Job, ...]
    note: FleetNote | None = None


@dataclass
class Sum:
    """What jobs that ended add up to; `latencies` in seconds, of those that succeeded."""

    states: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    images: int = 0
    device_s: float = 0.0
    cost_usd: float = 0.0

    def add(self, job: Job) -> None:
        """Count one more."""
        self.states[job.state.value] += 1
        self.images += len(job.outputs)
        self.device_s += job.metrics.get("device_s", 0.0)
        self.cost_usd += job.metrics.get("cost_usd", 0.0)
        if job.state == JobState.SUCCEEDED:
            began = max(job.times["created"], job.run_at or 0.0)  # what was asked for later is not late
            self.latencies.append(max(0.0, ended_at(job) - began))

    @property
    def figures(self) -> dict[str, Any]:
        """As JSON says them."""
        known = sorted(self.latencies)
        return {
            "images": self.images,
            "device_s": round(self.device_s, 3),
            "cost_usd": round(self.cost_usd, 6),
            **{f"p{share}_s": percentile(known, share) for share in (50, 90, 99)},
        }


class FleetLooks:
    """Looks at the store for whoever asks, and remembers each window's for a moment; belongs to the event loop."""

    def __init__(self, store: Store, threads: Threads, clock: Callable[[], float]) -> None:
        self._store, self._threads, self._clock = store, threads, clock
        self._known: OrderedDict[int, tuple[float, dict[str, Any]]] = OrderedDict()  # until when, by window
        self._looking = asyncio.Lock()

    async def now(self, window_s: int) -> dict[str, Any]:
        """The figures of the last `window_s` seconds; raises `StoreUnavailable`."""
        if (known := self._fresh(window_s)) is not None:
            return known
        async with self._looking:
            if (known := self._fresh(window_s)) is not None:
                return known
            began = time.monotonic()
            found = await self._threads.store(lambda: told(look(self._store, window_s, self._clock())))
            took_s = time.monotonic() - began
            self._known[window_s] = (time.monotonic() + max(FRESH_S, REST * took_s), found)
            self._known.move_to_end(window_s)
            if len(self._known) > WINDOWS:
                self._known.popitem(last=False)
            return found

    def _fresh(self, window_s: int) -> dict[str, Any] | None:
        until, found = self._known.get(window_s, (0.0, None))
        return found if time.monotonic() < until else None


class Watching:
    """Has workers tell of their batches while somebody looks, and for a while after; belongs to the event loop."""

    def __init__(self, store: Store, threads: Threads, clock: Callable[[], float]) -> None:
        self._store, self._threads, self._clock = store, threads, clock
        self._until = 0.0

    async def look(self) -> None:
        """Somebody looks; raises `StoreUnavailable`. Not each look is a commit."""
        now = self._clock()
        if abs(self._until - now - WATCH_S) > WATCH_S / 3:
            await self._threads.store(self._store.watch, now + WATCH_S)
            self._until = now + WATCH_S


def look(store: Store, window_s: float, now: float) -> Seen:
    """Read what the figures are made of; blocks."""
    jobs, is_partial = ended_since(store, now - window_s)
    queued, has_more = listed(store, JobFilter(state=JobState.QUEUED), MOST_LIVE)
    running, _ = listed(store, JobFilter(state=JobState.RUNNING), MOST_LIVE)
    note = read_note(store.fleet_note())
    return Seen(now, window_s, jobs, is_partial, store.queue(), None if has_more else queued, running, note)


def ended_since(store: Store, since: float) -> tuple[tuple[Job, ...], bool]:
    """The jobs that ended last since then, `MOST_JOBS` at the most, and whether there are more."""
    found: dict[str, Job] = {}  # by id: what ends meanwhile moves the others back, so that a page may repeat some
    for passed in range(0, MOST_JOBS + PAGE, PAGE):
        page = store.ended(since, passed, PAGE)
        found |= {job.id: job for job in page}
        if len(page) < PAGE:
            break
    return tuple(found.values())[:MOST_JOBS], len(found) > MOST_JOBS


def listed(store: Store, wanted: JobFilter, most: int) -> tuple[tuple[Job, ...], bool]:
    """The newest jobs of that kind, `most` at the most, and whether there are more."""
    found: list[Job] = []
    cursor: str | None = None
    while len(found) < most:
        page = store.list_jobs(replace(wanted, limit=min(PAGE, most - len(found)), cursor=cursor))
        found += page.jobs
        if (cursor := page.cursor) is None:
            return tuple(found), False
    return tuple(found), True


def told(seen: Seen) -> dict[str, Any]:
    """The figures as JSON; pure."""
    since = seen.now - seen.window_s
    ended = [job for job in seen.jobs if job.state in FINAL_STATES and ended_at(job) >= since]
    total = Sum()
    for job in ended:
        total.add(job)
    figures = total.figures
    images, hours = total.images, seen.window_s / HOUR_S
    return {
        "at": rfc3339(seen.now),
        "window_s": seen.window_s,
        "is_partial": seen.is_partial,
        "queue": queue_of(seen),
        "series": series_of(ended, since, seen.window_s),
        "totals": {
            "jobs": len(ended),
            **{state: total.states[state] for state in FINAL_STATES},
            **figures,
            "cost_per_hour": round(total.cost_usd / hours, 6),
            "cost_per_image": round(total.cost_usd / images, 6) if images else None,
        },
        "tenants": tenants_of(ended, seen),
        "errors": errors_of(ended),
        "scaler": scaler_of(seen),
        "pools": [pool_of(pool, seen.now) for pool in (seen.note.pools if seen.note else ())],
    }


def scaler_of(seen: Seen) -> dict[str, Any] | None:
    """Who scales the fleet, and whether it still does."""
    note = seen.note
    if note is None:
        return None
    return {
        "at": rfc3339(note.at),
        "driver": note.driver,
        "policy": note.policy,
        "is_fresh": note.is_fresh(seen.now),
        "fault": note.fault or None,
    }


def pool_of(pool: PoolNote, now: float) -> dict[str, Any]:
    """A pool as it is and is to be."""
    return {
        "name": pool.name,
        "device": pool.device,
        "is_spot": pool.is_spot,
        "price_per_hour_usd": pool.price_per_hour_usd,
        "models": list(pool.models),
        "min_workers": pool.min_workers,
        "max_workers": pool.max_workers,
        "wanted": pool.wanted,
        "running": pool.count(Phase.READY),
        "starting": pool.count(Phase.STARTING),
        "leaving": pool.count(Phase.LEAVING),
        "ready_s": round(pool.ready_s, 3),
        "next_ready_s": round(pool.cold_s(now), 3) if pool.count(Phase.STARTING) else None,
        "decided_at": rfc3339(pool.decided_at),
        "reasons": list(pool.reasons),
        "workers": [
            {"id": member.name, "phase": member.phase.value, "since": rfc3339(member.since)} for member in pool.members
        ],
    }


def queue_of(seen: Seen) -> dict[str, Any]:
    """What waits and runs, and how long the oldest waits: by model None where too many wait to look at each."""
    running = Counter(job.model for job in seen.running)
    oldest: dict[str, float] = {}
    for job in seen.queued or ():
        oldest[job.model] = max(oldest.get(job.model, 0.0), round(seen.now - queued_at(job), 3))
    by_model = [
        {
            "model": model,
            "queued": seen.queue.by_model.get(model, 0),
            "running": running[model],
            "oldest_s": oldest.get(model),
        }
        for model in sorted({*seen.queue.by_model, *running})
    ]
    oldest_at = seen.queue.oldest_at
    return {
        "depth": seen.queue.queued,
        "running": seen.queue.running,
        "scheduled": seen.queue.scheduled,
        "oldest_s": None if oldest_at is None else round(max(0.0, seen.now - oldest_at), 3),
        "by_model": by_model,
    }


def series_of(ended: Iterable[Job], since: float, window_s: float) -> list[dict[str, Any]]:
    """What ended, in about sixty parts of the window that begin at round times, so that a part keeps its jobs."""
    width_s = window_s / BUCKETS
    first = math.floor(since / width_s)
    sums = [Sum() for _ in range(BUCKETS + 1)]
    for job in ended:
        sums[min(BUCKETS, int(ended_at(job) // width_s) - first)].add(job)
    return [
        {
            "at": rfc3339((first + number) * width_s),
            **{state: one.states[state] for state in FINAL_STATES},
            **one.figures,
        }
        for number, one in enumerate(sums)
    ]


def tenants_of(ended: Iterable[Job], seen: Seen) -> list[dict[str, Any]]:
    """What each tenant used, and what it has live; those that used most first."""
    sums: dict[str, Sum] = {}
    for job in ended:
        sums.setdefault(job.tenant, Sum()).add(job)
    queued, running = (Counter(job.tenant for job in those or ()) for those in (seen.queued, seen.running))
    names = sorted({*sums, *queued, *running}, key=lambda name: (-sums.get(name, Sum()).device_s, name))[:TENANTS]
    return [
        {
            "tenant": name,
            "jobs": (one := sums.get(name, Sum())).states.total(),
            "images": one.images,
            "device_s": round(one.device_s, 3),
            "cost_usd": round(one.cost_usd, 6),
            "queued": queued[name],
            "running": running[name],
        }
        for name in names
    ]


def errors_of(ended: Iterable[Job]) -> list[dict[str, Any]]:
    """The latest failures, newest first."""
    failed = sorted((job for job in ended if job.error), key=ended_at, reverse=True)[:ERRORS]
    return [
        {
            "at": rfc3339(ended_at(job)),
            "job_id": job.id,
            "tenant": job.tenant,
            "model": job.model,
            "code": str((job.error or {}).get("code", "")),
            "message": str((job.error or {}).get("message", "")),
        }
        for job in failed
    ]


def ended_at(job: Job) -> float:
    """When a final job ended."""
    return job.times[job.state.value]


def queued_at(job: Job) -> float:
    """Since when a queued job waits."""
    return job.times.get("queued", job.times["created"])


def percentile(known: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile of sorted values."""
    return round(known[max(0, math.ceil(share / 100 * len(known)) - 1)], 3) if known else None
