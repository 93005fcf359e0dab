"""The nouns everyone speaks; times are seconds since the epoch, money is US dollars."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    """Where a job is: scheduled -> queued -> running -> succeeded | failed | cancelled; running may go back."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
GUESTS_TENANTS = "guest-"  # begins the names of guests, each a tenant: place and 16 hex digits follow
ALL_GUESTS = "(guests)"
_GUEST = re.compile(rf"{GUESTS_TENANTS}.+-[0-9a-f]{{16}}")


@dataclass(frozen=True)
class Artifact:
    """A stored file: `key` says where in the storage its bytes lie, `job_id` which job made it (None: an upload).

    `size` is in bytes, `width` and `height` in pixels (None: nothing to see), `frames` and `fps` are a video's.
    """

    id: str
    tenant: str
    key: str
    content_type: str
    size: int
    created_at: float
    job_id: str | None = None
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    frames: int | None = None
    fps: float | None = None


@dataclass(frozen=True)
class Allowance:
    """What a key may use; None has no limit. Days are of UTC, money is US dollars."""

    jobs_per_minute: int | None = None
    live_jobs: int | None = None
    device_s_per_day: float | None = None
    usd_per_day: float | None = None


@dataclass(frozen=True)
class ApiKey:
    """A key as it is stored: `secret_hash` is SHA-256 (hex) of its secret part, which nobody has but its owner.

    `roles`: of user, operator, worker. `priority_class`: low, normal, high. `weight` is its share in the fair queue.
    """

    id: str
    tenant: str
    name: str
    roles: tuple[str, ...]
    secret_hash: str
    created_at: float
    priority_class: str = "normal"
    weight: float = 1.0
    allowance: Allowance = field(default_factory=Allowance)
    expires_at: float | None = None
    revoked_at: float | None = None


@dataclass(frozen=True)
class Usage:
    """What a key has used: live jobs, and of today's device seconds and dollars; `next_job_at` is when its rate allows
    another job."""

    live_jobs: int = 0
    device_s: float = 0.0
    cost_usd: float = 0.0
    next_job_at: float = 0.0


@dataclass(frozen=True)
class Delivery:
    """One webhook call that is owed: `event` is the type of the event it tells of.

    `state`: pending, delivered, given_up. `attempts`: {at, status, error} each; `due_at` is when the next is made.
    """

    id: str
    job_id: str
    url: str
    event: str
    state: str
    due_at: float
    created_at: float
    attempts: tuple[Mapping[str, Any], ...] = ()
    tenant: str = ""  # of the job


@dataclass(frozen=True)
class WebhookSecret:
    """Which of its secrets a tenant's webhooks are signed with: `number` counts rotations, `rotated_at` is the last."""

    number: int = 0
    rotated_at: float | None = None


@dataclass(frozen=True)
class NewJob:
    """What `Store.insert` needs to know of a job; everything has been validated at the door.

    `input` is JSON: a complete request, with artifact ids in place of pictures. `cost_s` is the device seconds
    it was predicted to take and sets its fair-queueing rank with the tenant's `weight`. `deadline_at` None never
    expires; `run_at` None starts at once. `digest` is of what the client sent: the same `idempotency_key` with
    another digest is a conflict. `key_id` is the key it came with ("": none), whose `allowance` it must fit in.
    `webhook` is told of the events named in `webhook_events`: of started, succeeded, failed, cancelled.
    `traceparent` is the W3C trace context it came with ("": none).
    """

    id: str
    tenant: str
    model: str
    task: str
    input: Mapping[str, Any]
    output: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    priority: int = 0
    cost_s: float = 1.0
    weight: float = 1.0
    steps: int = 0
    max_attempts: int = 3
    deadline_at: float | None = None
    run_at: float | None = None
    webhook: str | None = None
    webhook_events: tuple[str, ...] = ("succeeded", "failed", "cancelled")
    idempotency_key: str | None = None
    digest: str = ""
    request_id: str = ""
    key_id: str = ""
    allowance: Allowance = field(default_factory=Allowance)
    cost_usd: float = 0.0
    traceparent: str = ""


