"""Jobs into the store, many to a commit.

A durable insert waits for the disk; a hundred of them one after another wait a hundred times. So the first request
commits alone at once, and those that arrive while it waits make up the next commit together. Nobody waits for company.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..core import Job, JobState, NewJob
from ..errors import LimitExceeded, QueueFull, StoreUnavailable
from ..jobs.allowances import room_after
from ..jobs.store import FETCH_LIMIT, JobFilter, Store
from .access import is_of_guests
from .forecast import Forecast, Place
from .threads import Threads

LONGEST_RETRY_S = 3600.0  # what is scheduled for next week may be cancelled today
LOOKED_AT = 32  # of a key's live jobs, for when the first of them ends
GUESTS_SHARE = 0.5  # of the queue: guests' jobs are taken while no more than this of it is full
GROUP = min(128, FETCH_LIMIT)  # jobs in one commit: more would make the first of them wait for the last


@dataclass(frozen=True)
class Accepted:
    """A job that is durable, and its place in the queue; `is_repeat`: its idempotency key was known."""

    job: Job
    place: Place
    is_repeat: bool = False


@dataclass(frozen=True)
class Bounds:
    """How many jobs may be queued, and how many of one tenant scheduled."""

    max_queued: int
    max_scheduled: int


Waiting = tuple[NewJob, asyncio.Future[Accepted]]


class Intake:
    """Inserts jobs; its methods belong to the event loop."""

    def __init__(
        self, store: Store, threads: Threads, forecast: Forecast, bounds: Bounds, clock: Callable[[], float]
    ) -> None:
        self._store, self._threads, self._forecast = store, threads, forecast
        self._bounds, self._clock = bounds, clock
        self._waiting: list[Waiting] = []
        self._committing: asyncio.Task[None] | None = None

    async def insert(self, job: NewJob) -> Accepted:
        """Durable when it returns; raises `QueueFull`, `IdempotencyConflict` or `StoreUnavailable`."""
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, future))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_all())
        try:
            return await future
        except LimitExceeded as error:
            if error.field == "live_jobs":
                raise room_after(error, job.allowance, await self._first_end_s(job)) from None
            raise
        except QueueFull as error:
            is_for_later = error.field == "run_at"
            free_in_s = error.retry_after_s if is_for_later else (await self._forecast.now()).retry_after_s()
            error.retry_after_s = min(free_in_s, LONGEST_RETRY_S)
            raise

    async def _first_end_s(self, job: NewJob) -> float | None:
        """How long until the first of the live jobs that it came beside is expected to end; None where nobody knows."""
        outlook = await self._forecast.now()
        try:
            live = await self._threads.store(self._live_beside, job)
        except StoreUnavailable:
            return None
        etas = [outlook.eta_s(one, place, self._clock()) for one, place in live]
        return min((eta for eta in etas if eta is not None), default=None)

    def _live_beside(self, job: NewJob) -> list[tuple[Job, Place]]:
        """The running jobs of its key, with how far they are; where none runs, some of those that wait."""
        for state in (JobState.RUNNING, JobState.QUEUED):
            found = self._store.list_jobs(JobFilter(tenant=job.tenant, state=state, limit=LOOKED_AT)).jobs
            mine = [one for one in found if one.key_id == job.key_id]
            if mine:
                places = self._places(mine)
                return [(one, places.get(one.id)) for one in mine]
        return []

    async def known(self, tenant: str, key: str, digest: str) -> Accepted | None:
        """What this key was accepted as; raises `IdempotencyConflict` or `StoreUnavailable`."""
        return await self._threads.store(self._known, tenant, key, digest)

    def _known(self, tenant: str, key: str, digest: str) -> Accepted | None:
        job = self._store.known(tenant, key, digest, self._clock())
        return None if job is None else Accepted(job, self._places([job]).get(job.id), is_repeat=True)

    async def _commit_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
            of_guests = [one for one in group if is_of_guests(one[0].key_id)]
            others = [one for one in group if not is_of_guests(one[0].key_id)]
            max_queued = self._bounds.max_queued
            for those, most in ((others, max_queued), (of_guests, math.ceil(GUESTS_SHARE * max_queued))):
                if those:
                    await self._commit_group(those, most)

    async def _commit_group(self, group: Sequence[Waiting], max_queued: int) -> None:
        commit = self._threads.insert(self._commit, [job for job, _ in group], max_queued)
        [outcome] = await asyncio.gather(commit, return_exceptions=True)
        _settle(group, outcome)

    def _commit(self, jobs: Sequence[NewJob], max_queued: int) -> list[Accepted | Exception]:
        answers = self._store.insert(jobs, self._clock(), max_queued, self._bounds.max_scheduled)
        places = self._places([answer for answer in answers if isinstance(answer, Job)])
        return [_accepted(new, answer, places) for new, answer in zip(jobs, answers, strict=True)]

    def _places(self, jobs: Sequence[Job]) -> Mapping[str, Place]:
        queued = [job.id for job in jobs if job.state == JobState.QUEUED]
        try:
            return dict(zip(queued, self._store.positions(queued), strict=True)) if queued else {}
        except StoreUnavailable:
            return {}  # the jobs are durable by now, and that is what must be answered


def _accepted(new: NewJob, answer: Job | Exception, places: Mapping[str, Place]) -> Accepted | Exception:
    if isinstance(answer, Exception):
        return answer
    return Accepted(answer, places.get(answer.id), is_repeat=answer.id != new.id)


def _settle(group: Sequence[Waiting], outcome: list[Accepted | Exception] | BaseException) -> None:
    """Tell each of the group what became of it; a commit that failed failed for all."""
    answers = [outcome] * len(group) if isinstance(outcome, BaseException) else outcome
    for (_, future), answer in zip(group, answers, strict=True):
        if future.done():
            continue  # its client is gone; the job is not
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
