"""Looks at store and driver, and makes of it what a policy may look at; what it learns on the way is `learned`.

Store.lines ------> waiting          Driver.members + Store.workers --> workers, seconds until ready, paces
Store.list_jobs --> arrivals         Store.ended ---------------------> speeds
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..core import Job, JobState, WorkerReport
from ..jobs.store import FETCH_LIMIT, JobFilter, Store
from .nouns import Driver, Member, Observation, Phase, Pool, Seen, Waiting
from .told import Learned, Pace

HOUR_S = 3600.0
KEPT_HOURS = 4 * 168  # of arrivals: what a forecast by the hour of the week looks back on
MOST_COUNTED = 20_000  # jobs, the latest, where nobody has counted for long
OVERLAP_S = 10.0  # jobs come with their gateway's time, and may be stored a moment later
LEARN = 0.5  # how much the latest counts
MOST_ENDED = 200  # jobs that ended since the last look, of which speeds are learned
LEAST_SPEED, MOST_SPEED = 0.1, 10.0
MOST_KNOWN = 1000  # workers whose pool is remembered
LEAST_READY_S, MOST_READY_S = 0.1, 7200.0  # as the settings allow


@dataclass
class Observer:
    """Looks for one fleet. `heard_within_s`: a worker that was silent for longer is not counted on.

    `remote`: models that another Darkroom runs, whose jobs no worker of a pool can claim.
    """

    store: Store
    driver: Driver
    pools: Sequence[Pool]
    heard_within_s: float
    learned: Learned = field(default_factory=Learned)
    remote: frozenset[str] = frozenset()
    # Jobs that were counted lately, and when they came; None: not by us.
    _recent: dict[str, float] | None = field(default=None, init=False)
    _pool_of: dict[str, str] = field(default_factory=dict, init=False)  # by worker, also those that are gone
    _starting: set[str] = field(default_factory=set, init=False)  # workers whose start is under our eyes
    _were_ready: dict[str, None] = field(default_factory=dict, init=False)  # once, also those that are gone
    _began_at: float = field(default=math.inf, init=False)  # of the first look
    _ended_at: float = field(default=math.inf, init=False)  # of the job that ended last, of those learned from

    def look(self, now: float) -> Observation:
        """All that a policy may look at; raises `StoreUnavailable` or `DriverUnavailable`."""
        reports = {report.id: report for report in self.store.workers(now - self.heard_within_s)}
        workers = [seen_of(member, reports.get(member.name)) for member in self.driver.members()]
        self._began_at = min(self._began_at, now)
        self._learn_starts(workers, reports)
        self._learn_paces(reports.values())
        self._learn_speeds(now)
        self._count(now)
        ready_s, speeds = self.learned.ready_s, self.learned.speeds
        return Observation(
            now=now,
            pools=tuple(replace(pool, ready_s=ready_s.get(pool.name, pool.ready_s)) for pool in self.pools),
            waiting=tuple(self._waiting()),
            workers=tuple(replace(w, ahead_s=w.ahead_s * speeds.get(w.member.pool, 1.0)) for w in workers),
            arrivals=self.learned.arrivals,
            speeds=speeds,
        )

    def _waiting(self) -> Iterator[Waiting]:
        for line in self.store.lines():
            if line.model not in self.remote:
                yield Waiting(line.model, line.level, line.jobs, line.cost_s, line.oldest_at, line.deadlines)

    def _learn_starts(self, workers: Iterable[Seen], reports: Mapping[str, WorkerReport]) -> None:
        """Of those that were seen to start, and are ready now for the first time.

        One that is older than the first look, or that only fell silent or began again, says nothing of a start.
        """
        known = dict(self.learned.ready_s)
        for member in (worker.member for worker in workers):
            self._pool_of[member.name] = member.pool
            if member.phase is Phase.STARTING and self._is_seen_to_start(member):
                self._starting.add(member.name)
            elif member.phase is Phase.READY and member.name in self._starting:
                took_s = min(MOST_READY_S, max(LEAST_READY_S, reports[member.name].at - member.since))
                known[member.pool] = took_s if member.pool not in known else _mixed(known[member.pool], took_s)
            if member.phase is Phase.READY:
                self._were_ready[member.name] = None
        self._starting &= {worker.member.name for worker in workers if worker.member.phase is Phase.STARTING}
        self._pool_of = dict([*self._pool_of.items()][-MOST_KNOWN:])
        self._were_ready = dict.fromkeys([*self._were_ready][-MOST_KNOWN:])
        self.learned = replace(self.learned, ready_s=known)

    def _is_seen_to_start(self, member: Member) -> bool:
        return member.since >= self._began_at and member.name not in self._were_ready

    def _learn_paces(self, reports: Iterable[WorkerReport]) -> None:
        self.learned = replace(self.learned, paces={**self.learned.paces, **paces_of(reports)})

    def _learn_speeds(self, now: float) -> None:
        since, speeds = min(self._ended_at, now), dict(self.learned.speeds)
        self._ended_at = since
        ended = [job for job in self.store.ended(since, 0, MOST_ENDED) if job.times[job.state.value] > since]
        for pool, jobs in _by_pool(ended, self._pool_of).items():
            speed = sum(job.cost_s for job in jobs) / sum(job.metrics["device_s"] for job in jobs)
            speed = min(MOST_SPEED, max(LEAST_SPEED, speed))
            speeds[pool] = speed if pool not in speeds else _mixed(speeds[pool], speed)
        self._ended_at = max([since, *(job.times[job.state.value] for job in ended)])
        self.learned = replace(self.learned, speeds=speeds)

    def _count(self, now: float) -> None:
        """Add the work of jobs that came since the last count; the hours it is kept by are those of `created`."""
        began = now - KEPT_HOURS * HOUR_S
        since = max(began, self.learned.counted_until - (0.0 if self._recent is None else OVERLAP_S))
        counted = self._recent or {}
        hours = {hour: work_s for hour, work_s in self.learned.arrivals.items() if hour >= began}
        for job in newest(self.store, since, MOST_COUNTED):
            created = job.times["created"]
            if job.id not in counted and job.model not in self.remote:
                hour = created // HOUR_S * HOUR_S
                hours[hour] = hours.get(hour, 0.0) + job.cost_s
                counted[job.id] = created
        self._recent = {name: at for name, at in counted.items() if at >= now - OVERLAP_S}
        self.learned = replace(self.learned, arrivals=hours, counted_until=now)


def seen_of(member: Member, report: WorkerReport | None) -> Seen:
    """The member as the store knows it: its own word says whether it is ready, and the driver's that it is to leave."""
    if member.phase is Phase.LEAVING or (report is not None and report.state in ("draining", "stopped")):
        member = replace(member, phase=Phase.LEAVING)
    else:
        is_ready = report is not None and report.state == "ready"
        member = replace(member, phase=Phase.READY if is_ready else Phase.STARTING)
    if report is None:
        return Seen(member)
    ahead_s, busy = (_number(report.facts.get(name)) for name in ("ahead_s", "busy_share"))
    return Seen(member, tuple(report.loaded), report.in_flight, ahead_s, busy)


