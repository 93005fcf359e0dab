"""Workers that reach the store through nothing but this gateway: what each may say, read and write.

    whose    a worker's key speaks for workers whose id ends with the key's own; an operator's for any
    jobs     it writes on those that such a worker claimed and still holds; the store checks lease and fence as ever
    bytes    outputs and tapes of these, pictures that they start from, adapters; nothing else has a key here
    times    the gateway's clock counts
    bounds   so many leases a worker, so many workers a key, models of this gateway's own alone

docs/decisions/0012-workers-over-http.md; the shapes are in jobs/wire.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from .. import __version__
from ..config import ServeSettings
from ..core import Artifact, Job, JobState, Lease, WorkerReport
from ..errors import BadInput, DarkroomError, Forbidden, LeaseLost, LimitExceeded, NotFound
from ..jobs import wire
from ..jobs.store import FETCH_LIMIT, Claimant, JobFilter, StepDone, Store
from ..safety import Rules
from .access import Caller
from .ids import is_id
from .long_poll import LongPoll
from .offers import Offers
from .refusals import error_of_validation
from .worker_keys import check_output, images_of, input_ids

SHARED = (
    *("lease_s", "heartbeat_s", "retry_s", "max_upload_mb", "max_pixels"),
    *("preview_every", "tape_every", "idempotency_h"),
)  # settings in which a worker must agree with its gateway
MOST_CLAIMED = 64  # at once
MOST_HELD = 256  # leases of one worker, as each gateway counts them: a worker has at most 128 jobs in flight
MOST_WORKERS = 100  # of one key, that a gateway has heard of lately
HEARD_S = 120.0  # is lately: a worker that started again has another id
MOST_REMEMBERED = 10_000  # claims
LONGEST_RETRY_S = 3600.0
# What a worker has no use for stays here.
KEPT_BACK: Mapping[str, Any] = {
    "webhook": None,
    "idempotency_key": None,
    "metadata": {},
    "key_id": "",
}


class Joined:
    """The verbs by name, each for a caller and a body; they block."""

    def __init__(self, store: Store, long_poll: LongPoll, clock: Callable[[], float], models: Collection[str]) -> None:
        self._store, self._long_poll, self._clock, self._models = store, long_poll, clock, frozenset(models)
        self._claimed: dict[Lease, str] = {}
        self._held: dict[str, int] = {}  # leases by worker: no fewer than it holds, of those that came from here
        self._heard: dict[str, dict[str, float]] = {}  # when, by key and worker
        self._counting = threading.Lock()
        self.verbs: Mapping[str, tuple[wire.Verb[Any, Any], Callable[[Caller, Any], Any]]] = {
            verb.name: (verb, method)
            for verb, method in (
                (wire.CLAIM, self.claim),
                (wire.UNHEARD, self.unheard),
                (wire.HEARTBEAT, self.heartbeat),
                (wire.CANCELLING, self.cancelling),
                (wire.REPORT_STEPS, self.report_steps),
                (wire.ADD_WARNINGS, self.add_warnings),
                (wire.COMPLETE, self.complete),
                (wire.FAIL, self.fail),
                (wire.CONFIRM_CANCELLED, self.confirm_cancelled),
                (wire.RELEASE, self.release),
                (wire.RELEASE_WORKER, self.release_worker),
                (wire.GET, self.get),
                (wire.ARTIFACT, self.artifact),
                (wire.IS_ASKED_TO_DRAIN, self.is_asked_to_drain),
                (wire.IS_WATCHED, self.is_watched),
                (wire.CLOCK, self.clock),
            )
        }

    # Verbs.

    def claim(self, caller: Caller, body: wire.ClaimBody) -> list[Job]:
        """See `Store.claim`."""
        check_worker(caller, body.claimant.worker)
        claimant = self._fair_claimant(body.claimant)
        limit = self._admit(caller, claimant.worker, min(body.limit, MOST_CLAIMED))
        self._long_poll.claims(claimant.worker)
        jobs = self._store.claim(claimant, limit, self._clock()) if limit and claimant.models else []
        for job in jobs:
            self._remember(job)
        with self._counting:
            self._held[claimant.worker] = self._held.get(claimant.worker, limit) - limit + len(jobs)
        return [for_worker(job) for job in jobs]

    def unheard(self, caller: Caller, body: wire.UnheardBody) -> list[Job]:
        """Jobs that the worker has running by claims which it does not know of."""
        check_worker(caller, body.worker)
        known = set(body.known)
        held = (job for job in self._running() if job.worker == body.worker)
        return [for_worker(job) for job in held if Lease(job.id, job.fence) not in known]

    def heartbeat(self, caller: Caller, body: wire.HeartbeatBody) -> list[Lease]:
        """See `Store.heartbeat`; of its facts those that we know are kept, and what is said of models of ours."""
        now = self._clock()
        check_worker(caller, body.report.id)
        self._admit(caller, body.report.id, 0)
        held = {lease: self._is_own(caller, lease) for lease in body.leases}
        own = [lease for lease, is_own in held.items() if is_own]
        lost = self._store.heartbeat(self._fair_report(body.report, now), own, now)
        return [*lost, *(lease for lease, is_own in held.items() if not is_own)]

    def cancelling(self, caller: Caller, body: wire.WorkerBody) -> list[str]:
        """See `Store.cancelling`."""
        check_worker(caller, body.worker)
        return self._store.cancelling(body.worker)

    def report_steps(self, caller: Caller, body: wire.StepsBody) -> wire.StepsAnswer:
        """See `Store.report_steps`; also what is to be cancelled."""
        now = self._clock()
        held = {each.lease: self._is_own(caller, each.lease) for each in body.done}
        own = [each for each in body.done if held[each.lease]]
        done = [StepDone(each.lease, each.step, each.steps, now - each.age_s, each.preview) for each in own]
        lost = [*self._store.report_steps(done), *(lease for lease, is_own in held.items() if not is_own)]
        marked = self.cancelling(caller, wire.WorkerBody(body.worker)) if body.worker else []
        return wire.StepsAnswer(tuple(lost), tuple(marked))

    def add_warnings(self, caller: Caller, body: wire.WarningsBody) -> Job:
        """See `Store.add_warnings`."""
        self.check_own(caller, body.lease)
        return for_worker(self._store.add_warnings(body.lease, body.warnings))

    def complete(self, caller: Caller, body: wire.CompleteBody) -> Job:
        """See `Store.complete`; outputs have been looked at (`fair_outputs`)."""
        self.check_own(caller, body.lease)
        return for_worker(self._store.complete(body.lease, body.outputs, body.metrics, self._clock()))

    def fail(self, caller: Caller, body: wire.FailBody) -> Job:
        """See `Store.fail`."""
        self.check_own(caller, body.lease)
        now = self._clock()
        retry_at = None if body.retry_in_s is None else now + min(body.retry_in_s, LONGEST_RETRY_S)
        return for_worker(self._store.fail(body.lease, body.error, body.metrics, now, retry_at))

    def confirm_cancelled(self, caller: Caller, body: wire.CancelledBody) -> Job:
        """See `Store.confirm_cancelled`."""
        self.check_own(caller, body.lease)
        return for_worker(self._store.confirm_cancelled(body.lease, body.metrics, self._clock()))

    def release(self, caller: Caller, body: wire.ReleaseBody) -> int:
        """See `Store.release`."""
        own = [each for each in body.released if self._is_own(caller, each.lease)]
        took = {each.lease: each.metrics for each in own if each.metrics is not None}
        return self._store.release([each.lease for each in own], body.reason, self._clock(), took)

    def release_worker(self, caller: Caller, body: wire.DeathBody) -> list[str]:
        """See `Store.release_worker`."""
        check_worker(caller, body.worker)
        return self._store.release_worker(body.worker, body.reason, self._clock())

    def get(self, caller: Caller, body: wire.IdBody) -> Job | None:
        """The job, where one of the caller's workers was the last to run it."""
        job = self._store.get(body.id)
        return for_worker(job) if job is not None and is_own_worker(caller, job.worker) else None

    def artifact(self, caller: Caller, body: wire.IdBody) -> Artifact | None:
        """The artifact, where a job that one of the caller's workers runs starts from it."""
        return self._store.artifact(body.id) if self.needs(caller, body.id) else None

    def is_asked_to_drain(self, caller: Caller, body: wire.WorkerBody) -> bool:
        """See `Store.is_asked_to_drain`."""
        check_worker(caller, body.worker)
        return self._store.is_asked_to_drain(body.worker)

    def is_watched(self, caller: Caller, body: wire.Nothing) -> bool:
        """See `Store.is_watched`."""
        return self._store.is_watched(self._clock())

    def clock(self, caller: Caller, body: wire.Nothing) -> float:
        """By which leases and deadlines are judged."""
        return self._clock()

    # Who holds what.

    def check_own(self, caller: Caller, lease: Lease) -> None:
        """Raise `LeaseLost` unless the claim is one of the caller's workers'."""
        if not self._is_own(caller, lease):
            raise LeaseLost(f"{lease.job_id} is held by another claim, or by none")

    def held(self, caller: Caller, job_id: str, fence: int | None = None) -> Job:
        """The job, which one of the caller's workers runs, under that fence where one is said; raises `LeaseLost`."""
        job = self._store.get(job_id)
        is_held = job is not None and job.state == JobState.RUNNING and is_own_worker(caller, job.worker)
        if job is None or not is_held or fence not in (None, job.fence):
            raise LeaseLost(f"{job_id} is held by another claim, or by none")
        return job

    def needs(self, caller: Caller, artifact_id: str) -> bool:
        """Whether a job that one of the caller's workers runs starts from that picture."""
        return any(artifact_id in input_ids(job) for job in self._running() if is_own_worker(caller, job.worker))

    def fair_outputs(self, job: Job, body: wire.CompleteBody, size_of: Callable[[str], int]) -> wire.CompleteBody:
        """The outputs as the job will have them; raises `BadInput` for what is not this claim's, or not stored."""
        if len(body.outputs) > images_of(job):
            raise BadInput(f"outputs: the job makes {images_of(job)}", field="outputs")
        keys = [output.key for output in body.outputs]
        if len(set(keys)) < len(keys):
            raise BadInput("outputs: two have one key", field="outputs")
        return replace(body, outputs=tuple(self._fair(job, body.lease, each, size_of) for each in body.outputs))

    def _fair(self, job: Job, lease: Lease, said: Artifact, size_of: Callable[[str], int]) -> Artifact:
        check_output(said, lease, images_of(job))
        try:
            size = size_of(said.key)
        except NotFound as error:
            raise BadInput(f"outputs: {said.key} is not stored", field="outputs") from error
        own = replace(said, id=uuid4().hex, tenant=job.tenant, job_id=job.id)
        return replace(own, size=size, created_at=self._clock())

    # What is too much.

    def _admit(self, caller: Caller, worker: str, limit: int) -> int:
        """How many jobs it may claim of so many, which count as held; raises `LimitExceeded` where its key has too many
        workers."""
        if suffix_of(caller):
            self._admit_worker(caller.key_id, worker)
        if not limit:
            return 0
        with self._counting:
            if (held := self._held.get(worker)) is None or held + limit > MOST_HELD:
                held = sum(job.worker == worker for job in self._running())  # it has ended some since
            if len(self._held) >= MOST_REMEMBERED:
                self._held.clear()
            limit = max(0, min(limit, MOST_HELD - held))
            self._held[worker] = held + limit
        return limit

    def _admit_worker(self, key_id: str, worker: str) -> None:
        now = time.monotonic()
        with self._counting:
            heard = self._heard.setdefault(key_id, {})
            if worker not in heard and len(heard) >= MOST_WORKERS:
                heard = {each: at for each, at in heard.items() if now - at < HEARD_S}
                self._heard[key_id] = heard
            if worker not in heard and len(heard) >= MOST_WORKERS:
                error = LimitExceeded(f"this key speaks for {MOST_WORKERS} workers already", field="worker")
                error.retry_after_s = HEARD_S
                raise error
            heard[worker] = now

    def _fair_claimant(self, said: Claimant) -> Claimant:
        """It claims for the models that run here, whatever it says: what another Darkroom runs is for forwarders."""
        models, loaded = self._ours(said.models), self._ours(said.loaded)
        return replace(said, models=models, loaded=loaded)

    def _fair_report(self, said: WorkerReport, now: float) -> WorkerReport:
        """The report at that time, of our models."""
        paces = {name: seconds for name, seconds in said.step_seconds.items() if name in self._models}
        models, loaded = self._ours(said.models), self._ours(said.loaded)
        by_model = {
            name: {model: value for model, value in said.facts[name].items() if model in self._models}
            for name in ("rows", "rest_s", "adapters", "activation_s")
            if name in said.facts
        }
        facts = {**said.facts, **by_model}
        if "resting" in facts:
            facts["resting"] = list(self._ours(facts["resting"]))
        return replace(said, at=now, models=models, loaded=loaded, step_seconds=paces, facts=facts)

    def _ours(self, models: Collection[str]) -> tuple[str, ...]:
        return tuple(name for name in dict.fromkeys(models) if name in self._models)

    def _is_own(self, caller: Caller, lease: Lease) -> bool:
        if not suffix_of(caller):
            return True
        worker = self._claimed.get(lease)
        if worker is None:
            job = self._store.get(lease.job_id)
            if job is None or job.fence != lease.fence or job.worker is None:
                return False
            worker = self._remember(job)
        return is_own_worker(caller, worker)

    def _remember(self, job: Job) -> str:
        """Whose a claim is never changes: asked at every step, it costs the store nothing."""
        if len(self._claimed) >= MOST_REMEMBERED:
            self._claimed.clear()
        return self._claimed.setdefault(Lease(job.id, job.fence), str(job.worker))

    def _running(self) -> Iterator[Job]:
        cursor: str | None = None
        while True:
            page = self._store.list_jobs(JobFilter(state=JobState.RUNNING, limit=FETCH_LIMIT, cursor=cursor))
            yield from page.jobs
            if (cursor := page.cursor) is None:
                return


