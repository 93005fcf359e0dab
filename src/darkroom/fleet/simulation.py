"""A fleet in a simulated day: the same policies, workers that only pass time; pure, and the same for the same seed.

Discrete events: a request arrives, a worker becomes ready, a job ends, a spot worker is taken away, the policy looks.
A worker costs from when it is asked for until it is gone. It runs up to as many jobs at once as `Model.speeds` has
entries; entry k is what it does in a second with k + 1 jobs, 1 being a job alone. Jobs are claimed in the order of
class, deadline and arrival by the free worker with the fewest jobs. A job of a worker that is taken away goes on
elsewhere from where it was. The policy is told predicted seconds: the mean of what ended with the same model, steps and
images.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from ..core import class_step
from ..traces import Request
from .nouns import Member, Observation, Phase, Plan, Policy, Pool, Seen, Waiting
from .seasons import HOUR_S

FIRST_GUESS_S = 20.0  # of a job before any has ended
NEWEST = 0.1  # the weight of the newest in a predicted time
REST_S = 60.0  # an empty fleet is looked at so often
Event = tuple[float, int, Callable[[], None]]


@dataclass(frozen=True)
class Model:
    """What the simulated workers are like; `losses_per_hour` is how often a spot worker is taken away."""

    speeds: tuple[float, ...] = (1.0,)
    losses_per_hour: float = 0.0
    look_s: float = 5.0
    seed: int = 0


@dataclass
class Job:
    """A request on its way; `left_s` of its seconds alone."""

    request: Request
    left_s: float
    pool: str = ""
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(eq=False)
class Worker:
    """One that is paid from `since` until `gone_at`; `busy_s` is with at least one job."""

    member: Member
    pool: Pool
    jobs: list[Job] = field(default_factory=list)
    phase: Phase = Phase.STARTING
    updated_at: float = 0.0
    busy_s: float = 0.0
    done_s: float = 0.0  # of jobs, alone
    version: int = 0
    gone_at: float | None = None


@dataclass(frozen=True)
class Sample:
    """The fleet at a moment."""

    at: float
    workers: int
    waiting: int


@dataclass(frozen=True)
class Run:
    """What happened."""

    jobs: Sequence[Job]
    workers: Sequence[Worker]
    samples: Sequence[Sample]
    ended_at: float


def simulate(requests: Sequence[Request], pools: Sequence[Pool], policy: Policy, model: Model | None = None) -> Run:
    """All requests, in the order of arrival, to their end. Seconds count from the trace's own zero."""
    return _World(requests, pools, policy, model or Model()).run()


