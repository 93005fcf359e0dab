"""Jobs into the store, many to a commit.

A durable insert waits for the disk; a hundred of them one after another wait a hundred times. So the first request
commits alone at once, and those that arrive while it waits make up the next commit together. Nobody waits for company.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..core import Job, JobState, NewJob
from ..errors import QueueFull, StoreUnavailable
from ..jobs.store import FETCH_LIMIT, Store
from .forecast import Forecast, Place
from .threads import Threads

LONGEST_RETRY_S = 3600.0  # what is scheduled for next week may be cancelled today
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
        except QueueFull as error:
            is_for_later = error.field == "run_at"
            free_in_s = error.retry_after_s if is_for_later else (await self._forecast.now()).retry_after_s()
            error.retry_after_s = min(free_in_s, LONGEST_RETRY_S)
            raise

    async def known(self, tenant: str, key: str, digest: str) -> Accepted | None:
        """What this key was accepted as; raises `IdempotencyConflict` or `StoreUnavailable`."""
        return await self._threads.store(self._known, tenant, key, digest)

    def _known(self, tenant: str, key: str, digest: str) -> Accepted | None:
        job = self._store.known(tenant, key, digest, self._clock())
        return None if job is None else Accepted(job, self._place(job), is_repeat=True)

    async def _commit_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
            commit = self._threads.insert(self._commit, [job for job, _ in group])
            [outcome] = await asyncio.gather(commit, return_exceptions=True)
            _settle(group, outcome)

    def _commit(self, jobs: Sequence[NewJob]) -> list[Accepted | Exception]:
        answers = self._store.insert(jobs, self._clock(), self._bounds.max_queued, self._bounds.max_scheduled)
        return [self._placed(new, answer) for new, answer in zip(jobs, answers, strict=True)]

    def _placed(self, new: NewJob, answer: Job | Exception) -> Accepted | Exception:
        if isinstance(answer, Exception):
            return answer
        return Accepted(answer, self._place(answer), is_repeat=answer.id != new.id)

    def _place(self, job: Job) -> Place:
        try:
            return self._store.position(job.id) if job.state == JobState.QUEUED else None
        except StoreUnavailable:
            return None  # the job is durable by now, and that is what must be answered


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
