"""What a store promises, once more, as the plainest Python there is: a dictionary of jobs and no hurry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from darkroom.core import Job, Lease, NewJob, WorkerReport, class_step
from darkroom.errors import IdempotencyConflict, JobNotFinal, LeaseLost, LimitExceeded
from darkroom.jobs.store import CLOSE_S, HOLD_S, PATIENCE_S, Claimant, Limits

DAY_S = 24 * 3600.0
PAID = ("device_s", "cost_usd")
LIVE = ("scheduled", "queued", "running")
COMPARED = ("state", "priority", "rank", "step", "attempt", "fence", "worker", "is_suspect", "is_cancelling")
COMPARED += ("lease_until", "run_at", "metrics")


@dataclass
class ModelCall:
    """A webhook call."""

    due_at: float
    state: str = "pending"
    attempts: int = 0


@dataclass
class ModelJob:
    """A job; `number` is the order of acceptance, `fence` as the store chose it."""

    new: NewJob
    number: int
    state: str
    priority: int
    rank: float = 0.0
    step: int = 0
    attempt: int = 0
    fence: int = 0
    worker: str | None = None
    is_suspect: bool = False
    is_cancelling: bool = False
    had_company: bool = False
    lease_until: float | None = None
    run_at: float | None = None
    times: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    metrics: Mapping[str, float] = field(default_factory=dict)
    calls: dict[str, ModelCall] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """What it moves its tenant back by."""
        return self.new.cost_s / self.new.weight

    @property
    def start(self) -> float:
        """Where its turn begins."""
        return self.rank - self.share

    @property
    def place(self) -> tuple[float, int]:
        """Where it stands among jobs of its class."""
        return self.rank, self.number

    @property
    def level(self) -> int:
        """The class, which goes before everything."""
        return class_step(self.priority)


def differences(job: Job, expected: ModelJob) -> dict[str, tuple[Any, Any]]:
    """What a store says otherwise than the model, and what each says."""
    said = {name: getattr(job, name) for name in COMPARED}
    said |= {"times": dict(job.times), "errors": [error["code"] for error in job.errors]}
    return {name: (fact, getattr(expected, name)) for name, fact in said.items() if fact != getattr(expected, name)}


@dataclass
class Model:
    """All jobs, and what fair queueing and idempotency remember."""

    limits: Limits
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    finish: dict[str, float] = field(default_factory=dict)
    virtual_time: float = 0.0
    keys: dict[tuple[str, str], tuple[str, str, float]] = field(default_factory=dict)
    spent: dict[tuple[str, int], tuple[float, float]] = field(default_factory=dict)
    heard: dict[str, tuple[float, WorkerReport]] = field(default_factory=dict)
    draining: set[str] = field(default_factory=set)
    accepted: int = 0

    # Coming in

    def insert(self, new: NewJob, now: float) -> str | type[Exception]:
        """The id of the job that answers, or the error."""
        known = self.known(new, now)
        if known is not None:
            return known
        if new.allowance.live_jobs is not None and self.live(new.key_id) >= new.allowance.live_jobs:
            return LimitExceeded
        self.spend(new.key_id, now, new.cost_s, new.cost_usd)
        self.accepted += 1
        job = ModelJob(new, self.accepted, "scheduled", new.priority, run_at=new.run_at, times={"created": now})
        self.jobs[new.id] = job
        if new.idempotency_key:
            self.keys[new.tenant, new.idempotency_key] = (new.id, new.digest, now)
        if new.run_at is not None and new.run_at > now:
            job.times["scheduled"] = now
        else:
            self.queue(job, now)
        return new.id

    def known(self, new: NewJob, now: float) -> str | type[Exception] | None:
        """What its idempotency key made."""
        known = self.keys.get((new.tenant, new.idempotency_key or ""))
        if known is None or now - known[2] >= self.limits.idempotency_s:
            return None
        return known[0] if known[1] == new.digest else IdempotencyConflict

    def live(self, key_id: str) -> int:
        """How many jobs of a key have not ended."""
        return len([job for job in self.jobs.values() if job.new.key_id == key_id and job.state in LIVE])

    def spend(self, key_id: str, at: float, device_s: float, usd: float) -> None:
        """More, or less, is used on the day of that time."""
        so_far = self.spent.get((key_id, int(at // DAY_S)), (0.0, 0.0))
        self.spent[key_id, int(at // DAY_S)] = (so_far[0] + device_s, so_far[1] + usd)

    def usage(self, key_id: str, now: float) -> tuple[int, float, float]:
        """Live jobs, and what the key has used today."""
        return self.live(key_id), *self.spent.get((key_id, int(now // DAY_S)), (0.0, 0.0))

    def owe(self, job: ModelJob, event: str, now: float) -> None:
        """The webhook is told, if it wants to be, once."""
        if job.new.webhook is not None and event in job.new.webhook_events:
            job.calls.setdefault(event, ModelCall(now))

    def queue(self, job: ModelJob, now: float) -> None:
        """-> queued, ranked where it is for the first time."""
        if "queued" not in job.times:
            behind = [one for one in self.own_line(job) if one.priority < job.priority]
            ahead = [one.rank for one in self.own_line(job) if one.priority >= job.priority]
            start = max([behind[0].start, *ahead]) if behind else self.finish.get(job.new.tenant, 0.0)
            job.rank = max(self.present(job), start) + job.share
            self.move_back(job, behind)
        self.enter(job, "queued", now)
        job.events.append("queued")

    def present(self, job: ModelJob) -> float:
        """The virtual time in the line that the job is for."""
        line = [one for one in self.in_line() if (one.new.model, one.level) == (job.new.model, job.level)]
        if not line:
            return self.virtual_time
        return max(line[0].start, min(line[0].rank, self.virtual_time))

    def own_line(self, job: ModelJob) -> list[ModelJob]:
        """What else its tenant has queued in its class, in order."""
        mine = (job.new.tenant, job.level)
        return [one for one in self.in_line() if (one.new.tenant, one.level) == mine and one is not job]

    def move_back(self, job: ModelJob, behind: Sequence[ModelJob]) -> None:
        """The tenant's jobs that go after it make room."""
        free_at = job.rank
        for one in behind:
            if one.start >= free_at:
                break
            free_at += one.share
            one.rank = free_at
        self.finish[job.new.tenant] = max(self.finish.get(job.new.tenant, 0.0), free_at)

    def enter(self, job: ModelJob, state: str, now: float) -> None:
        """Change the state."""
        job.state = state
        job.times[{"running": "started"}.get(state, state)] = now
        if state != "running":
            job.lease_until = None

    def in_line(self) -> list[ModelJob]:
        """The queue in order."""
        queued = [job for job in self.jobs.values() if job.state == "queued"]
        return sorted(queued, key=lambda job: (-job.level, job.rank, job.number))

    def stage_due(self, now: float) -> int:
        """Queue what is due."""
        due = [job for job in self.jobs.values() if job.state == "scheduled" and (job.run_at or 0) <= now]
        for job in sorted(due, key=lambda job: (job.run_at, job.number)):
            self.queue(job, now)
        return len(due)

    # Running

    def of_worker(self, worker: str) -> list[ModelJob]:
        """What a worker runs."""
        return [job for job in self.jobs.values() if job.state == "running" and job.worker == worker]

    def claim(self, who: Claimant, limit: int, now: float) -> list[str]:
        """The ids that the claimant gets, in order."""
        if any(job.is_suspect for job in self.of_worker(who.worker)):
            return []
        fit = [job for job in self.in_line() if job.new.model in who.models and not self.is_expired(job, now)]
        fit = [job for job in fit if not self.is_left(job, who, now)]
        fit.sort(key=lambda job: (-job.level, not self.is_near(job, who, now), job.rank, job.number))
        chosen: list[ModelJob] = []
        for job in fit[:limit]:
            if job.is_suspect:
                chosen = chosen or ([job] if who.is_idle else [])
                break
            chosen.append(job)
        for job in chosen:
            self.enter(job, "running", now)
            job.worker, job.lease_until, job.had_company = who.worker, now + self.limits.lease_s, False
            job.attempt += 1
            self.virtual_time = job.rank
            job.events.append("started")
            self.owe(job, "started", now)
        return [job.new.id for job in chosen]

    def is_near(self, job: ModelJob, who: Claimant, now: float) -> bool:
        """Whether it goes by rank for that claimant."""
        return job.new.model in who.loaded or job.times["queued"] <= now - PATIENCE_S

    def is_left(self, job: ModelJob, who: Claimant, now: float) -> bool:
        """Whether a worker that is better placed is to have it."""
        is_close = job.new.deadline_at is not None and job.new.deadline_at <= now + CLOSE_S
        if is_close or job.level > 0 or abs(now - job.times["queued"]) >= HOLD_S:
            return False
        others = {worker: self.fitness(job, worker, now) for worker in self.heard if worker != who.worker}
        own = 0 if job.new.model not in who.loaded else max(1, self.fitness(job, who.worker, now))
        is_whole = own == 1 and not job.new.input.get("adapter_digests")
        return not is_whole and any(fitness > own for fitness in others.values())

    def fitness(self, job: ModelJob, worker: str, now: float) -> int:
        """What it has in memory by what it said last: 1 the model, 2 all its adapters too."""
        at, said = self.heard.get(worker, (-1e9, WorkerReport(worker, "unknown", 0.0)))
        is_there = abs(at - now) < self.limits.lease_s and worker not in self.draining
        if not is_there or said.state != "ready" or job.new.model not in {*said.loaded} & {*said.models}:
            return 0
        needs = {digest[:16] for digest in job.new.input.get("adapter_digests", {}).values()}
        return 2 if needs <= set(said.facts.get("adapters", {}).get(job.new.model, ())) else 1

    def is_expired(self, job: ModelJob, now: float) -> bool:
        """Whether its deadline has passed."""
        return job.new.deadline_at is not None and job.new.deadline_at <= now

    def held(self, lease: Lease) -> ModelJob:
        """The job, where the lease holds."""
        job = self.jobs.get(lease.job_id)
        if job is None or job.state != "running" or job.fence != lease.fence:
            raise LeaseLost("lost")
        return job

    def holds(self, lease: Lease) -> bool:
        """Whether the lease holds."""
        try:
            return self.held(lease) is not None
        except LeaseLost:
            return False

    def heartbeat(self, said: WorkerReport, leases: Sequence[Lease], now: float) -> list[Lease]:
        """The leases that are lost."""
        self.heard[said.id] = now, said
        if said.state == "stopped":
            self.draining.discard(said.id)
        for lease in filter(self.holds, leases):
            self.held(lease).lease_until = now + self.limits.lease_s
            self.held(lease).had_company = False  # its worker lives after all
        return [lease for lease in leases if not self.holds(lease)]

    def report_step(self, lease: Lease, step: int) -> None:
        """A step was done."""
        self.held(lease).step = step

    def end(self, job: ModelJob, state: str, now: float, error: str | None = None) -> None:
        """To a final state."""
        self.enter(job, state, now)
        job.is_cancelling = False
        job.errors += [error] if error else []
        job.events.append(state)
        took = (job.metrics.get("device_s", 0.0) - job.new.cost_s, job.metrics.get("cost_usd", 0.0) - job.new.cost_usd)
        self.spend(job.new.key_id, job.times["created"], *took)
        self.owe(job, state, now)

    def took(self, lease: Lease, metrics: Mapping[str, float]) -> None:
        """An attempt's figures: what is paid for adds up."""
        job = self.held(lease)
        paid = {name: job.metrics[name] + metrics.get(name, 0.0) for name in PAID if name in job.metrics}
        job.metrics = {**metrics, **paid}

    def complete(self, lease: Lease, metrics: Mapping[str, float], now: float) -> None:
        """-> succeeded."""
        self.took(lease, metrics)
        self.end(self.held(lease), "succeeded", now)

    def fail(self, lease: Lease, error: str, metrics: Mapping[str, float], now: float, retry_at: float | None) -> None:
        """-> failed, scheduled or cancelled."""
        job = self.held(lease)
        self.took(lease, metrics)
        if retry_at is None or job.attempt >= job.new.max_attempts:
            self.end(job, "failed", now, error)
        elif job.is_cancelling:
            self.end(job, "cancelled", now, error)
        else:
            self.enter(job, "scheduled", now)
            job.worker, job.step, job.run_at = None, 0, retry_at
            job.errors.append(error)
            job.events.append("requeued")

    def back(self, job: ModelJob, now: float, charge: int, error: str | None = None) -> None:
        """-> queued, or cancelled where that was asked."""
        if job.is_cancelling:
            self.end(job, "cancelled", now)
            return
        self.enter(job, "queued", now)
        job.worker, job.step, job.attempt = None, 0, job.attempt - 1 + charge
        job.errors += [error] if error else []
        job.events.append("requeued")

    def release(self, leases: Sequence[Lease], now: float, metrics: Mapping[Lease, Mapping[str, float]]) -> int:
        """Hand back; how many."""
        given = {lease.job_id: lease for lease in leases if self.holds(lease)}
        for lease in given.values():
            if lease in metrics:
                self.took(lease, metrics[lease])
            self.back(self.held(lease), now, charge=0)
        return len(given)

    def confirm_cancelled(self, lease: Lease, metrics: Mapping[str, float], now: float) -> None:
        """-> cancelled."""
        self.took(lease, metrics)
        self.end(self.held(lease), "cancelled", now)

    # Webhooks

    def due(self, now: float, hold_s: float) -> set[tuple[str, str]]:
        """The calls that are due, by job and event; they are held."""
        calls = {(name, event): call for name, job in self.jobs.items() for event, call in job.calls.items()}
        due = {name: call for name, call in calls.items() if call.state == "pending" and call.due_at <= now}
        for call in due.values():
            call.due_at = now + hold_s
        return set(due)

    def note_delivery(self, job_id: str, event: str, next_at: float | None, is_delivered: bool) -> bool:
        """A call was tried; whether it is still known."""
        call = self.jobs[job_id].calls.get(event) if job_id in self.jobs else None
        if call is None:
            return False
        if call.state != "delivered":
            call.state = "delivered" if is_delivered else "given_up" if next_at is None else "pending"
        call.due_at = call.due_at if next_at is None else next_at
        call.attempts += 1
        return True

    # Clients

    def cancel(self, job_id: str, now: float) -> None:
        """Cancel, or mark."""
        job = self.jobs.get(job_id)
        if job is not None and job.state == "running":
            job.is_cancelling = True
        elif job is not None and job.state in LIVE:
            self.end(job, "cancelled", now)

    def set_priority(self, job_id: str, priority: int) -> None:
        """Of a job that waits."""
        job = self.jobs.get(job_id)
        if job is None or job.state not in ("scheduled", "queued") or job.priority == priority:
            return
        job.priority = priority
        if job.state == "scheduled":
            return
        behind = [one for one in self.own_line(job) if one.priority < priority]
        ahead = [one for one in self.own_line(job) if one.priority >= priority]
        if behind and behind[0].place < job.place:
            passed = [one.rank for one in ahead if one.place < job.place]
            job.rank = min(max(self.present(job), behind[0].start, *passed), job.start) + job.share
        elif ahead and ahead[-1].place > job.place:
            job.rank = ahead[-1].rank + job.share
        else:
            return
        self.move_back(job, behind)

    def delete(self, job_id: str) -> None:
        """Forget a final job."""
        job = self.jobs.get(job_id)
        if job is not None and job.state in LIVE:
            raise JobNotFinal("live")
        self.forget(job_id)

    def forget(self, job_id: str) -> None:
        """Forget a job and its key."""
        self.jobs.pop(job_id, None)
        self.keys = {key: made for key, made in self.keys.items() if made[0] != job_id}

    # Putting right

    def give_up(self, lost: list[ModelJob], reason_alone: bool, now: float) -> None:
        """Their worker is dead."""
        for job in lost:
            if not reason_alone or job.had_company:
                job.is_suspect = job.is_suspect or not job.is_cancelling
                self.back(job, now, charge=0)
            elif job.attempt >= job.new.max_attempts and not job.is_cancelling:
                self.end(job, "failed", now, "worker_died")
            else:
                self.back(job, now, charge=1, error=None if job.is_cancelling else "worker_died")

    def rescue(self, now: float) -> list[str]:
        """Return what ran out."""
        running = [job for job in self.jobs.values() if job.state == "running"]
        lost = [job for job in running if (job.lease_until or 0) <= now]
        for worker in {job.worker for job in lost if job.worker}:
            together = self.of_worker(worker)
            mine = [job for job in lost if job.worker == worker]
            self.give_up(mine, len(together) == 1, now)
            for job in self.of_worker(worker):
                job.had_company = True
        for job in self.jobs.values():
            if job.state == "running" and (job.lease_until or 0) > now + 2 * self.limits.lease_s:
                job.lease_until = now + self.limits.lease_s
        return [job.new.id for job in lost]

    def release_worker(self, worker: str, now: float) -> list[str]:
        """Return all it had, and forget what it said, unless that was its goodbye."""
        if worker in self.heard and self.heard[worker][1].state == "stopped":
            self.draining.discard(worker)
        else:
            self.forget_worker(worker)
        lost = self.of_worker(worker)
        self.give_up(lost, len(lost) == 1, now)
        return [job.new.id for job in lost]

    def forget_worker(self, worker: str) -> None:
        """Nothing is known of it."""
        self.heard.pop(worker, None)
        self.draining.discard(worker)

    def expire(self, now: float) -> list[str]:
        """Fail what is late."""
        late = [job for job in self.jobs.values() if job.state in ("scheduled", "queued") and self.is_expired(job, now)]
        for job in late:
            self.end(job, "failed", now, "deadline_exceeded")
        return [job.new.id for job in late]

    def prune(self, before: float, now: float) -> None:
        """Forget what ended before, and keys that count no longer."""
        self.keys = {key: made for key, made in self.keys.items() if now - made[2] < self.limits.idempotency_s}
        for worker in [worker for worker, (at, _) in self.heard.items() if at < now - DAY_S]:
            self.forget_worker(worker)
        for job in [job for job in self.jobs.values() if job.state not in LIVE and job.times[job.state] < before]:
            self.forget(job.new.id)
