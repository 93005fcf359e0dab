"""A job's transitions as changes of its row: each inside a transaction of the caller's, each with its event."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core import Artifact, Job, JobState, Lease, NewJob
from ..errors import Conflict, InvariantBroken, LeaseLost
from . import sqlite_dues as dues
from . import sqlite_fair as fair
from .allowances import added_up
from .routing import needs_of
from .rows import ARTIFACT, Row, dump, errors_of, job_of_new, values_of_new
from .sqlite_statements import first, run


@dataclass(frozen=True)
class End:
    """What a claim leaves behind with its job."""

    metrics: Mapping[str, float] | None = None  # None keeps what is there
    error: Mapping[str, Any] | None = None
    progress: Row | None = None  # of the event database
    images: int = 0

    def metrics_of(self, row: Row) -> str | None:
        """The job's metrics with this attempt's, as they are stored."""
        return None if self.metrics is None else dump(added_up(json.loads(row["metrics"]), self.metrics))

    def step_of(self, row: Row) -> dict[str, int | None]:
        """The last step, where it is of this claim."""
        if self.progress is None or self.progress["fence"] != row["fence"]:
            return {"step": None, "steps": None}
        return {"step": self.progress["step"], "steps": self.progress["steps"]}


def note(db: sqlite3.Connection, job_id: str, now: float, kind: str, data: Mapping[str, Any] | None = None) -> None:
    """Put the event of a transition on its way."""
    run(db, "note", job_id=job_id, at=now, type=kind, data=dump(data or {}))


def held(db: sqlite3.Connection, lease: Lease) -> Row:
    """The running job that the lease is on; raises `LeaseLost`."""
    row = first(db, "held", id=lease.job_id, fence=lease.fence)
    if row is None:
        raise LeaseLost(f"job {lease.job_id}: this claim no longer holds it")
    return row


# Coming in


def is_later(job: NewJob, now: float) -> bool:
    """Whether it is to be scheduled."""
    return job.run_at is not None and job.run_at > now


def admit(db: sqlite3.Connection, job: NewJob, now: float) -> Job:
    """-> queued, or -> scheduled where its time is to come; raises `Conflict` where the id is taken."""
    if first(db, "is_known", id=job.id) is not None:
        raise Conflict(f"there is a job {job.id} already", field="id")
    values = values_of_new(job) | {"adapters": needs_of(job)}
    later = is_later(job, now)
    place = 0.0 if later else fair.join(db, fair.Turn(job.tenant, job.model, job.priority, values["share"]))
    state = JobState.SCHEDULED if later else JobState.QUEUED
    times = {"now": now, "scheduled_at": now if later else None, "queued_at": None if later else now}
    run(db, "add_job", **values, **times, state=state, rank=place)
    dues.reserve(db, job, now)
    if not later:
        note(db, job.id, now, "queued")
    return job_of_new(job, state, place, {"created": now, state.value: now})


def stage(db: sqlite3.Connection, row: Row, now: float) -> None:
    """scheduled -> queued; it is ranked when it is first queued, or those who plan ahead would go before all others."""
    place = row["rank"]
    if row["queued_at"] is None:
        place = fair.join(db, fair.Turn(row["tenant"], row["model"], row["priority"], row["share"]))
    run(db, "stage", ins=row["ins"], now=now, rank=place)
    note(db, row["id"], now, "queued")


# Running


def start(db: sqlite3.Connection, ins: int, worker: str, now: float, lease_until: float) -> Row:
    """queued -> running."""
    (row,) = run(db, "start", ins=ins, worker=worker, now=now, lease_until=lease_until)
    run(db, "set_virtual_time", rank=row["rank"])
    note(db, row["id"], now, "started", {"worker": worker, "attempt": row["attempt"]})
    dues.started(db, row, now)
    return row


def warn(db: sqlite3.Connection, row: Row, warnings: Sequence[str]) -> Row:
    """More warnings, each once."""
    every = [*dict.fromkeys([*json.loads(row["warnings"]), *warnings])]
    (warned,) = run(db, "set_warnings", ins=row["ins"], warnings=dump(every))
    return warned


def add_artifact(db: sqlite3.Connection, artifact: Artifact, job_id: str | None) -> None:
    """Store an artifact."""
    try:
        run(db, "add_artifact", **{name: getattr(artifact, name) for name in ARTIFACT} | {"job_id": job_id})
    except sqlite3.IntegrityError as error:
        raise InvariantBroken(f"there is an artifact {artifact.id} already") from error


# Ending


def end(db: sqlite3.Connection, row: Row, state: JobState, now: float, left: End) -> Row:
    """-> succeeded, failed or cancelled."""
    errors = [*errors_of(row), *([left.error] if left.error is not None else [])]
    values = {"state": state, "metrics": left.metrics_of(row), "errors": dump(errors), **left.step_of(row)}
    (ended,) = run(db, "end", ins=row["ins"], now=now, **values)
    dues.charge(db, row, now, left.metrics, jobs=1, images=left.images)
    note(db, row["id"], now, state.value, {"error": errors[-1]} if state == JobState.FAILED else None)
    dues.ended(db, ended, now)
    return ended


# Going back


def retry(db: sqlite3.Connection, row: Row, now: float, retry_at: float, left: End) -> Row:
    """running -> scheduled for another attempt."""
    assert left.error is not None
    errors = dump([*errors_of(row), left.error])
    metrics = left.metrics_of(row)
    (later,) = run(db, "retry", ins=row["ins"], now=now, run_at=retry_at, metrics=metrics, errors=errors)
    dues.charge(db, row, now, left.metrics)
    note(db, row["id"], now, "requeued", {"reason": left.error.get("code", "failed")})
    return later


def hand_back(db: sqlite3.Connection, row: Row, now: float, reason: str, left: End) -> None:
    """running -> queued, uncharged and above suspicion."""
    if row["is_cancelling"]:
        end(db, row, JobState.CANCELLED, now, left)
        return
    dues.charge(db, row, now, left.metrics)
    same = {"is_suspect": row["is_suspect"], "errors": row["errors"]}
    _requeue(db, row, now, reason, attempt=row["attempt"] - 1, metrics=left.metrics_of(row), **same)


def give_up(db: sqlite3.Connection, row: Row, now: float, reason: str, is_alone: bool, progress: Row | None) -> None:
    """The worker of a running job is dead: back to the queue, as a suspect where it was not alone; or to its end."""
    if row["is_cancelling"]:
        end(db, row, JobState.CANCELLED, now, End(progress=progress))
    elif not is_alone:
        _requeue(db, row, now, reason, attempt=row["attempt"] - 1, is_suspect=1, errors=row["errors"])
    else:
        error = {
            "code": "worker_died",
            "message": f"worker {row['worker']} ended while it ran this job alone ({reason})",
        }
        if row["attempt"] >= row["max_attempts"]:
            end(db, row, JobState.FAILED, now, End(error=error, progress=progress))
        else:
            errors = dump([*errors_of(row), error])
            _requeue(db, row, now, reason, attempt=row["attempt"], is_suspect=row["is_suspect"], errors=errors)


def _requeue(
    db: sqlite3.Connection, row: Row, now: float, reason: str, *, metrics: str | None = None, **values: Any
) -> None:
    run(db, "requeue", ins=row["ins"], now=now, metrics=metrics, **values)
    note(db, row["id"], now, "requeued", {"reason": reason})


# Going


def forget(db: sqlite3.Connection, row: Row) -> None:
    """Forget a final job, what it made, its webhook calls and its idempotency key."""
    if row["idempotency_key"] is not None:
        run(db, "forget_key", tenant=row["tenant"], key=row["idempotency_key"], job_id=row["id"])
    run(db, "forget_artifacts_of", job_id=row["id"])
    dues.forgotten(db, row)
    run(db, "forget_job", ins=row["ins"])
