"""What workers say of themselves, and what follows from it: the cost of a job, and when it will be done.

    cost_s = rows x scale x (steps x seconds of one row's share of a step + its share of the rest)
    eta_s  = (predicted device seconds queued before it) / (ready workers for its model) + its own steps + the rest

`scale` is the picture's pixels as a share of the model's default size. A step's seconds are those of the worker's
present company, so a queue drains at one device second per worker and second, and a job that has begun ends after its
own steps and what a worker measured beside them (`rest_s`: encoding, decoding). Nothing is predicted before a worker
has measured a step, but where no worker is ready and the fleet starts one:

    eta_s  = seconds until that is ready + (queued before it) / (workers wanted) + its own, as measured last
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..core import Job, JobState, WorkerReport
from ..errors import StoreUnavailable
from ..fleet.told import FleetNote, Pace, fresh_note
from ..jobs.store import Queue, Store
from .threads import Threads

FRESH_S = 1.0
NOMINAL_ROW_S = 0.05  # before anything is measured: only the proportions between jobs matter then
UNKNOWN_RETRY_S = 5.0
MAX_RETRY_S = 120.0
DRAINED_SHARE = 0.1  # a refused client comes back when this much of the queue is expected to be gone
READY, STARTING = "ready", "starting"

Place = tuple[int, float] | None  # jobs before it, and their predicted device seconds


@dataclass(frozen=True)
class Outlook:
    """Workers and queue at one moment; pure. `fleet`: what whoever scales it told last, None where nobody does."""

    workers: tuple[WorkerReport, ...] = ()
    queue: Queue | None = None
    fleet: FleetNote | None = None

    def ready(self, model: str) -> Sequence[WorkerReport]:
        """The workers that take jobs for a model."""
        return self._ready.get(model, ())

    @cached_property
    def _ready(self) -> Mapping[str, Sequence[WorkerReport]]:
        """The same for each model: sorted once, for a list asks for each of its jobs."""
        found: dict[str, list[WorkerReport]] = {}
        for worker in self.workers:
            for model in set(worker.models) if worker.state == READY else ():
                found.setdefault(model, []).append(worker)
        return found

    @cached_property
    def _starting(self) -> Sequence[WorkerReport]:
        return [each for each in self.workers if each.state == STARTING and each.facts.get("kind") != "forwarder"]

    def warnings(self, job: Job, now: float) -> tuple[str, ...]:
        """What keeps a job that waits from being begun: nobody takes jobs of its model, and nobody is on the way."""
        is_known = self.queue is not None and job.state == JobState.QUEUED
        if not is_known or self.ready(job.model) or self._is_awaited(job.model, now):
            return ()
        return (f"no worker takes jobs of {job.model} now: the job waits until one does",)

    def _is_awaited(self, model: str, now: float) -> bool:
        """Whether a worker starts that may take its jobs, or the fleet would start one."""
        if any(not each.models or model in each.models for each in self._starting):
            return True
        return self.fleet is not None and not self.fleet.fault and self.fleet.cold_s(model, now) is not None

    def step_s(self, model: str, worker: str | None = None) -> float | None:
        """Seconds of one step: on that worker if it says, else on average; None while nobody has measured one."""
        said = {report.id: report.step_seconds[model] for report in self.workers if model in report.step_seconds}
        if worker in said:
            return said[worker]
        if said:
            return sum(said.values()) / len(said)
        pace = self.known(model)
        return pace.step_s if pace else None

    def known(self, model: str) -> Pace | None:
        """What workers that are gone measured of it."""
        return self.fleet.learned.paces.get(model) if self.fleet else None

    def rest_s(self, model: str) -> float:
        """Seconds that a request takes beside its steps, on average."""
        said = [fact_of(report, "rest_s", model, 0.0) for report in self.workers if model in report.step_seconds]
        if said:
            return sum(said) / len(said)
        pace = self.known(model)
        return pace.rest_s if pace else 0.0

    def row_s(self, model: str) -> float | None:
        """Device seconds of one row in one step, on average."""
        shares = [
            report.step_seconds[model] / max(1.0, fact_of(report, "rows", model, 1.0))
            for report in self.workers
            if model in report.step_seconds
        ]
        if shares:
            return sum(shares) / len(shares)
        pace = self.known(model)
        return pace.step_s / pace.rows if pace else None

    def row_rest_s(self, model: str) -> float:
        """Device seconds of one row beside its steps, on average."""
        shares = [
            fact_of(report, "rest_s", model, 0.0) / max(1.0, fact_of(report, "rows", model, 1.0))
            for report in self.workers
            if model in report.step_seconds
        ]
        if shares:
            return sum(shares) / len(shares)
        pace = self.known(model)
        return pace.rest_s / pace.rows if pace else 0.0

    def eta_s(self, job: Job, place: Place, now: float) -> float | None:
        """Seconds until it is done; None where nothing can be said, or nothing is left to wait for."""
        if job.is_final:
            return None
        own_s = self._own_s(job)
        if job.state == JobState.RUNNING:
            return own_s
        hands = len(self.ready(job.model))
        cold_s = 0.0 if hands else self.cold_s(job.model, now)
        if cold_s is None or (own_s is None and hands):
            return None
        own_s = job.cost_s if own_s is None else own_s  # of the first jobs ever no more is known
        if job.state == JobState.SCHEDULED:
            return max(0.0, (job.run_at or now) - now) + cold_s + own_s
        return cold_s + (place[1] if place else 0.0) / (hands or self._hands_to_come(job.model)) + own_s

    def _own_s(self, job: Job) -> float | None:
        """Seconds of its own steps and the rest; None before anybody measured a step."""
        step_s = self.step_s(job.model, job.worker)
        return None if step_s is None else max(0, job.steps - job.step) * step_s + self.rest_s(job.model)

    def cold_s(self, model: str, now: float) -> float | None:
        """Seconds until the fleet has a worker ready for a model that has none; None where it never will."""
        return self.fleet.cold_s(model, now) if self.fleet else None

    def _hands_to_come(self, model: str) -> int:
        return self.fleet.hands(model) if self.fleet else 1

    def retry_after_s(self) -> float:
        """When a client that was refused because the queue is full should come back."""
        hands = sum(worker.state == READY for worker in self.workers)
        if hands == 0 or self.queue is None:
            return UNKNOWN_RETRY_S
        return min(MAX_RETRY_S, max(1.0, math.ceil(DRAINED_SHARE * self.queue.ahead_s / hands)))


@dataclass
class Forecast:
    """The latest outlook, read again when it is asked for and older than `FRESH_S`."""

    store: Store
    threads: Threads
    clock: Callable[[], float]
    heard_within_s: float
    outlook: Outlook = field(default_factory=Outlook)
    _row_s: dict[str, float] = field(default_factory=dict)
    _row_rest_s: dict[str, float] = field(default_factory=dict)
    _read_at: float = -math.inf
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def now(self) -> Outlook:
        """The outlook; where the store cannot be reached, the one before."""
        if not self._is_fresh():
            async with self._reading:
                if not self._is_fresh():
                    await self._read()
        return self.outlook

    def cost_s(self, model: str, steps: int, rows: int, scale: float = 1.0) -> float:
        """Predicted device seconds of a job; of what was measured last, also when its worker is gone.

        `scale`: its pixels, as a share of those that workers are taken to have measured, of the model's default size.
        """
        return rows * scale * (steps * self._row_s.get(model, NOMINAL_ROW_S) + self._row_rest_s.get(model, 0.0))

    def _is_fresh(self) -> bool:
        return 0 <= self.clock() - self._read_at < FRESH_S

    async def _read(self) -> None:
        try:
            self.outlook = await self.threads.store(self._look)
        except StoreUnavailable:
            return
        self._read_at = self.clock()
        fleet = self.outlook.fleet
        known = set(fleet.learned.paces) if fleet else set()
        for model in known.union(*(worker.step_seconds for worker in self.outlook.workers)):
            self._row_s[model] = self.outlook.row_s(model) or NOMINAL_ROW_S
            self._row_rest_s[model] = self.outlook.row_rest_s(model)

    def _look(self) -> Outlook:
        now = self.clock()
        workers = self.store.workers(now - self.heard_within_s)
        return Outlook(tuple(workers), self.store.queue(), fresh_note(self.store.fleet_note(), now))


def fact_of(report: WorkerReport, name: str, model: str, default: float) -> float:
    """A number that a worker reports by model among its `facts`."""
    said = report.facts.get(name)
    value = said.get(model) if isinstance(said, Mapping) else None
    return float(value) if isinstance(value, int | float) and value >= 0 else default
