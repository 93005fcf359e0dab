"""What an insert asks before it admits a job: whether its idempotency key is known, and whether there is room."""

from __future__ import annotations

import sqlite3

from ..core import Job, NewJob
from ..errors import Conflict, IdempotencyConflict, QueueFull
from . import sqlite_dues as dues
from . import sqlite_transitions as transitions
from .allowances import schedule_full
from .rows import Row
from .sqlite_statements import first, run


class Room:
    """The bounds of one insert; None has no limit."""

    def __init__(self, db: sqlite3.Connection, max_queued: int | None, max_scheduled: int | None) -> None:
        self._db, self._max_scheduled = db, max_scheduled
        self._queued_left = float("inf") if max_queued is None else max_queued - run(db, "count_queued")[0][0]

    def admit(self, job: NewJob, now: float) -> Job | Exception:
        """The new job, or why there is none; its key is remembered with it."""
        db = self._db
        refusal = self._full(db, job, now) or dues.check(db, job, now)
        if refusal is not None:
            return refusal
        try:
            admitted = transitions.admit(db, job, now)
        except Conflict as taken:
            return taken
        self._queued_left -= not transitions.is_later(job, now)
        if job.idempotency_key is not None:
            values = {"key": job.idempotency_key, "job_id": job.id, "digest": job.digest, "now": now}
            run(db, "remember_key", tenant=job.tenant, **values)
        return admitted

    def _full(self, db: sqlite3.Connection, job: NewJob, now: float) -> QueueFull | None:
        if not transitions.is_later(job, now):
            return QueueFull("the queue is full; try again later") if self._queued_left < 1 else None
        if self._max_scheduled is None:
            return None
        if run(db, "count_scheduled_of", tenant=job.tenant)[0][0] < self._max_scheduled:
            return None
        due_at: float = run(db, "next_scheduled_of", tenant=job.tenant)[0][0]
        return schedule_full(due_at - now)


def known(db: sqlite3.Connection, tenant: str, key: str, digest: str, after: float) -> Row | IdempotencyConflict | None:
    """The job that an idempotency key made after that time."""
    seen = first(db, "known_key", tenant=tenant, key=key, after=after)
    if seen is None:
        return None
    if seen["digest"] != digest:
        said = f"the idempotency key {key!r} was used for another request"
        return IdempotencyConflict(said, field="Idempotency-Key")
    return first(db, "get", id=seen["job_id"])