@dataclass(frozen=True)
class Job:
    """The durable row. `times` has one entry a transition ("created", "queued", "started", …: the latest of its kind).

    `fence` names the claim: it rises with every claim, and only the claim that holds it may write. `attempt` counts
    the claims charged to the job. `is_suspect`: its worker died while several jobs were in flight, so it is retried
    apart. `errors` only grows, `error` is the last. `metrics`: queued_s, load_s, denoise_s, decode_s, upload_s
    of the last attempt; device_s, cost_usd of all of them together.
    """

    id: str
    state: JobState
    tenant: str
    model: str
    task: str
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    metadata: Mapping[str, Any]
    warnings: tuple[str, ...]
    priority: int
    rank: float
    cost_s: float
    steps: int
    step: int
    attempt: int
    max_attempts: int
    fence: int
    worker: str | None
    is_suspect: bool
    is_cancelling: bool
    lease_until: float | None
    deadline_at: float | None
    run_at: float | None
    webhook: str | None
    idempotency_key: str | None
    request_id: str
    times: Mapping[str, float]
    outputs: tuple[Artifact, ...]
    metrics: Mapping[str, float]
    errors: tuple[Mapping[str, Any], ...]
    webhook_events: tuple[str, ...] = ()
    key_id: str = ""
    traceparent: str = ""

    @property
    def is_final(self) -> bool:
        """Whether it has ended, however."""
        return self.state in FINAL_STATES

    @property
    def error(self) -> Mapping[str, Any] | None:
        """Why it failed; errors of attempts that were retried stay in `errors`."""
        return self.errors[-1] if self.errors and self.state == JobState.FAILED else None

    @property
    def progress(self) -> float:
        """Denoising steps done of all, 0 to 1."""
        if self.state == JobState.SUCCEEDED:
            return 1.0
        return min(1.0, self.step / self.steps) if self.steps else 0.0


@dataclass(frozen=True)
class Lease:
    """A claim as its worker holds it: what every later verb on the job must show."""

    job_id: str
    fence: int


@dataclass(frozen=True)
class WorkerReport:
    """What a worker says of itself with every heartbeat; JSON all through.

    `state`: starting, ready, draining, stopped. `models` it can serve, `loaded` those resident. `step_seconds`: per
    model, seconds of one denoising step in its present company, `facts["rows"]` the rows such a step holds. `facts`:
    device, memory, busy share and what else people look at; `facts["times"]` the fields of a `WorkerTime` for each of
    its latest days, which the store keeps; `facts["adapters"]` by model those in memory, as jobs/routing.py marks them.
    """

    id: str
    state: str
    at: float
    models: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    in_flight: int = 0
    step_seconds: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerTime:
    """Where the time of a worker's process went on a day of UTC (days since the epoch); seconds.

    `began_at` names the process: another may come under the same id. `alive_s` is all of it: `start_s` until it was
    ready, `load_s` of loading models while nothing ran, `busy_s` of the engine's turns, of which `forward_s` inside
    forwards; the rest is idle. `price_per_hour_usd` is what the device costs, `pool` "" where it is in none.
    """

    worker: str
    day: int
    began_at: float
    alive_s: float = 0.0
    start_s: float = 0.0
    load_s: float = 0.0
    busy_s: float = 0.0
    forward_s: float = 0.0
    price_per_hour_usd: float = 0.0
    device: str = ""
    pool: str = ""


def payer_of(tenant: str) -> str:
    """Under which name what a tenant used is summed: guests are without number, and count together."""
    return ALL_GUESTS if _GUEST.fullmatch(tenant) else tenant


@dataclass(frozen=True)
class Charge:
    """What a tenant's jobs of one model took of a worker on a day of UTC: `jobs` and `images` that ended there, device
    seconds and dollars also of attempts that did not."""

    day: int
    worker: str
    tenant: str
    model: str
    jobs: int = 0
    images: int = 0
    device_s: float = 0.0
    cost_usd: float = 0.0


@dataclass(frozen=True)
class Event:
    """What happened to a request or job, in the order of `seq`, at `at` seconds since the epoch.

    Types: queued, started {worker, attempt}, progress {step, steps, progress}, preview {step, image}, output,
    requeued {reason}, succeeded, failed {error}, cancelled. The last three end the stream.
    """

    seq: int
    at: float
    type: str
    data: dict[str, Any] = field(default_factory=dict)


FINAL_EVENTS = frozenset({"succeeded", "failed", "cancelled"})


MAX_WEIGHT = 100.0  # of an adapter, either way
PRIORITY_STEPS = {"low": -1000, "normal": 0, "high": 1000}
"""A key's priority class puts its jobs a whole step below or above others. What is asked for, -100 to 100, orders a
tenant's own jobs of one class."""


def effective_priority(priority_class: str, asked: int) -> int:
    """The priority as it is stored: the class's step, and what was asked for."""
    return PRIORITY_STEPS[priority_class] + asked


def class_step(priority: int) -> int:
    """The class's step in a priority: all of it that counts between tenants."""
    return PRIORITY_STEPS[priority_class_of(priority)]


def priority_class_of(priority: int) -> str:
    """The class of a priority in the store."""
    return min(PRIORITY_STEPS, key=lambda name: abs(PRIORITY_STEPS[name] - priority))


def asked_priority(priority: int) -> int:
    """What was asked for, of a priority in the store."""
    return priority - PRIORITY_STEPS[priority_class_of(priority)]
