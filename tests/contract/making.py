"""What the contract's tests put into a store."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from darkroom.core import PRIORITY_STEPS, Artifact, Event, Job, Lease, NewJob, WorkerReport
from darkroom.jobs.store import Claimant, Store

NOW = 1_000_000.0
LOW, HIGH = PRIORITY_STEPS["low"], PRIORITY_STEPS["high"]  # classes
LEASE_S = 30.0  # of conftest.LIMITS
DAY_S = 24 * 3600.0
ERROR = {"code": "not_finite", "message": "black"}
_numbers = itertools.count(1)


def new_job(tenant: str = "t", **fields: Any) -> NewJob:
    """A job to insert; ids are made up in order."""
    given = {"id": f"job-{next(_numbers)}", "model": "m", "task": "text-to-image", "input": {"prompt": "x"}, "steps": 4}
    return NewJob(tenant=tenant, **(given | fields))


def insert(store: Store, *jobs: NewJob, now: float = NOW) -> list[Job]:
    """Insert jobs that must be accepted."""
    answers = store.insert(jobs, now)
    return [accepted(answer) for answer in answers]


def accepted(answer: Job | Exception) -> Job:
    """The job that was answered; anything else fails the test."""
    assert isinstance(answer, Job), answer
    return answer


def insert_one(store: Store, now: float = NOW, **fields: Any) -> Job:
    """Insert one job that must be accepted."""
    return insert(store, new_job(**fields), now=now)[0]


def claimant(worker: str = "w", **fields: Any) -> Claimant:
    """A worker with one model, which it has loaded."""
    return Claimant(worker, **({"models": ("m",), "loaded": ("m",)} | fields))


def claim(store: Store, limit: int = 1, now: float = NOW, worker: str = "w", **fields: Any) -> list[Job]:
    """Claim as that worker."""
    return store.claim(claimant(worker, **fields), limit, now)


def claim_one(store: Store, now: float = NOW, worker: str = "w", **fields: Any) -> Job:
    """Claim exactly one job."""
    jobs = claim(store, 1, now, worker, **fields)
    assert len(jobs) == 1
    return jobs[0]


def running(store: Store, now: float = NOW, worker: str = "w", **fields: Any) -> Job:
    """A job that a worker has just claimed; nothing else may be queued."""
    insert_one(store, now, **fields)
    return claim_one(store, now, worker)


def lease(job: Job) -> Lease:
    """What the worker holds of a job it claimed."""
    return Lease(job.id, job.fence)


def report(worker: str = "w", at: float = NOW, **fields: Any) -> WorkerReport:
    """What a worker says with its heartbeat."""
    return WorkerReport(worker, at=at, **({"state": "ready"} | fields))


def artifact(job: Job | None = None, at: float = NOW, **fields: Any) -> Artifact:
    """A picture that a job made, or an upload."""
    name = f"artifact-{next(_numbers)}"
    given = {"id": name, "tenant": "t", "key": f"t/{name}.png", "content_type": "image/png", "size": 10}
    return Artifact(**(given | {"created_at": at, "job_id": job.id if job else None} | fields))


def present(job: Job | None) -> Job:
    """The job, which must be there."""
    assert job is not None
    return job


def fetch(store: Store, job: Job) -> Job:
    """The job as it is now."""
    return present(store.get(job.id))


def ids(jobs: Sequence[Job]) -> list[str]:
    """Ids in order."""
    return [job.id for job in jobs]


def types(events: Sequence[Event]) -> list[str]:
    """Event types in order."""
    return [event.type for event in events]
