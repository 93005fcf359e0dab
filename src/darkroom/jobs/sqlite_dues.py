"""What transitions owe beside a job's row, in their transactions: its key's usage, webhooks, where time went.

A job that came with no key owes no usage and one without a webhook no call: for these, nothing here asks anything.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from ..core import Allowance, NewJob, Usage, WorkerReport, payer_of
from ..errors import LimitExceeded
from .allowances import (
    COSTS_KEPT_DAYS,
    USAGE_KEPT_DAYS,
    arrival_after,
    billionths,
    day_of,
    exceeded,
    interval_s,
    wait_s,
)
from .rows import Row, dump, time_data, times_of
from .sqlite_statements import first, run

NOTHING: tuple[float, float] = (0.0, 0.0)


def check(db: sqlite3.Connection, job: NewJob, now: float) -> LimitExceeded | None:
    """Why the job does not fit in its key's allowance; reads only what that limits."""
    allowance = job.allowance
    if not job.key_id or allowance == Allowance():
        return None
    live = 0 if allowance.live_jobs is None else live_jobs(db, job.key_id)
    device_s, usd = used_today(db, job.key_id, now)
    per_minute = allowance.jobs_per_minute
    next_at = 0.0 if per_minute is None else now + wait_s(_arrival_at(db, job.key_id), interval_s(per_minute), now)
    return exceeded(allowance, Usage(live, device_s, usd, next_at), job.cost_s, job.cost_usd, now)


def reserve(db: sqlite3.Connection, job: NewJob, now: float) -> None:
    """The job has come in: its prediction is used, and so is its turn."""
    if not job.key_id:
        return
    costs = {"device": billionths(job.cost_s), "usd": billionths(job.cost_usd)}
    run(db, "reserve", key_id=job.key_id, day=day_of(now), **costs)
    if job.allowance.jobs_per_minute is not None:
        apart_s = interval_s(job.allowance.jobs_per_minute)
        arrival_at = arrival_after(_arrival_at(db, job.key_id), apart_s, now)
        run(db, "set_rate", key_id=job.key_id, arrival_at=arrival_at, interval_s=apart_s)


def live_jobs(db: sqlite3.Connection, key_id: str) -> int:
    """How many of the key's jobs have not ended."""
    return int(run(db, "live_jobs", key_id=key_id)[0]["jobs"])


def used_today(db: sqlite3.Connection, key_id: str, now: float) -> tuple[float, float]:
    """Device seconds and dollars."""
    row = first(db, "used", key_id=key_id, day=day_of(now))
    return NOTHING if row is None else (row["device"] / 1e9, row["usd"] / 1e9)


def next_job_at(db: sqlite3.Connection, key_id: str, now: float) -> float:
    """When the rate allows another job; 0: at once."""
    row = first(db, "rate", key_id=key_id)
    left_s = 0.0 if row is None else wait_s(row["arrival_at"], row["interval_s"], now)
    return now + left_s if left_s else 0.0


def _arrival_at(db: sqlite3.Connection, key_id: str) -> float:
    row = first(db, "rate", key_id=key_id)
    return 0.0 if row is None else float(row["arrival_at"])


def started(db: sqlite3.Connection, row: Row, now: float) -> None:
    """The job runs."""
    _owe_call(db, row, "started", now)


def ended(db: sqlite3.Connection, row: Row, now: float) -> None:
    """The job is in a final state."""
    if row["key_id"]:
        metrics = json.loads(row["metrics"])
        device = billionths(metrics.get("device_s", 0.0)) - billionths(row["cost_s"])
        usd = billionths(metrics.get("cost_usd", 0.0)) - billionths(row["cost_usd"])
        run(db, "settle", key_id=row["key_id"], day=day_of(row["created_at"]), device=device, usd=usd)
    _owe_call(db, row, row["state"], now)


def charge(
    db: sqlite3.Connection, row: Row, now: float, metrics: Mapping[str, float] | None, *, jobs: int = 0, images: int = 0
) -> None:
    """An attempt ended, and with it so many jobs and images; a job that never ran is charged to no worker."""
    if row["worker"] is None or (metrics is None and not jobs):
        return
    took = metrics or {}
    costs = {"device": billionths(took.get("device_s", 0.0)), "usd": billionths(took.get("cost_usd", 0.0))}
    whose = {"worker": row["worker"], "tenant": payer_of(row["tenant"]), "model": row["model"]}
    run(db, "charge", day=day_of(now), **whose, jobs=jobs, images=images, **costs)


def note_times(db: sqlite3.Connection, report: WorkerReport) -> None:
    """Where a worker says that its time went."""
    for time in times_of(report):
        said = dump(time_data(time))
        run(db, "note_time", day=time.day, worker=time.worker, began_at=time.began_at, said=said)


def forget_old(db: sqlite3.Connection, now: float) -> None:
    """Days that nobody asks for any more."""
    run(db, "forget_old_usage", day=day_of(now) - USAGE_KEPT_DAYS)
    kept_from = day_of(now) - COSTS_KEPT_DAYS
    run(db, "forget_old_times", day=kept_from)
    run(db, "forget_old_charges", day=kept_from)


def _owe_call(db: sqlite3.Connection, row: Row, event: str, now: float) -> None:
    """Its webhook is to be told of that, if it asked for it; once, however often it happens."""
    if row["webhook"] is not None and event in row["webhook_events"].split(","):
        call = {"id": f"msg_{row['id']}_{event}", "job_id": row["id"], "url": row["webhook"], "event": event}
        run(db, "owe", now=now, tenant=row["tenant"], **call)


def forgotten(db: sqlite3.Connection, row: Row) -> None:
    """The job is deleted."""
    if row["webhook"] is not None:
        run(db, "forget_deliveries_of", job_id=row["id"])
