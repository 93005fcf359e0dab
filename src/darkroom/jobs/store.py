"""The verbs of a job store and what each promises; SQLite and Redis keep them (tests/contract/).

    scheduled --stage_due--> queued --claim--> running --complete--> succeeded
                               ^                 |-----fail--------> failed
                               |--release--------|-----cancel------> cancelled
                               |--rescue---------|
                           scheduled <--fail(retry_at)

A verb is one transition and one transaction: it is done and durable when it returns, or nothing has happened. Each
transition stamps its own time and appends the event that says so. A claim marks, it never deletes. Whoever writes on
a running job shows its `Lease`; where another claim has followed, `LeaseLost` is raised and nothing is written.
`now` is seconds since the epoch and always given by the caller, so that tests own the clock.
Every verb may be called from any thread; each raises `StoreUnavailable` where the store cannot be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..core import Artifact, Event, Job, JobState, Lease, NewJob, WorkerReport
from .ledger import Ledger

FETCH_LIMIT = 1000  # rows a verb returns or changes at once, at most
STAGED = 50  # jobs that one transaction queues: each may move its tenant's others, and nobody else writes meanwhile
HOLD_S = 0.5  # a job queued less long ago is left to live workers that have its model and adapters in memory
CLOSE_S = 30.0  # but not one that is due within so long: it takes who comes first
PATIENCE_S = 10.0  # a queued job that has waited this long goes by rank, also where its model must be loaded first


@dataclass(frozen=True)
class Limits:
    """Seconds: how long a claim holds without a heartbeat, how long an idempotency key is remembered, for how long a
    young job is left to who has what it needs, and after how long a job goes by rank, whatever is loaded."""

    lease_s: float = 30.0
    idempotency_s: float = 24 * 3600.0
    hold_s: float = HOLD_S
    patience_s: float = PATIENCE_S


@dataclass(frozen=True)
class Claimant:
    """Who claims: `models` it can serve, of those `loaded`; `is_idle` while it has nothing in flight."""

    worker: str
    models: tuple[str, ...]
    loaded: tuple[str, ...] = ()
    is_idle: bool = True


@dataclass(frozen=True)
class JobFilter:
    """Which jobs to list, newest first; `cursor` is what the page before returned, any other is `BadInput`.

    `since` is the time of acceptance, in seconds since the epoch.
    """

    tenant: str | None = None
    state: JobState | None = None
    model: str | None = None
    since: float | None = None
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True)
class Page:
    """Jobs, and the cursor of the next page (None: this was the last)."""

    jobs: tuple[Job, ...]
    cursor: str | None


@dataclass(frozen=True)
class Noted:
    """An event with its place among all events of the store: `event.seq` rises over the whole store."""

    job_id: str
    event: Event


@dataclass(frozen=True)
class StepDone:
    """A step of a claim, done at `at`; `preview` is a data URL."""

    lease: Lease
    step: int
    steps: int
    at: float
    preview: str | None = None


@dataclass(frozen=True)
class Queue:
    """The queue in figures: `ahead_s` is predicted device seconds queued, `oldest_at` when the oldest was queued."""

    queued: int
    running: int
    scheduled: int
    ahead_s: float
    oldest_at: float | None
    by_model: Mapping[str, int]


def in_parts(stage: Callable[[int], int]) -> int:
    """How many jobs were queued; `stage` queues up to so many in one transaction, and says how many there were."""
    count = 0
    while (most := min(STAGED, FETCH_LIMIT - count)) > 0:
        staged = stage(most)
        count += staged
        if staged < most:
            break
    return count


class Store(Ledger, Protocol):
    """Where jobs are; made with its limits: lease_s, idempotency_s, hold_s, patience_s."""

    # Coming in.

    def insert(
        self, jobs: Sequence[NewJob], now: float, max_queued: int | None = None, max_scheduled: int | None = None
    ) -> list[Job | Exception]:
        """Store jobs, all in one transaction; durable when it returns. One answer each, in order.

        An idempotency key seen within `idempotency_s` from the same tenant gives the job it made then, or
        `IdempotencyConflict` where `digest` differs. `QueueFull` for those past `max_queued` queued; for those with a
        later `run_at` past `max_scheduled` of their tenant's scheduled, with the field `run_at`, and `retry_after_s`
        is no later than the first of these is due. Neither kind takes the other's room.
        The rank is max(virtual time, the tenant's last finish) + cost_s / weight: start-time fair queueing
        (Goyal, Vin, Cheng 1996); virtual time is the rank of the latest claim, kept between the start (rank - cost_s /
        weight) and the rank of the first queued job of the same model and class, if any: a claim out of turn moves
        nobody's place. A job that its priority puts before others of its tenant and class starts where the first of
        these would have (at the virtual time, if that is later), and they move back by what it costs: what a tenant
        asks for takes no turn of another. None starts before the rank of an equal, which may stand behind one of these
        that came back to the queue. A job with a later `run_at` is scheduled, and gets its rank when it is
        queued. An id that is taken is a `Conflict`. A job with a `key_id` must fit in its `allowance`, or it is
        `LimitExceeded`, whose `field` is the name of that limit and whose `retry_after_s` says when it frees
        (live_jobs: 1 s, for the store does not know). The rate is a leaky bucket that holds a minute's jobs (GCRA,
        ITU-T I.371); a refused job uses nothing.
        """

    def known(self, tenant: str, key: str, digest: str, now: float) -> Job | None:
        """The job that an `insert` with this idempotency key would answer; None where it would make one.

        Raises `IdempotencyConflict`.
        """

    def stage_due(self, now: float) -> int:
        """Queue the scheduled jobs whose time has come, the earliest first; returns how many, `FETCH_LIMIT` at most.

        A job that was queued before, a retry, keeps its rank. Each transaction queues `STAGED` of them at the most.
        """

    # A worker's verbs.

    def claim(self, claimant: Claimant, limit: int, now: float) -> list[Job]:
        """Mark up to `limit` queued jobs as running under a new fence each and a lease of `lease_s`.

        Order: class (high first), jobs of loaded models before others unless those have waited `patience_s`, rank.
        A job of no class above normal that was queued less than `hold_s` ago, and is not due within `CLOSE_S`, is
        passed over while another worker is better placed: has its model in memory where the claimant has not, or the
        model and all its adapters where the claimant lacks one. Such a worker said so in a ready report within
        `lease_s`, and is not asked to drain.
        Expired jobs are left for `expire`. A suspect at the head of the order goes alone to an idle claimant, and
        nothing goes to one that is not idle, so that it becomes idle. While it runs its worker is given nothing.
        """

    def heartbeat(self, report: WorkerReport, leases: Sequence[Lease], now: float) -> list[Lease]:
        """Store what the worker says of itself and extend its leases; returns those it has lost."""

    def cancelling(self, worker: str) -> list[str]:
        """Ids of the worker's running jobs that somebody wants cancelled; cheap, asked many times a second."""

    def report_step(self, lease: Lease, step: int, steps: int, now: float, preview: str | None = None) -> None:
        """A step was done; `preview` is a data URL. Not durable: a crash may lose the latest. Raises `LeaseLost`."""

    def report_steps(self, done: Sequence[StepDone]) -> list[Lease]:
        """The same of several claims, in one transaction; returns leases that are lost, of which nothing is noted."""

    def add_warnings(self, lease: Lease, warnings: Sequence[str]) -> Job:
        """What was learned of the request after its acceptance; those that the job has already are passed over.

        Raises `LeaseLost`.
        """

    def complete(self, lease: Lease, outputs: Sequence[Artifact], metrics: Mapping[str, float], now: float) -> Job:
        """running -> succeeded, with its artifacts; appears once, whatever was retried. Raises `LeaseLost`."""

    def fail(
        self, lease: Lease, error: Mapping[str, Any], metrics: Mapping[str, float], now: float, retry_at: float | None
    ) -> Job:
        """running -> failed, or -> scheduled for `retry_at` while attempts are left; the error is appended.

        `metrics` are the attempt's. At each end of one they become the job's, but device_s and cost_usd add up over its
        attempts: what was tried in vain is paid for, too.
        """

    def release(
        self,
        leases: Sequence[Lease],
        reason: str,
        now: float,
        metrics: Mapping[Lease, Mapping[str, float]] | None = None,
    ) -> int:
        """running -> queued at its old rank, the attempt not charged: a worker that drains hands back. How many.

        Leases it has lost are passed over. `metrics` are those of attempts that took some of the device, and count as
        in `fail`; a job whose lease is not among them keeps what it has.
        """

    def confirm_cancelled(self, lease: Lease, metrics: Mapping[str, float], now: float) -> Job:
        """running -> cancelled: the worker has stopped it."""

    # A client's verbs.

    def get(self, job_id: str) -> Job | None:
        """The job, or None."""

    def list_jobs(self, wanted: JobFilter) -> Page:
        """A page of jobs, newest first."""

    def ended(self, since: float, passed: int, limit: int) -> list[Job]:
        """Up to `limit` jobs that ended since then, those that ended last first, behind the first `passed` of them."""

    def cancel(self, job_id: str, now: float) -> Job | None:
        """scheduled or queued -> cancelled; a running one is marked for its worker; a final one stays as it is.

        A marked job that would go back to the queue, for whatever reason, is cancelled instead.
        """

    def set_priority(self, job_id: str, priority: int, now: float) -> Job | None:
        """Change the priority of a job that has not started; a later one stays as it is.

        One that is queued changes places with its tenant's own jobs of its class alone, and is the last of its equals.
        """

    def delete(self, job_id: str) -> list[Artifact]:
        """Forget a final job with its events and its idempotency key; returns its artifacts, whose bytes are the
        caller's to remove; none where there is no such job.

        Raises `JobNotFinal`.
        """

    def position(self, job_id: str) -> tuple[int, float] | None:
        """How many queued jobs go before it, and their predicted device seconds; None unless queued."""

    def positions(self, job_ids: Sequence[str]) -> list[tuple[int, float] | None]:
        """The same of several at one moment, in the order of `job_ids`; neighbours cost hardly more than one."""

    # Artifacts.

    def add_artifact(self, artifact: Artifact) -> None:
        """Register an upload whose bytes are stored."""

    def artifact(self, artifact_id: str) -> Artifact | None:
        """The artifact, or None."""

    def delete_artifact(self, artifact_id: str) -> Artifact | None:
        """Forget it; its bytes are the caller's to remove."""

    # Events.

    def events(self, job_id: str, after: int) -> list[Event]:
        """A job's events with a higher `seq`, of previews only the latest; more where there are `FETCH_LIMIT`."""

    def tail(self, after: int | None, timeout_s: float) -> tuple[int, list[Noted]]:
        """What happened to any job after that `seq`, waiting up to `timeout_s` for something; and the `seq` reached.

        None starts at the present.
        """

    def wait_for_work(self, timeout_s: float) -> None:
        """Return when a job may have become claimable or a cancel was asked, or after `timeout_s`."""

    # Putting right.

    def rescue(self, now: float) -> list[str]:
        """Return the jobs whose lease ran out; see `release_worker`. Ids. A worker whose last report says
        `facts["kind"] == "forwarder"` did not run them itself: they are charged with nothing, and no suspects.

        Jobs that the worker still holds were in flight with them: none of them is charged later for the same death.
        A lease more than 2 * lease_s ahead was given by a clock that has since gone back: it now ends at now + lease_s.
        """

    def release_worker(self, worker: str, reason: str, now: float) -> list[str]:
        """The worker is known to be dead: return its jobs at once, at their old rank.

        A worker that had one job charges it: `attempt` stays and an error `worker_died` is appended; with no attempt
        left it fails. One that had several charges none: each becomes a suspect. Its report is forgotten, unless
        it says `stopped`: that one left by plan.
        """

    def expire(self, now: float) -> list[str]:
        """Fail the queued and scheduled jobs whose deadline has passed: `deadline_exceeded`. Ids."""

    def prune(self, jobs_before: float, uploads_before: float, now: float) -> list[Artifact]:
        """Forget final jobs that ended, and uploads that came, before those times, and what idempotency keys expired.

        At most `FETCH_LIMIT` at once. An upload that a live job needs stays. Returns the artifacts to remove. Progress
        and preview events may be forgotten an hour after they came.
        """

    def lead(self, who: str, now: float, ttl_s: float) -> bool:
        """Whether `who` keeps the store for the next `ttl_s`: the first to ask, until it stops asking.

        A reign that ends more than 2 * ttl_s ahead was given by a clock that has since gone back: it is over.
        """

    # Looking.

    def queue(self) -> Queue:
        """The queue in figures."""

    def workers(self, since: float) -> list[WorkerReport]:
        """The last report of each worker heard of since then."""

    def ask_drain(self, worker: str) -> bool:
        """Ask a worker to drain; False where it is unknown. Told to it by `is_asked_to_drain`, until it has stopped."""

    def is_asked_to_drain(self, worker: str) -> bool:
        """Whether somebody asked it to."""

    def settings_risks(self) -> list[str]:
        """Sentences about what the store's own settings may lose in a crash; shown at the start and by `doctor`."""

    def clock(self) -> float:
        """Seconds since the epoch by the store's own clock; where there is no server, by this machine's."""

    def check(self) -> None:
        """Answer, or raise `StoreUnavailable`."""

    def close(self) -> None:
        """Let go of files and connections."""
