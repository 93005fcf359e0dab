"""The store of a worker that joined a gateway: the verbs of a worker over HTTP, each one request to the gateway.

    claim lost its answer -> `unheard` brings what it gave      report_steps -> also what is to be cancelled
    wait_for_work         -> a long poll                         a gateway that is away -> StoreUnavailable

The gateway's clock counts: `now` and other times of ours cross as differences, and a deadline of its own is told by
this machine's clock. Everything that is not a worker's verb
raises `NotSupported`. docs/decisions/0012-workers-over-http.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..core import Artifact, Job, Lease, WorkerReport
from ..errors import DarkroomError, Forbidden, LeaseLost, NotSupported, StoreUnavailable, Unauthorised, Unavailable
from ..storage.link import Ask, Link
from . import wire
from .store import Claimant, StepDone

B = TypeVar("B")
A = TypeVar("A")

LOOK_S = 0.25  # between two looks for what is to be cancelled, where no step told of it
WAIT_S = 2.0  # a long poll: longer than a worker asks to wait, for each costs a round trip and ends when there is work
AGAIN_S = 0.5  # for what may be said twice: a connection that was closed meanwhile is no outage
FLOOR_S = 0.1  # between a claim that brought nothing and the next, however soon the gateway says that there is work


def _not_a_workers(name: str) -> Any:
    def verb(self: HttpStore, *_: object, **__: object) -> Any:
        said = f"a gateway's address is a store for workers alone, and {name!r} is no verb of theirs"
        raise NotSupported(f"{said}: give the gateway and its commands the store itself", field="serve.store")

    return verb


class HttpStore:
    """What a worker calls of `Store`, through a gateway; `look_s` is the least between two looks for cancelled jobs."""

    def __init__(self, link: Link, look_s: float = LOOK_S) -> None:
        self._link, self._look_s = link, look_s
        self._held: set[Lease] = set()  # what was in flight at the last heartbeat
        self._before: set[Lease] = set()  # claims between the last two: one may not have begun when that was counted
        self._since: set[Lease] = set()  # claims after the last
        self._ahead_s: float | None = None  # this machine's clock, of the gateway's
        self._rest_until = float("-inf")
        self._is_doubtful = False  # whether a claim's answer may have been lost
        self._cancelling: list[str] = []
        self._looked_at = float("-inf")
        self._worker = ""
        self._lock = threading.Lock()

    # A worker's verbs.

    def claim(self, claimant: Claimant, limit: int, now: float) -> list[Job]:
        """See `Store`; also raises `Unauthorised` or `Forbidden` once the key opens nothing any more."""
        self._worker = claimant.worker
        time.sleep(max(0.0, self._rest_until - time.monotonic()))
        ahead_s = self._clock_ahead_s()
        jobs = self._unheard(claimant.worker) if self._is_doubtful else []
        self._is_doubtful = True
        jobs = jobs or self._keyed(wire.CLAIM, wire.ClaimBody(claimant, limit))
        self._is_doubtful = False
        if not jobs:
            self._rest_until = time.monotonic() + FLOOR_S
        with self._lock:
            self._since |= {Lease(job.id, job.fence) for job in jobs}
        return [_by_our_clock(job, ahead_s) for job in jobs]

    def heartbeat(self, report: WorkerReport, leases: Sequence[Lease], now: float) -> list[Lease]:
        """See `Store`."""
        with self._lock:
            self._held, self._before, self._since = set(leases), self._since, set()
        return self._always(wire.HEARTBEAT, wire.HeartbeatBody(report, tuple(leases)))

    def cancelling(self, worker: str) -> list[str]:
        """See `Store`; at most every `look_s` a request. Raises what `claim` does of the key."""
        with self._lock:
            if time.monotonic() - self._looked_at < self._look_s:
                return self._cancelling
            self._looked_at = time.monotonic()
        found = self._keyed(wire.CANCELLING, wire.WorkerBody(worker))
        with self._lock:
            self._cancelling = found
        return found

    def report_step(self, lease: Lease, step: int, steps: int, now: float, preview: str | None = None) -> None:
        """See `Store`."""
        if self.report_steps([StepDone(lease, step, steps, time.time(), preview)]):
            raise LeaseLost(f"{lease.job_id} is held by another claim")

    def report_steps(self, done: Sequence[StepDone]) -> list[Lease]:
        """See `Store`."""
        now = time.time()
        said = tuple(
            wire.StepSaid(each.lease, each.step, each.steps, round(max(0.0, now - each.at), 3), each.preview)
            for each in done
        )
        answer = self._ask(wire.REPORT_STEPS, wire.StepsBody(self._worker, said))
        with self._lock:
            self._cancelling, self._looked_at = list(answer.cancelling), time.monotonic()
        return list(answer.lost)

    def add_warnings(self, lease: Lease, warnings: Sequence[str]) -> Job:
        """See `Store`."""
        return self._ask(wire.ADD_WARNINGS, wire.WarningsBody(lease, tuple(warnings)))

    def complete(self, lease: Lease, outputs: Sequence[Artifact], metrics: Mapping[str, float], now: float) -> Job:
        """See `Store`; ids and times of the artifacts are the gateway's."""
        return self._ask(wire.COMPLETE, wire.CompleteBody(lease, tuple(outputs), metrics))

    def fail(
        self, lease: Lease, error: Mapping[str, Any], metrics: Mapping[str, float], now: float, retry_at: float | None
    ) -> Job:
        """See `Store`."""
        retry_in_s = None if retry_at is None else max(0.0, retry_at - now)
        return self._ask(wire.FAIL, wire.FailBody(lease, error, metrics, retry_in_s))

    def release(
        self,
        leases: Sequence[Lease],
        reason: str,
        now: float,
        metrics: Mapping[Lease, Mapping[str, float]] | None = None,
    ) -> int:
        """See `Store`."""
        took = metrics or {}
        released = tuple(wire.Released(lease, took.get(lease)) for lease in leases)
        return self._always(wire.RELEASE, wire.ReleaseBody(released, reason))

    def confirm_cancelled(self, lease: Lease, metrics: Mapping[str, float], now: float) -> Job:
        """See `Store`."""
        return self._ask(wire.CONFIRM_CANCELLED, wire.CancelledBody(lease, metrics))

    def release_worker(self, worker: str, reason: str, now: float) -> list[str]:
        """See `Store`."""
        return self._always(wire.RELEASE_WORKER, wire.DeathBody(worker, reason))

    def get(self, job_id: str) -> Job | None:
        """See `Store`; None also for a job that this worker did not run last."""
        return self._ask(wire.GET, wire.IdBody(job_id))

    def artifact(self, artifact_id: str) -> Artifact | None:
        """See `Store`; None also for what no job of this worker starts from."""
        return self._ask(wire.ARTIFACT, wire.IdBody(artifact_id))

    def is_asked_to_drain(self, worker: str) -> bool:
        """See `Store`."""
        return self._always(wire.IS_ASKED_TO_DRAIN, wire.WorkerBody(worker))

    def is_watched(self, now: float) -> bool:
        """See `Store`; False where nobody says so: a gateway of an older release has no such verb."""
        try:
            return self._always(wire.IS_WATCHED, wire.Nothing())
        except StoreUnavailable:
            return False

    def wait_for_work(self, timeout_s: float) -> None:
        """See `Store`; up to `WAIT_S`, however little is asked for."""
        wait_s = max(timeout_s, WAIT_S)
        self._ask(wire.WAIT_FOR_WORK, wire.WaitBody(self._worker, wait_s), wait_s)
        self._looked_at = float("-inf")  # it may have ended for a cancel

    def clock(self) -> float:
        """See `Store`; the gateway's."""
        return self._read_clock(self._always)

    def check(self) -> None:
        """See `Store`."""
        self._always(wire.CLOCK, wire.Nothing())

    def settings_risks(self) -> list[str]:
        """The gateway tells of its store's."""
        return []

    def close(self) -> None:
        """See `Store`."""
        self._link.close()

    # Everything else.

    insert, known, stage_due = _not_a_workers("insert"), _not_a_workers("known"), _not_a_workers("stage_due")
    list_jobs, cancel, set_priority = _not_a_workers("list_jobs"), _not_a_workers("cancel"), _not_a_workers("priority")
    delete, position, positions = _not_a_workers("delete"), _not_a_workers("position"), _not_a_workers("positions")
    add_artifact, delete_artifact = _not_a_workers("add_artifact"), _not_a_workers("delete_artifact")
    events, tail, rescue = _not_a_workers("events"), _not_a_workers("tail"), _not_a_workers("rescue")
    expire, prune, lead = _not_a_workers("expire"), _not_a_workers("prune"), _not_a_workers("lead")
    queue, workers, ask_drain = _not_a_workers("queue"), _not_a_workers("workers"), _not_a_workers("ask_drain")
    add_key, keys, revoke_key = _not_a_workers("add_key"), _not_a_workers("keys"), _not_a_workers("revoke_key")
    usage, due_deliveries = _not_a_workers("usage"), _not_a_workers("due_deliveries")
    note_delivery, deliveries = _not_a_workers("note_delivery"), _not_a_workers("deliveries")
    webhook_secret = _not_a_workers("webhook_secret")
    rotate_webhook_secret = _not_a_workers("rotate_webhook_secret")
    stored_bytes, uploaded_bytes = _not_a_workers("stored_bytes"), _not_a_workers("uploaded_bytes")
    worker_times, charges = _not_a_workers("worker_times"), _not_a_workers("charges")
    prune_bytes, watch, ended = _not_a_workers("prune_bytes"), _not_a_workers("watch"), _not_a_workers("ended")
    lines, lead_fleet = _not_a_workers("lines"), _not_a_workers("lead_fleet")
    note_fleet, fleet_note = _not_a_workers("note_fleet"), _not_a_workers("fleet_note")

    def _unheard(self, worker: str) -> list[Job]:
        """Jobs that a claim gave whose answer never came: without this they would wait for their leases to run out."""
        with self._lock:
            known = self._held | self._before | self._since
        return self._keyed(wire.UNHEARD, wire.UnheardBody(worker, tuple(known)))

    def _clock_ahead_s(self) -> float:
        """As the latest heartbeat measured it; before the first one, as it is now."""
        if self._ahead_s is None:
            self._read_clock(self._keyed)
        return self._ahead_s or 0.0

    def _read_clock(self, ask: Callable[[wire.Verb[wire.Nothing, float], wire.Nothing], float]) -> float:
        asked_at = time.time()
        theirs = ask(wire.CLOCK, wire.Nothing())
        self._ahead_s = (asked_at + time.time()) / 2 - theirs
        return theirs

    def _keyed(self, verb: wire.Verb[B, A], body: B, wait_s: float = 0.0) -> A:
        """For what tells a worker that its key opens nothing any more."""
        try:
            return self._refusable(verb, body, wait_s)
        except Unavailable as error:
            raise StoreUnavailable(error.message) from error

    def _ask(self, verb: wire.Verb[B, A], body: B, wait_s: float = 0.0) -> A:
        """A refused key is no fault of a job's: it is as if nobody answered, and `claim` tells of it."""
        try:
            return self._keyed(verb, body, wait_s)
        except (Unauthorised, Forbidden) as error:
            raise StoreUnavailable(error.message) from error

    def _always(self, verb: wire.Verb[B, A], body: B) -> A:
        """For verbs that a worker needs to end in order: they raise nothing but `StoreUnavailable`."""
        try:
            return self._refusable(verb, body)
        except DarkroomError as error:
            raise StoreUnavailable(error.message) from error

    def _refusable(self, verb: wire.Verb[B, A], body: B, wait_s: float = 0.0) -> A:
        again_s = AGAIN_S if verb.is_repeatable else 0.0
        said = verb.body.dump_json(body)
        answer = self._link.ask(Ask("POST", f"/{verb.name}", said, again_s=again_s, wait_s=wait_s))
        try:
            return verb.answer.validate_json(answer)
        except ValueError as error:
            raise Unavailable(f"the gateway's answer to {verb.name!r} is not one that this release knows") from error


def _by_our_clock(job: Job, ahead_s: float) -> Job:
    """The job with its deadline as this machine's clock will show it."""
    return job if job.deadline_at is None else replace(job, deadline_at=job.deadline_at + ahead_s)
