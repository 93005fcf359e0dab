"""The store on Redis 7 or Valkey: each transition one Lua script (lua/), so that it happens whole or not at all.

docs/architecture/03-redis.md has the keys. Every script is safe to run again where its first answer was lost
(redis_link.py), for which `insert` and `claim` carry a token of their own.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..core import Artifact, Event, Job, Lease, NewJob, WorkerReport
from ..errors import BadInput, Conflict, IdempotencyConflict, JobNotFinal, LeaseLost, QueueFull
from . import redis_risks, redis_rows
from .allowances import COSTS_KEPT_DAYS, day_of, limit_exceeded, schedule_full
from .redis_ledger import RedisLedger
from .redis_link import Link, token
from .redis_rows import by_name, job_of
from .routing import dump_holds
from .rows import dump, dump_report, report_of
from .store import CLOSE_S, FETCH_LIMIT, Claimant, JobFilter, Limits, Noted, Page, Queue, StepDone, in_parts

# What a script does in one go: Redis serves nobody else meanwhile, and a millisecond or two is nothing.
BATCH = 100  # rows forgotten
LOOK = 1000  # rows looked through
CURSOR = re.compile(r"[0-9a-f]{16}:[0-9]{16}")
WORKERS_KEPT_S = 24 * 3600.0  # the report of a worker that has gone


class RedisStore(RedisLedger):
    """The verbs of `Store` on a Redis at `url`: redis://, rediss:// or unix://, with ?prefix= for its keys.

    A verb that gets no answer for `timeout_s` seconds raises `StoreUnavailable`.
    """

    def __init__(self, url: str, limits: Limits | None = None, timeout_s: float = 5.0) -> None:
        super().__init__(Link(url, timeout_s))
        self._limits = limits or Limits()
        self._seen = _Seen()

    # Coming in.

    def insert(
        self, jobs: Sequence[NewJob], now: float, max_queued: int | None = None, max_scheduled: int | None = None
    ) -> list[Job | Exception]:
        """See `Store`."""
        if not jobs:
            return []
        bounds = ["" if most is None else most for most in (max_queued, max_scheduled)]
        words: list[str | float] = [now, self._limits.idempotency_s, *bounds, token(), len(jobs)]
        words += [word for job in jobs for word in redis_rows.new_words(job)]
        answers = self._link.run("insert", *words)
        return [_inserted(job, answer, now) for job, answer in zip(jobs, answers, strict=True)]

    def known(self, tenant: str, key: str, digest: str, now: float) -> Job | None:
        """See `Store`."""
        seen = self._link.call("GET", self._link.key("idem", redis_rows.name_of_key(tenant, key)))
        if not seen:
            return None
        seen_at, job_id, seen_digest = seen.split("\n", 2)
        job = self.get(job_id) if now - float(seen_at) < self._limits.idempotency_s else None
        if job is not None and seen_digest != digest:
            raise _used_otherwise(key)
        return job

    def stage_due(self, now: float) -> int:
        """See `Store`."""
        return in_parts(lambda most: int(self._link.run("stage_due", now, most)))

    # A worker's verbs.

    def claim(self, claimant: Claimant, limit: int, now: float) -> list[Job]:
        """See `Store`."""
        limits = self._limits
        loaded = [model for model in claimant.loaded if model in claimant.models]
        others = [model for model in claimant.models if model not in loaded]
        words: list[str | float] = [now, limits.lease_s, limits.patience_s, limits.hold_s, CLOSE_S, claimant.worker]
        words += [min(limit, FETCH_LIMIT), int(claimant.is_idle), token(), len(loaded), *loaded, *others]
        return [job_of(row) for row in self._link.run("claim", *words)]

    def heartbeat(self, report: WorkerReport, leases: Sequence[Lease], now: float) -> list[Lease]:
        """See `Store`."""
        said = (report.id, dump_report(report), dump_holds(report), *redis_rows.time_words(report))
        lost = self._link.run("heartbeat", now, self._limits.lease_s, *said, *_lease_words(leases))
        return [leases[int(number) - 1] for number in lost]

    def cancelling(self, worker: str) -> list[str]:
        """See `Store`."""
        return sorted(self._link.call("SMEMBERS", self._link.key("cancelling", worker)))

    def report_step(self, lease: Lease, step: int, steps: int, now: float, preview: str | None = None) -> None:
        """See `Store`."""
        if self.report_steps([StepDone(lease, step, steps, now, preview)]):
            raise _lost(lease)

    def report_steps(self, done: Sequence[StepDone]) -> list[Lease]:
        """See `Store`."""
        words = [word for one in done for word in redis_rows.step_words(one)]
        lost = self._link.run("report_steps", *words) if done else []
        return [done[int(number) - 1].lease for number in lost]

    def add_warnings(self, lease: Lease, warnings: Sequence[str]) -> Job:
        """See `Store`."""
        return _held(lease, self._link.run("add_warnings", *_lease_words([lease]), *warnings))

    def complete(self, lease: Lease, outputs: Sequence[Artifact], metrics: Mapping[str, float], now: float) -> Job:
        """See `Store`."""
        lines = [word for made in outputs for word in redis_rows.output_words(made)]
        words = (*_lease_words([lease]), token(), len(outputs), *lines, *redis_rows.metric_words(metrics))
        return _held(lease, self._link.run("complete", now, *words))

    def fail(
        self, lease: Lease, error: Mapping[str, Any], metrics: Mapping[str, float], now: float, retry_at: float | None
    ) -> Job:
        """See `Store`."""
        fault = (token(), dump(dict(error)), str(error.get("code", "")), "" if retry_at is None else retry_at)
        words = (*_lease_words([lease]), *fault, *redis_rows.metric_words(metrics))
        return _held(lease, self._link.run("fail", now, *words))

    def release(
        self,
        leases: Sequence[Lease],
        reason: str,
        now: float,
        metrics: Mapping[Lease, Mapping[str, float]] | None = None,
    ) -> int:
        """See `Store`."""
        took = metrics or {}
        words = [word for one in leases for word in redis_rows.release_words(one, took.get(one))]
        return int(self._link.run("release", now, reason, *words))

    def confirm_cancelled(self, lease: Lease, metrics: Mapping[str, float], now: float) -> Job:
        """See `Store`."""
        words = (*_lease_words([lease]), token(), *redis_rows.metric_words(metrics))
        return _held(lease, self._link.run("confirm_cancelled", now, *words))

    # A client's verbs.

    def get(self, job_id: str) -> Job | None:
        """See `Store`."""
        row = self._link.call("HGETALL", self._link.key("job", job_id))
        return job_of(row) if row else None

    def list_jobs(self, wanted: JobFilter) -> Page:
        """See `Store`."""
        limit = min(wanted.limit, FETCH_LIMIT)
        filters = (wanted.tenant or "", wanted.state or "", wanted.model or "")
        since = "" if wanted.since is None else wanted.since
        rows: list[list[str]] = []
        cursor = _check_cursor(wanted.cursor)
        while len(rows) <= limit:  # one more than the page, to know whether there is another page
            cursor, *more = self._link.run("list_jobs", *filters, since, cursor, limit + 1 - len(rows), LOOK)
            rows += more
            if not cursor:
                break
        is_last = len(rows) <= limit
        return Page(tuple(map(job_of, rows[:limit])), None if is_last else by_name(rows[limit - 1])["born"][:33])

    def ended(self, since: float, passed: int, limit: int) -> list[Job]:
        """See `Store`."""
        return [job_of(row) for row in self._link.run("ended", since, passed, min(limit, FETCH_LIMIT))]

    def cancel(self, job_id: str, now: float) -> Job | None:
        """See `Store`."""
        row = self._link.run("cancel", now, job_id)
        return job_of(row) if row else None

    def set_priority(self, job_id: str, priority: int, now: float) -> Job | None:
        """See `Store`."""
        row = self._link.run("set_priority", job_id, priority)
        return job_of(row) if row else None

    def delete(self, job_id: str) -> list[Artifact]:
        """See `Store`."""
        removed = self._link.run("delete", job_id)
        if removed is None:
            raise JobNotFinal(f"job {job_id} has not ended: cancel it first")
        return [redis_rows.artifact_of(line) for line in removed]

    def position(self, job_id: str) -> tuple[int, float] | None:
        """See `Store`."""
        [ahead] = self.positions([job_id])
        return ahead

    def positions(self, job_ids: Sequence[str]) -> list[tuple[int, float] | None]:
        """See `Store`."""
        found = self._link.run("positions", *job_ids) if job_ids else []
        return [(int(ahead[0]), int(ahead[1]) / 1e6) if ahead else None for ahead in found]

    # Artifacts.

    def add_artifact(self, artifact: Artifact) -> None:
        """See `Store`."""
        is_output = int(artifact.job_id is not None)
        self._link.run("add_artifact", artifact.id, redis_rows.artifact_line(artifact), artifact.created_at, is_output)

    def artifact(self, artifact_id: str) -> Artifact | None:
        """See `Store`."""
        line = self._link.call("GET", self._link.key("artifact", artifact_id))
        return redis_rows.artifact_of(line) if line else None

    def delete_artifact(self, artifact_id: str) -> Artifact | None:
        """See `Store`."""
        line = self._link.run("delete_artifact", artifact_id)
        return redis_rows.artifact_of(line) if line else None

    # Events.

    def events(self, job_id: str, after: int) -> list[Event]:
        """See `Store`."""
        row, stream = self._link.key("job", job_id), self._link.key("events", job_id)
        ended, shown, entries = self._link.call_all(
            ("HMGET", row, *redis_rows.END),
            ("HGETALL", self._link.key("preview", job_id)),
            ("XRANGE", stream, f"({after}-0" if after > 0 else "-", "+", "COUNT", FETCH_LIMIT),
        )
        if not entries and ended[0] and int(ended[0]) > after:
            return [redis_rows.end_of(ended)]  # the stream's time is over; how the job ended is still known
        found = [redis_rows.event_of(entry) for entry in entries]
        preview = redis_rows.preview_of(shown)
        has_all = len(entries) < FETCH_LIMIT  # else it belongs to a later page
        if preview and preview.seq > after and (has_all or preview.seq < found[-1].seq):
            found.append(preview)
        return sorted(found, key=lambda event: event.seq)

    def tail(self, after: int | None, timeout_s: float) -> tuple[int, list[Noted]]:
        """See `Store`."""
        if after is None:
            after = int(self._link.call("GET", self._link.key("seq")) or 0)
        entries = self._link.read(self._link.key("events"), f"{after}-0", FETCH_LIMIT, timeout_s)
        if not entries:
            return after, []
        found = [redis_rows.noted_of(entry) for entry in entries]
        reached = found[-1].event.seq
        shown = {noted.job_id for noted in found if noted.event.type == "preview"}
        rows = (
            self._link.call_all(*(("HGETALL", self._link.key("preview", job_id)) for job_id in shown)) if shown else []
        )
        latest = dict(zip(shown, map(redis_rows.preview_of, rows), strict=True))
        return reached, [noted for noted in (_with_picture(noted, latest) for noted in found) if noted]

    def wait_for_work(self, timeout_s: float) -> None:
        """See `Store`."""
        seen, key = self._seen, self._link.key
        first = ("ZRANGEBYSCORE", key("scheduled"), f"({seen.due}", "+inf", "WITHSCORES", "LIMIT", 0, 1)
        due = self._link.call(*first)
        left_s = max(0.0, float(due[1]) - time.time()) if due else timeout_s
        wait_s = min(left_s, timeout_s)
        woken = self._link.read(key("wake"), seen.wake, FETCH_LIMIT, wait_s, is_sharp=left_s < timeout_s)
        if woken:
            seen.wake = woken[-1][0]
        if due and float(due[1]) <= time.time():
            seen.due = due[1]  # told of once: whoever stages it may be a moment behind

    # Putting right.

    def rescue(self, now: float) -> list[str]:
        """See `Store`."""
        return list(self._link.run("rescue", now, FETCH_LIMIT, self._limits.lease_s))

    def release_worker(self, worker: str, reason: str, now: float) -> list[str]:
        """See `Store`."""
        return list(self._link.run("release_worker", now, worker, reason))

    def expire(self, now: float) -> list[str]:
        """See `Store`."""
        fault = dump({"code": "deadline_exceeded", "message": "the deadline passed before the job could start"})
        return list(self._link.run("expire", now, FETCH_LIMIT, fault))

    def prune(self, jobs_before: float, uploads_before: float, now: float) -> list[Artifact]:
        """See `Store`."""
        lines: list[str] = []
        kept = 0
        for _ in range(FETCH_LIMIT // BATCH):
            room = FETCH_LIMIT - len(lines)
            others = (now - WORKERS_KEPT_S, now - self._limits.idempotency_s, day_of(now) - COSTS_KEPT_DAYS)
            is_done, stay, removed = self._link.run("prune", jobs_before, uploads_before, BATCH, kept, room, *others)
            lines += removed
            kept += stay
            if is_done or len(lines) >= FETCH_LIMIT:
                break
        return [redis_rows.artifact_of(line) for line in lines]

    def lead(self, who: str, now: float, ttl_s: float) -> bool:
        """See `Store`."""
        if not self._link.run("lead", who, now, ttl_s):
            return False
        self._link.heal_log()
        return True

    # Looking.

    def queue(self) -> Queue:
        """See `Store`."""
        queued, running, scheduled, ahead_us, oldest, models = self._link.run("queue")
        by_model = {model: int(count) for model, count in by_name(models).items()}
        oldest_at = None if oldest is None else float(oldest)
        return Queue(queued, running, scheduled, int(ahead_us) / 1e6, oldest_at, by_model)

    def workers(self, since: float) -> list[WorkerReport]:
        """See `Store`."""
        return [report_of(line) for line in self._link.run("workers", since)]

    def ask_drain(self, worker: str) -> bool:
        """See `Store`."""
        return bool(self._link.run("ask_drain", worker))

    def is_asked_to_drain(self, worker: str) -> bool:
        """See `Store`."""
        return bool(self._link.call("SISMEMBER", self._link.key("draining"), worker))

    def settings_risks(self) -> list[str]:
        """See `Store`."""
        return list(redis_risks.sentences(self._link.settings(redis_risks.NAMES), self._link.facts()))

    def clock(self) -> float:
        """See `Store`."""
        seconds, microseconds = self._link.call("TIME")
        return int(seconds) + int(microseconds) / 1e6

    def check(self) -> None:
        """See `Store`."""
        self._link.call("PING")

    def close(self) -> None:
        """See `Store`."""
        self._link.close()


class _Seen(threading.local):
    """What a thread has been woken for: the entry of the stream `wake`, and the time of a scheduled job."""

    wake = "0-0"
    due = "-inf"


def _check_cursor(cursor: str | None) -> str:
    """The cursor, which we made; nothing for the first page."""
    if cursor is not None and not CURSOR.fullmatch(cursor):
        raise BadInput(f"{cursor!r} is no cursor: give the one of the page before, or none", field="cursor")
    return cursor or ""


def _inserted(new: NewJob, answer: Sequence[Any], now: float) -> Job | Exception:
    match answer[0]:
        case "new":
            return redis_rows.made_of(new, answer[1], answer[2], now)
        case "job":
            return job_of(answer[1])
        case "full":
            return QueueFull("the queue is full: come back later")
        case "schedule_full":
            return schedule_full(float(answer[1]))
        case "limit":
            return limit_exceeded(new.allowance, answer[1], float(answer[2]))
        case "taken":
            return Conflict(f"there is a job {new.id} already", field="id")
        case _:
            return _used_otherwise(new.idempotency_key)


def _used_otherwise(key: str | None) -> IdempotencyConflict:
    return IdempotencyConflict(f"the idempotency key {key!r} was used for another request", field="Idempotency-Key")


def _lease_words(leases: Sequence[Lease]) -> list[str | float]:
    return [word for lease in leases for word in (lease.job_id, lease.fence)]


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"job {lease.job_id} is no longer held by claim {lease.fence}")


def _held(lease: Lease, row: Sequence[str] | None) -> Job:
    if row is None:
        raise _lost(lease)
    return job_of(row)


def _with_picture(noted: Noted, latest: Mapping[str, Event | None]) -> Noted | None:
    """As it is; of previews only the latest of a job, with its picture."""
    if noted.event.type != "preview":
        return noted
    preview = latest[noted.job_id]
    return Noted(noted.job_id, preview) if preview and preview.seq == noted.event.seq else None