def suffix_of(caller: Caller) -> str:
    """How the ids of workers end that the caller may speak for; "": any."""
    return "" if caller.is_operator else f"-{caller.key_id}"


def is_own_worker(caller: Caller, worker: str | None) -> bool:
    """Whether the caller may speak for it."""
    return worker is not None and worker.endswith(suffix_of(caller))


def check_worker(caller: Caller, worker: str) -> None:
    """Raise `BadInput` for what is no id, `Forbidden` for a worker that the caller may not speak for."""
    if not is_id(worker):
        raise BadInput("worker must be an id of letters, digits, '.', '_', ':' and '-', up to 128", field="worker")
    if not is_own_worker(caller, worker):
        raise Forbidden(f"this key speaks for workers whose id ends with {suffix_of(caller)!r}", field="worker")


def for_worker(job: Job) -> Job:
    """The job without what only its owner needs."""
    return replace(job, **KEPT_BACK)


def refused(error: ValidationError) -> DarkroomError:
    """What pydantic finds wrong with a body, by the field's name."""
    if error.errors()[0]["type"] == "json_invalid":
        return BadInput(f"the body is no JSON: {error.errors()[0]['msg']}", field="body")
    return error_of_validation([{**each, "loc": ("body", *each["loc"])} for each in error.errors()])


def joining(
    caller: Caller, serve: ServeSettings, offers: Offers, rules: Rules, compared: Collection[str] = ()
) -> wire.Joining:
    """What a worker is told when it joins; it has the `compared` models too. Hashes their files."""
    said, models = serve.model_dump(), offers.own
    revisions = {name: offers.revision(name) for name in models if name in compared}
    return wire.Joining(
        version=__version__,
        worker_suffix=suffix_of(caller),
        models=models,
        default_model=offers.default,
        serve={name: said[name] for name in SHARED},
        check_images=rules.check_images,
        checked_models=rules.checked_models,
        checked_tenants=rules.checked_tenants,
        revisions={name: revision for name, revision in revisions.items() if revision is not None},
    )
