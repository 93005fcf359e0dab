"""A store of its own, a driver that only keeps a list of what it would run, and jobs to put before them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darkroom.core import Job, Lease, NewJob, WorkerReport
from darkroom.errors import DriverUnavailable
from darkroom.fleet.nouns import Member, Phase, Plan, Pool, Target
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Claimant, Limits, Store

NOW = 1_900_000_000.0
_numbers = itertools.count(1)


class ListDriver:
    """Keeps a list of the workers that it would run, by name; `fault` is raised by every verb while it is set."""

    def __init__(self) -> None:
        self.there: dict[str, Member] = {}
        self.asked: list[tuple[str, int, tuple[str, ...]]] = []
        self.fault = ""
        self.now = NOW

    def members(self) -> Sequence[Member]:
        self._check()
        return [*self.there.values()]

    def scale(self, pool: Pool, workers: int, leaving: Sequence[str] = ()) -> None:
        self._check()
        self.asked.append((pool.name, workers, tuple(leaving)))
        mine = [name for name, member in self.there.items() if member.pool == pool.name]
        for _ in range(workers - len(mine)):
            name = f"{pool.name}-{next(_numbers)}"
            self.there[name] = Member(name, pool.name, Phase.STARTING, self.now)
        order = [*(name for name in leaving if name in mine), *(name for name in mine if name not in leaving)]
        for name in order[: max(0, len(mine) - workers)]:
            del self.there[name]

    def close(self) -> None:
        self.there.clear()

    def _check(self) -> None:
        if self.fault:
            raise DriverUnavailable(self.fault)


class Asking:
    """A policy that answers what `plan` says, or raises it."""

    def __init__(self, **workers: int) -> None:
        self.plan: Any = {name: Target(count, reasons=(f"{count} wanted",)) for name, count in workers.items()}
        self.seen: list[Any] = []

    def __call__(self, seen: Any) -> Plan:
        self.seen.append(seen)
        if isinstance(self.plan, Exception):
            raise self.plan
        said: Mapping[str, Target] = self.plan
        return said


def open_sqlite(folder: Path) -> Store:
    """A store in that folder; whoever opens it closes it."""
    return open_store(f"sqlite:///{folder / 'jobs.sqlite3'}", Limits(lease_s=30.0))


def insert(store: Store, now: float = NOW, **said: Any) -> Job:
    """A job that is accepted."""
    values = {"id": f"job-{next(_numbers)}", "tenant": "t", "model": "m", "task": "text-to-image", "input": {}, **said}
    [job] = store.insert([NewJob(**values)], now)
    assert isinstance(job, Job)
    return job


def finish(store: Store, worker: str, device_s: float, now: float = NOW) -> None:
    """Run the next job to its end, as that worker."""
    [job] = store.claim(Claimant(worker, ("m",), ("m",)), 1, now)
    store.complete(Lease(job.id, job.fence), [], {"device_s": device_s}, now)


def beat(store: Store, worker: str, state: str = "ready", now: float = NOW, **said: Any) -> None:
    """A worker's report."""
    store.heartbeat(WorkerReport(worker, state, now, ("m",), **said), [], now)
