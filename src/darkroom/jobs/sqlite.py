"""The store for one box: a SQLite file that gateway, workers and supervisor share; docs/architecture/02-jobs.md."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core import FINAL_STATES, Artifact, Event, Job, JobState, Lease, NewJob, WorkerReport
from ..errors import IdempotencyConflict, JobNotFinal, LeaseLost
from . import sqlite_dues as dues
from . import sqlite_fair as fair
from . import sqlite_transitions as transitions
from .routing import dump_holds
from .rows import Row, artifact_of, dump, dump_report, job_of, output_data, read_cursor, report_of, write_cursor
from .sqlite_database import data_version
from .sqlite_files import place_risks
from .sqlite_intake import Room, known
from .sqlite_ledger import SqliteLedger
from .sqlite_line import choose, positions
from .sqlite_statements import first, run, statements
from .sqlite_transitions import End
from .store import FETCH_LIMIT, Claimant, JobFilter, Limits, Noted, Page, Queue, StepDone, in_parts

KEEP_REPORTS_S = 24 * 3600.0  # of workers that went without a word


class SqliteStore(SqliteLedger):
    """The verbs of jobs, over the files that SqliteLedger opens; `store.Store` says what each promises."""

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(path)
        self._limits = limits
        self._seen = threading.local()  # `work` as this thread last looked for some

    # Coming in.

    def insert(
        self, jobs: Sequence[NewJob], now: float, max_queued: int | None = None, max_scheduled: int | None = None
    ) -> list[Job | Exception]:
        if not jobs:
            return []
        with self._changing() as db:
            room = Room(db, max_queued, max_scheduled)
            answers = [self._known(db, job, now) or room.admit(job, now) for job in jobs]
            _raise_work(db, [answer for answer in answers if isinstance(answer, Job)])
        return [self._whole(answer) if isinstance(answer, Row) else answer for answer in answers]

    def _known(self, db: sqlite3.Connection, job: NewJob, now: float) -> Row | Exception | None:
        if job.idempotency_key is None:
            return None
        return known(db, job.tenant, job.idempotency_key, job.digest, now - self._limits.idempotency_s)

    def known(self, tenant: str, key: str, digest: str, now: float) -> Job | None:
        with self._jobs.reading() as db:
            found = known(db, tenant, key, digest, now - self._limits.idempotency_s)
        if isinstance(found, IdempotencyConflict):
            raise found
        return None if found is None else self._whole(found)

    def stage_due(self, now: float) -> int:
        return in_parts(lambda most: self._stage_some(now, most))

    def _stage_some(self, now: float, most: int) -> int:
        with self._changing() as db:
            due = run(db, "due", now=now, limit=most)
            for row in due:
                transitions.stage(db, row, now)
            _raise_work(db, due)
        return len(due)

    # A worker's verbs.

    def claim(self, claimant: Claimant, limit: int, now: float) -> list[Job]:
        with self._jobs.reading() as db:  # most looks find nothing, and need no lock for it
            self._seen.work = run(db, "work")[0]["work"]
            if not choose(db, claimant, limit, now, self._limits):
                return []
        until = now + self._limits.lease_s
        with self._changing() as db:
            chosen = choose(db, claimant, limit, now, self._limits)
            return [job_of(transitions.start(db, ins, claimant.worker, now, until)) for ins in chosen]

    def heartbeat(self, report: WorkerReport, leases: Sequence[Lease], now: float) -> list[Lease]:
        until = now + self._limits.lease_s
        with self._changing() as db:
            run(db, "hear", id=report.id, now=now, report=dump_report(report), holds=dump_holds(report))
            dues.note_times(db, report)
            return [one for one in leases if first(db, "extend", id=one.job_id, fence=one.fence, until=until) is None]

    def cancelling(self, worker: str) -> list[str]:
        with self._jobs.reading() as db:
            return [row["id"] for row in run(db, "marked", worker=worker)]

    def report_step(self, lease: Lease, step: int, steps: int, now: float, preview: str | None = None) -> None:
        if self.report_steps([StepDone(lease, step, steps, now, preview)]):
            raise LeaseLost(f"job {lease.job_id}: this claim no longer holds it")

    def report_steps(self, done: Sequence[StepDone]) -> list[Lease]:
        return self._events.report_steps(done) if done else []

    def add_warnings(self, lease: Lease, warnings: Sequence[str]) -> Job:
        with self._changing() as db:
            return job_of(transitions.warn(db, transitions.held(db, lease), warnings))

    def complete(self, lease: Lease, outputs: Sequence[Artifact], metrics: Mapping[str, float], now: float) -> Job:
        left = replace(self._left(lease, metrics), images=len(outputs))
        with self._changing() as db:
            row = transitions.held(db, lease)
            for artifact in outputs:
                transitions.add_artifact(db, artifact, lease.job_id)
                transitions.note(db, lease.job_id, now, "output", output_data(artifact))
            row = transitions.end(db, row, JobState.SUCCEEDED, now, left)
        return job_of(row, outputs)

    def fail(
        self, lease: Lease, error: Mapping[str, Any], metrics: Mapping[str, float], now: float, retry_at: float | None
    ) -> Job:
        left = self._left(lease, metrics, error)
        with self._changing() as db:
            row = transitions.held(db, lease)
            if retry_at is None or row["attempt"] >= row["max_attempts"]:
                return job_of(transitions.end(db, row, JobState.FAILED, now, left))
            if row["is_cancelling"]:
                return job_of(transitions.end(db, row, JobState.CANCELLED, now, left))
            return job_of(transitions.retry(db, row, now, retry_at, left))

    def release(
        self,
        leases: Sequence[Lease],
        reason: str,
        now: float,
        metrics: Mapping[Lease, Mapping[str, float]] | None = None,
    ) -> int:
        progress, took = self._events.progress([one.job_id for one in leases]), metrics or {}
        with self._changing() as db:
            found = [first(db, "held", id=one.job_id, fence=one.fence) for one in leases]
            rows = {row["id"]: row for row in found if row is not None}
            for name, row in rows.items():
                left = End(took.get(Lease(name, row["fence"])), progress=progress.get(name))
                transitions.hand_back(db, row, now, reason, left)
            _raise_work(db, rows)
        return len(rows)

    def confirm_cancelled(self, lease: Lease, metrics: Mapping[str, float], now: float) -> Job:
        left = self._left(lease, metrics)
        with self._changing() as db:
            return job_of(transitions.end(db, transitions.held(db, lease), JobState.CANCELLED, now, left))

    def _left(self, lease: Lease, metrics: Mapping[str, float], error: Mapping[str, Any] | None = None) -> End:
        """What a claim leaves behind; its last step comes over from the event database, which may be lost."""
        return End(metrics, error, self._events.progress([lease.job_id]).get(lease.job_id))

    # A client's verbs.

    def get(self, job_id: str) -> Job | None:
        with self._jobs.reading() as db:
            row = first(db, "get", id=job_id)
        return None if row is None else self._whole(row)

    def list_jobs(self, wanted: JobFilter) -> Page:
        at, ins = read_cursor(wanted.cursor)
        limit = max(1, min(wanted.limit, FETCH_LIMIT))
        equal = {"tenant": wanted.tenant, "state": wanted.state, "model": wanted.model}
        equal = {name: value for name, value in equal.items() if value is not None}
        # A plus keeps the index of that column out: most jobs are of one model, few of one tenant or state.
        plus = "+" if len(equal) > 1 else ""
        filters = "".join(f" AND {plus if name == 'model' else ''}{name} = :{name}" for name in equal)
        since = float("-inf") if wanted.since is None else wanted.since
        values = {"cursor_at": at, "cursor_ins": ins, "since": since, "limit": limit + 1, **equal}
        with self._jobs.reading() as db:
            rows = db.execute(statements()["list_jobs"].replace("/* filters */", filters), values).fetchall()
        return Page(tuple(self._whole_ones(rows[:limit])), write_cursor(rows[limit - 1]) if len(rows) > limit else None)

    def ended(self, since: float, passed: int, limit: int) -> list[Job]:
        with self._jobs.reading() as db:
            rows = run(db, "ended", since=since, passed=passed, limit=min(limit, FETCH_LIMIT))
        return list(self._whole_ones(rows))

    def _whole(self, row: Row) -> Job:
        (job,) = self._whole_ones([row])
        return job

    def _whole_ones(self, rows: Sequence[Row]) -> Iterator[Job]:
        """Jobs with what lies elsewhere: outputs of those that succeeded, steps of those that run."""
        outputs: dict[str, list[Artifact]] = {row["id"]: [] for row in rows if row["state"] == JobState.SUCCEEDED}
        if outputs:
            with self._jobs.reading() as db:
                for made in run(db, "artifacts_of", ids=dump([*outputs])):
                    outputs[made["job_id"]].append(artifact_of(made))
        progress = self._events.progress([row["id"] for row in rows if row["state"] == JobState.RUNNING])
        return (job_of(row, outputs.get(row["id"], ()), progress.get(row["id"])) for row in rows)

    def cancel(self, job_id: str, now: float) -> Job | None:
        with self._changing() as db:
            row = first(db, "get", id=job_id)
            if row is not None and row["state"] in {JobState.SCHEDULED, JobState.QUEUED}:
                row = transitions.end(db, row, JobState.CANCELLED, now, End())
            elif row is not None and row["state"] == JobState.RUNNING and not row["is_cancelling"]:
                (row,) = run(db, "mark", ins=row["ins"])
                run(db, "raise_work")
        return None if row is None else self._whole(row)

    def set_priority(self, job_id: str, priority: int, now: float) -> Job | None:
        with self._changing() as db:
            row = first(db, "get", id=job_id)
            if row is not None and row["state"] == JobState.QUEUED and row["priority"] != priority:
                fair.move(db, row, priority)
            run(db, "set_priority", id=job_id, priority=priority)
        return self.get(job_id)

    def delete(self, job_id: str) -> list[Artifact]:
        with self._changing() as db:
            row = first(db, "get", id=job_id)
            if row is None:
                return []
            if row["state"] not in FINAL_STATES:
                raise JobNotFinal(f"job {job_id} is {row['state']}: cancel it before it is deleted")
            made = [artifact_of(one) for one in run(db, "artifacts_of", ids=dump([job_id]))]
            transitions.forget(db, row)
        self._events.forget([job_id])
        return made

    def position(self, job_id: str) -> tuple[int, float] | None:
        [ahead] = self.positions([job_id])
        return ahead

    def positions(self, job_ids: Sequence[str]) -> list[tuple[int, float] | None]:
        with self._jobs.snapshot() as db:
            ahead = dict(positions(db, job_ids))
        return [ahead.get(job_id) for job_id in job_ids]

    # Artifacts.

    def add_artifact(self, artifact: Artifact) -> None:
        with self._changing() as db:
            transitions.add_artifact(db, artifact, artifact.job_id)

    def artifact(self, artifact_id: str) -> Artifact | None:
        with self._jobs.reading() as db:
            row = first(db, "artifact", id=artifact_id)
            return None if row is None else artifact_of(row)

    def delete_artifact(self, artifact_id: str) -> Artifact | None:
        with self._changing() as db:
            row = first(db, "forget_artifact", id=artifact_id)
            return None if row is None else artifact_of(row)

    # Events.

    def events(self, job_id: str, after: int) -> list[Event]:
        return self._events.of_job(job_id, after)

    def tail(self, after: int | None, timeout_s: float) -> tuple[int, list[Noted]]:
        return self._events.tail(after, timeout_s)

    def wait_for_work(self, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        with self._jobs.reading() as db:
            version, work = data_version(db), run(db, "work")[0]["work"]
            seen = getattr(self._seen, "work", work)
            while work == seen and time.monotonic() < until:
                version = self._jobs.await_commit(db, version, until)
                self._jobs.check_in_place()
                work = run(db, "work")[0]["work"]
            self._seen.work = work

    # Putting right.

    def rescue(self, now: float) -> list[str]:
        lease_s = self._limits.lease_s
        progress = self._progress("lapsed", now=now, limit=FETCH_LIMIT)
        with self._changing() as db:
            lapsed = run(db, "lapsed", now=now, limit=FETCH_LIMIT)
            for worker in dict.fromkeys(row["worker"] for row in lapsed):
                lost = [row for row in lapsed if row["worker"] == worker]
                in_flight = len(run(db, "jobs_of_worker", worker=worker))
                is_elsewhere = bool(run(db, "is_forwarder", worker=worker))
                for row in lost:
                    is_alone, step = in_flight == 1 and not row["had_company"], progress.get(row["id"])
                    if is_elsewhere:
                        transitions.hand_back(db, row, now, "lease_lost", End(progress=step))
                    else:
                        transitions.give_up(db, row, now, "lease_lost", is_alone, step)
                run(db, "remember_company", worker=worker)
            run(db, "clamp_leases", until=now + lease_s, far=now + 2 * lease_s)
            _raise_work(db, lapsed)
        return [row["id"] for row in lapsed]

    def release_worker(self, worker: str, reason: str, now: float) -> list[str]:
        progress = self._progress("jobs_of_worker", worker=worker)
        with self._changing() as db:
            lost = run(db, "jobs_of_worker", worker=worker)
            for row in lost:
                is_alone = len(lost) == 1 and not row["had_company"]
                transitions.give_up(db, row, now, reason, is_alone, progress.get(row["id"]))
            run(db, "forget_worker", worker=worker)
            _raise_work(db, lost)
        return [row["id"] for row in lost]

    def _progress(self, which: str, **values: Any) -> Mapping[str, Row]:
        """The last steps of these jobs: read before the write lock is taken, which waits for no other file."""
        with self._jobs.reading() as db:
            names = [row["id"] for row in run(db, which, **values)]
        return self._events.progress(names)

    def expire(self, now: float) -> list[str]:
        error = {"code": "deadline_exceeded", "message": "the deadline passed before the job could start"}
        with self._changing() as db:
            rows = run(db, "expired", now=now, limit=FETCH_LIMIT)
            for row in rows:
                transitions.end(db, row, JobState.FAILED, now, End(error=error))
        return [row["id"] for row in rows]

    def prune(self, jobs_before: float, uploads_before: float, now: float) -> list[Artifact]:
        with self._changing() as db:
            old = run(db, "old_jobs", before=jobs_before, limit=FETCH_LIMIT)
            gone = run(db, "artifacts_of", ids=dump([row["id"] for row in old]))
            for row in old:
                transitions.forget(db, row)
            for row in run(db, "old_uploads", before=uploads_before, limit=FETCH_LIMIT):
                gone += run(db, "forget_artifact", id=row["id"])
            run(db, "forget_old_keys", before=now - self._limits.idempotency_s, limit=FETCH_LIMIT)
            run(db, "forget_old_workers", before=now - KEEP_REPORTS_S)
            dues.forget_old(db, now)
        self._events.forget([row["id"] for row in old])
        self._events.thin(now)
        return [artifact_of(row) for row in gone]

    def lead(self, who: str, now: float, ttl_s: float) -> bool:
        return self._events.lead(who, now, ttl_s)

    # Looking.

    def queue(self) -> Queue:
        with self._jobs.snapshot() as db:
            models = run(db, "queue_by_model")
            running, scheduled = run(db, "count_running")[0][0], run(db, "count_scheduled")[0][0]
        return Queue(
            queued=sum(row["jobs"] for row in models),
            running=running,
            scheduled=scheduled,
            ahead_s=sum(row["ahead_s"] for row in models) if models else 0.0,
            oldest_at=min((row["oldest_at"] for row in models), default=None),
            by_model={row["model"]: row["jobs"] for row in models},
        )

    def workers(self, since: float) -> list[WorkerReport]:
        with self._jobs.reading() as db:
            return [report_of(row["report"]) for row in run(db, "workers", since=since)]

    def ask_drain(self, worker: str) -> bool:
        with self._changing() as db:
            return first(db, "ask_drain", worker=worker) is not None

    def is_asked_to_drain(self, worker: str) -> bool:
        with self._jobs.reading() as db:
            row = first(db, "is_asked_to_drain", worker=worker)
            return row is not None and bool(row[0])

    def settings_risks(self) -> list[str]:
        return place_risks(self._jobs.path)

    def clock(self) -> float:
        return time.time()

    def check(self) -> None:
        self._jobs.check_in_place()
        with self._jobs.reading() as db:
            run(db, "work")

    def close(self) -> None:
        self._events.close()
        self._jobs.close()


def _raise_work(db: sqlite3.Connection, rows: Collection[object]) -> None:
    """Wake those who wait for work, if there is some."""
    if rows:
        run(db, "raise_work")