class _World:
    def __init__(self, requests: Sequence[Request], pools: Sequence[Pool], policy: Policy, model: Model) -> None:
        self._pools, self._policy, self._model = tuple(pools), policy, model
        self._rng = random.Random(f"losses {model.seed}")
        self._jobs = [Job(request, request.exec_s) for request in requests]
        self._events: list[Event] = []
        self._count, self._now, self._left = 0, 0.0, len(self._jobs)
        self._queue: list[tuple[tuple[float, float, float], int, Job]] = []
        self._workers: list[Worker] = []
        self._gone: list[Worker] = []
        self._arrivals: defaultdict[float, float] = defaultdict(float)
        self._guesses: dict[object, float] = {}
        self._samples: list[Sample] = []

    def run(self) -> Run:
        for job in self._jobs:
            self._at(job.request.arrival_s, partial(self._arrive, job))
        self._at(self._jobs[0].request.arrival_s // HOUR_S * HOUR_S if self._jobs else 0.0, self._look)
        while self._left:
            self._now, _, happen = heapq.heappop(self._events)
            happen()
        for worker in list(self._workers):
            self._let_go(worker)
        return Run(self._jobs, self._gone, self._samples, self._now)

    def _at(self, at: float, happen: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, happen))

    # --- jobs

    def _arrive(self, job: Job) -> None:
        self._arrivals[self._now // HOUR_S * HOUR_S] += self._predicted(job)
        self._enqueue(job)

    def _enqueue(self, job: Job) -> None:
        self._count += 1
        due = float("inf") if job.request.deadline_s is None else job.request.arrival_s + job.request.deadline_s
        heapq.heappush(self._queue, ((-class_step(job.request.priority), due, job.request.arrival_s), self._count, job))
        self._claim()

    def _claim(self) -> None:
        """Jobs go to whoever is free; one that nobody free serves lets others past."""
        passed = []
        rows = len(self._model.speeds)
        while self._queue and any(w.phase is Phase.READY and len(w.jobs) < rows for w in self._workers):
            entry = heapq.heappop(self._queue)
            free = [w for w in self._workers if w.phase is Phase.READY and len(w.jobs) < rows]
            free = [w for w in free if w.pool.serves(entry[2].request.model)]
            if free:
                self._start(min(free, key=lambda w: len(w.jobs)), entry[2])
            else:
                passed.append(entry)
        for entry in passed:
            heapq.heappush(self._queue, entry)

    def _start(self, worker: Worker, job: Job) -> None:
        self._advance(worker)
        worker.jobs.append(job)
        job.pool = worker.pool.name
        job.started_at = self._now if job.started_at is None else job.started_at
        self._expect_end(worker)

    def _advance(self, worker: Worker) -> None:
        """Let the time since it was last looked at have passed for its jobs."""
        passed_s = self._now - worker.updated_at
        worker.updated_at = self._now
        if worker.jobs and passed_s > 0:
            each = self._model.speeds[len(worker.jobs) - 1] / len(worker.jobs) * passed_s
            worker.busy_s += passed_s
            for job in worker.jobs:
                job.left_s -= each
                worker.done_s += each

    def _expect_end(self, worker: Worker) -> None:
        worker.version += 1
        if worker.jobs:
            pace = self._model.speeds[len(worker.jobs) - 1] / len(worker.jobs)
            ends = self._now + max(0.0, min(job.left_s for job in worker.jobs)) / pace
            self._at(ends, partial(self._end, worker, worker.version))

    def _end(self, worker: Worker, version: int) -> None:
        if version != worker.version or worker.gone_at is not None:
            return
        self._advance(worker)
        job = min(worker.jobs, key=lambda job: job.left_s)
        worker.jobs.remove(job)
        job.ended_at, self._left = self._now, self._left - 1
        self._learn(job)
        self._expect_end(worker)
        if worker.phase is Phase.LEAVING and not worker.jobs:
            self._let_go(worker)
        self._claim()

    def _predicted(self, job: Job) -> float:
        r = job.request
        keys = ((r.model, r.steps, r.images), r.model, None)
        return next((self._guesses[key] for key in keys if key in self._guesses), FIRST_GUESS_S)

    def _learn(self, job: Job) -> None:
        r = job.request
        for key in ((r.model, r.steps, r.images), r.model, None):
            old = self._guesses.get(key, r.exec_s)
            self._guesses[key] = old + NEWEST * (r.exec_s - old)

    # --- workers

    def _ready(self, worker: Worker) -> None:
        if worker.phase is Phase.STARTING:
            worker.phase, worker.updated_at = Phase.READY, self._now
            self._claim()

    def _let_go(self, worker: Worker) -> None:
        self._advance(worker)
        worker.gone_at = self._now
        self._workers.remove(worker)
        self._gone.append(worker)

    def _lose(self, worker: Worker) -> None:
        if worker.gone_at is None:
            self._let_go(worker)
            for job in worker.jobs:
                self._enqueue(job)

    def _ask_for(self, pool: Pool) -> None:
        self._count += 1
        worker = Worker(Member(f"{pool.name}-{self._count}", pool.name, Phase.STARTING, self._now), pool)
        self._workers.append(worker)
        self._at(self._now + pool.ready_s, partial(self._ready, worker))
        if pool.is_spot and self._model.losses_per_hour:
            lives_s = self._rng.expovariate(self._model.losses_per_hour) * HOUR_S
            self._at(self._now + lives_s, partial(self._lose, worker))

    def _drain(self, worker: Worker) -> None:
        worker.phase = Phase.LEAVING
        if not worker.jobs:
            self._let_go(worker)

    # --- the policy

    def _look(self) -> None:
        self._carry_out(self._policy(self._observation()))
        sample = Sample(self._now, len(self._workers), len(self._queue))
        if not self._samples or replace(self._samples[-1], at=self._now) != sample:
            self._samples.append(sample)
        is_at_rest = not self._workers and not self._queue
        next_s = self._now + self._model.look_s
        if is_at_rest and self._events:
            next_s = max(next_s, min(self._events[0][0], self._now + REST_S))
        self._at(next_s, self._look)

    def _carry_out(self, plan: Plan) -> None:
        for pool in self._pools:
            target = plan.get(pool.name)
            there = [w for w in self._workers if w.pool is pool and w.phase is not Phase.LEAVING]
            if target is None:
                continue
            for _ in range(target.workers - len(there)):
                self._ask_for(pool)
            ranks = {name: rank for rank, name in enumerate(target.leaving)}
            there.sort(key=lambda w: ranks.get(w.member.name, len(ranks)))
            for worker in there[: max(0, len(there) - target.workers)]:
                self._drain(worker)

    def _observation(self) -> Observation:
        return Observation(
            now=self._now,
            pools=self._pools,
            waiting=tuple(self._groups()),
            workers=tuple(self._seen(worker) for worker in self._workers),
            arrivals=self._arrivals,
            speeds=self._speeds(),
        )

    def _groups(self) -> Sequence[Waiting]:
        groups: defaultdict[tuple[str, int], list[Job]] = defaultdict(list)
        for _, _, job in self._queue:
            groups[job.request.model, job.request.priority].append(job)
        return [self._group(model, priority, jobs) for (model, priority), jobs in groups.items()]

    def _group(self, model: str, priority: int, jobs: Sequence[Job]) -> Waiting:
        deadlines = sorted(
            (job.request.arrival_s + job.request.deadline_s, self._predicted(job))
            for job in jobs
            if job.request.deadline_s is not None
        )
        work_s, oldest_at = sum(map(self._predicted, jobs)), min(job.request.arrival_s for job in jobs)
        return Waiting(model, priority, len(jobs), work_s, oldest_at, tuple(deadlines))

    def _seen(self, worker: Worker) -> Seen:
        member = worker.member if worker.member.phase is worker.phase else replace(worker.member, phase=worker.phase)
        worker.member = member
        ahead_s = sum(max(1.0, self._predicted(job) - job.request.exec_s + job.left_s) for job in worker.jobs)
        return Seen(member, in_flight=len(worker.jobs), ahead_s=ahead_s, busy=float(bool(worker.jobs)))

    def _speeds(self) -> dict[str, float]:
        """Learned: jobs' seconds alone by the busy seconds they took."""
        if len(self._model.speeds) == 1:
            return {}
        found = {}
        for pool in self._pools:
            workers = [worker for worker in self._workers if worker.pool is pool]
            busy_s = sum(worker.busy_s for worker in workers)
            if busy_s:
                found[pool.name] = sum(worker.done_s for worker in workers) / busy_s
        return found