def paces_of(reports: Iterable[WorkerReport]) -> dict[str, Pace]:
    """What workers measured, by model, on average."""
    found: dict[str, list[Pace]] = {}
    for report in reports:
        for model, step_s in report.step_seconds.items():
            rest_s, rows = (_number((report.facts.get(name) or {}).get(model)) for name in ("rest_s", "rows"))
            found.setdefault(model, []).append(Pace(step_s, rest_s, max(1.0, rows)))
    return {model: _mean(paces) for model, paces in found.items()}


def newest(store: Store, since: float, most: int) -> Iterator[Job]:
    """The jobs that came since then, the newest first."""
    cursor: str | None = None
    while most > 0:
        page = store.list_jobs(JobFilter(since=since, limit=min(most, FETCH_LIMIT), cursor=cursor))
        yield from page.jobs
        most, cursor = most - len(page.jobs), page.cursor
        if cursor is None:
            return


def _by_pool(jobs: Iterable[Job], pool_of: Mapping[str, str]) -> dict[str, list[Job]]:
    """Those that say what they took; a retry's device seconds are of more than one attempt."""
    found: dict[str, list[Job]] = {}
    for job in jobs:
        pool = pool_of.get(job.worker or "")
        if pool and job.state == JobState.SUCCEEDED and job.attempt == 1 and job.metrics.get("device_s", 0.0) > 0:
            found.setdefault(pool, []).append(job)
    return found


def _mean(paces: Sequence[Pace]) -> Pace:
    of = [sum(values) / len(paces) for values in zip(*((p.step_s, p.rest_s, p.rows) for p in paces), strict=True)]
    return Pace(*of)


def _mixed(before: float, latest: float) -> float:
    return (1 - LEARN) * before + LEARN * latest


def _number(said: object) -> float:
    return float(said) if isinstance(said, int | float) and said >= 0 else 0.0
