"""What a worker and its gateway say to each other: each verb of the store as a body and an answer in JSON.

Both sides use these adapters, so there is one shape. Fields that one side does not know are passed over: gateways and
workers need not be of one release. Times of the worker's clock cross as differences, for the gateway's clock counts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from ..core import Artifact, Job, Lease, WorkerReport
from .store import Claimant

B = TypeVar("B")
A = TypeVar("A")

MOST_LEASES = 4096
PREVIEW_LENGTH = 1024 * 1024  # characters

log = logging.getLogger(__name__)

Text = Annotated[str, Field(max_length=4096)]
Short = Annotated[str, Field(max_length=256)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Metrics = Annotated[Mapping[Annotated[str, Field(max_length=64)], Seconds], Field(max_length=64)]
ErrorSaid = Annotated[Mapping[Annotated[str, Field(max_length=64)], Text | None], Field(max_length=8)]
Paces = Annotated[Mapping[Short, Seconds], Field(max_length=1024)]  # by model
Names = Annotated[tuple[Short, ...], Field(max_length=1024)]  # of models, or of adapters


def _each_once(said: Any) -> Any:
    """Raise `ValueError` where one lease stands there twice."""
    leases = [getattr(each, "lease", each) for each in said]
    if len(set(leases)) < len(leases):
        raise ValueError("a lease must stand there once")
    return said


def _in_shape(adapter: TypeAdapter[Any], said: Any) -> dict[str, Any]:
    """What of it is as the adapter's fields, all of which may be left out, want it; the rest is logged by its name."""
    if not isinstance(said, Mapping):
        return {}
    try:
        found = adapter.validate_python(said)
    except ValidationError as error:
        wrong = {each["loc"][0] for each in error.errors(include_url=False, include_input=False)}
        log.warning("a worker's report is taken without what is out of shape: %s", ", ".join(sorted(map(str, wrong))))
        found = adapter.validate_python({name: value for name, value in said.items() if name not in wrong})
    return {name: value for name, value in asdict(found).items() if value is not None}


def _fair_report(said: Any) -> Any:
    """A report's JSON as far as it is in shape: a figure that is not must cost no worker its leases."""
    if not isinstance(said, Mapping):
        return said
    facts = _in_shape(FACTS, said.get("facts", {}))
    return {"id": said.get("id"), "at": 0.0, **_in_shape(REPORT, said), "facts": facts}


Leases = Annotated[tuple[Lease, ...], Field(max_length=MOST_LEASES), AfterValidator(_each_once)]


@dataclass(frozen=True)
class WorkerBody:
    """A verb of a worker that says nothing else."""

    worker: str


@dataclass(frozen=True)
class ClaimBody:
    """`Store.claim`."""

    claimant: Claimant
    limit: Annotated[int, Field(ge=0, le=1000)]


@dataclass(frozen=True)
class UnheardBody:
    """Which claims the worker knows of; the answer has the others that it has running: their answers were lost."""

    worker: str
    known: Leases


@dataclass(frozen=True)
class HeartbeatBody:
    """`Store.heartbeat`."""

    report: Annotated[WorkerReport, BeforeValidator(_fair_report)]
    leases: Leases


@dataclass(frozen=True)
class ReportSaid:
    """What of a `WorkerReport` is kept beside its id and facts; a worker whose state nobody knows is not planned with.

    Its time is the gateway's.
    """

    state: Literal["starting", "ready", "draining", "stopped"] = "starting"
    models: Names = ()
    loaded: Names = ()
    in_flight: Count = 0
    step_seconds: Paces = field(default_factory=dict)


@dataclass(frozen=True)
class TickSaid:
    """One of the latest batches, for people to look at: `at` is of the worker's own clock."""

    n: Count
    at: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
    seconds: Seconds
    module: Short
    kind: Short
    rows: Count
    jobs: Annotated[tuple[tuple[Short, Count], ...], Field(max_length=1024)]


@dataclass(frozen=True)
class TimeSaid:
    """A `WorkerTime` of one of the latest days."""

    day: Count
    began_at: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
    alive_s: Seconds = 0.0
    start_s: Seconds = 0.0
    load_s: Seconds = 0.0
    busy_s: Seconds = 0.0
    forward_s: Seconds = 0.0
    price_per_hour_usd: Seconds = 0.0
    device: Short = ""
    pool: Short = ""


@dataclass(frozen=True)
class FactsSaid:
    """What of `WorkerReport.facts` is kept of a worker that joined; whatever else it says is passed over."""

    device: Short | None = None
    device_name: Short | None = None
    dtype: Short | None = None
    threads: Count | None = None
    pid: Count | None = None
    host: Short | None = None
    version: Short | None = None
    torch: Short | None = None
    gpu_id: Short | None = None
    memory: Annotated[Mapping[Short, Annotated[int, Field(ge=0)]], Field(max_length=16)] | None = None
    busy_share: Annotated[float, Field(ge=0, le=1)] | None = None
    ahead_s: Seconds | None = None
    pool: Short | None = None
    price_per_hour_usd: Seconds | None = None
    is_spot: bool | None = None
    batches: Annotated[Mapping[Annotated[str, Field(pattern="^[0-9]{1,6}$")], Count], Field(max_length=4096)] | None = (
        None
    )
    rows: Paces | None = None
    rest_s: Paces | None = None
    adapters: Annotated[Mapping[Short, Names], Field(max_length=1024)] | None = None
    activation_s: (
        Annotated[
            Mapping[Short, Annotated[Mapping[Literal["disk", "host"], Seconds], Field(max_length=2)]],
            Field(max_length=1024),
        ]
        | None
    ) = None
    resting: Names | None = None
    ticks: Annotated[tuple[TickSaid, ...], Field(max_length=100)] | None = None
    times: Annotated[tuple[TimeSaid, ...], Field(max_length=4)] | None = None


@dataclass(frozen=True)
class StepSaid:
    """`StepDone`, done `age_s` seconds ago."""

    lease: Lease
    step: Count
    steps: Count
    age_s: Seconds
    preview: Annotated[str, Field(max_length=PREVIEW_LENGTH, pattern="^data:image/")] | None = None


@dataclass(frozen=True)
class StepsBody:
    """`Store.report_steps`."""

    worker: str
    done: Annotated[tuple[StepSaid, ...], Field(max_length=MOST_LEASES), AfterValidator(_each_once)]


@dataclass(frozen=True)
class StepsAnswer:
    """Leases that are lost, and what `Store.cancelling` says: so a cancel is heard of with the next step."""

    lost: tuple[Lease, ...]
    cancelling: tuple[str, ...]


@dataclass(frozen=True)
class WarningsBody:
    """`Store.add_warnings`."""

    lease: Lease
    warnings: Annotated[tuple[Text, ...], Field(max_length=64)]


@dataclass(frozen=True)
class CompleteBody:
    """`Store.complete`."""

    lease: Lease
    outputs: Annotated[tuple[Artifact, ...], Field(max_length=1024)]
    metrics: Metrics


@dataclass(frozen=True)
class FailBody:
    """`Store.fail`; the next attempt `retry_in_s` seconds from now."""

    lease: Lease
    error: ErrorSaid
    metrics: Metrics
    retry_in_s: Seconds | None = None


@dataclass(frozen=True)
class CancelledBody:
    """`Store.confirm_cancelled`."""

    lease: Lease
    metrics: Metrics


@dataclass(frozen=True)
class Released:
    """A lease that goes back; `metrics` None: the job keeps what it has."""

    lease: Lease
    metrics: Metrics | None = None


@dataclass(frozen=True)
class ReleaseBody:
    """`Store.release`."""

    released: Annotated[tuple[Released, ...], Field(max_length=MOST_LEASES), AfterValidator(_each_once)]
    reason: Text


@dataclass(frozen=True)
class DeathBody:
    """`Store.release_worker`."""

    worker: str
    reason: Text


@dataclass(frozen=True)
class IdBody:
    """The id of a job or an artifact."""

    id: str


@dataclass(frozen=True)
class WaitBody:
    """`Store.wait_for_work`."""

    worker: str
    timeout_s: Seconds


@dataclass(frozen=True)
class Nothing:
    """No more to say."""


@dataclass(frozen=True)
class Joining:
    """What a worker must know of the gateway that it joins: what both must agree in stands above its own settings.

    `serve` are settings of `[serve]`. `worker_suffix` ends the ids that the key may speak for ("": any). The rest says
    whose pictures are checked (safety.py). `revisions` are the hashes of the files that the gateway has, of the models
    that the worker asked for.
    """

    version: str
    worker_suffix: str
    models: tuple[str, ...]
    default_model: str
    serve: Mapping[str, Any]
    check_images: bool = True
    checked_models: Mapping[str, bool] = field(default_factory=dict)
    checked_tenants: Mapping[str, bool] = field(default_factory=dict)
    revisions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verb(Generic[B, A]):
    """`POST /v1/worker/{name}`; `is_repeatable`: said twice it does the same."""

    name: str
    body: TypeAdapter[B]
    answer: TypeAdapter[A]
    is_repeatable: bool = False


JOB, JOBS = TypeAdapter(Job), TypeAdapter(list[Job])
LEASES, IDS = TypeAdapter(list[Lease]), TypeAdapter(list[str])
JOINING, FACTS, REPORT = TypeAdapter(Joining), TypeAdapter(FactsSaid), TypeAdapter(ReportSaid)

CLAIM = Verb("claim", TypeAdapter(ClaimBody), JOBS)
UNHEARD = Verb("unheard", TypeAdapter(UnheardBody), JOBS, is_repeatable=True)
HEARTBEAT = Verb("heartbeat", TypeAdapter(HeartbeatBody), LEASES, is_repeatable=True)
CANCELLING = Verb("cancelling", TypeAdapter(WorkerBody), IDS, is_repeatable=True)
REPORT_STEPS = Verb("report_steps", TypeAdapter(StepsBody), TypeAdapter(StepsAnswer))
ADD_WARNINGS = Verb("add_warnings", TypeAdapter(WarningsBody), JOB, is_repeatable=True)
COMPLETE = Verb("complete", TypeAdapter(CompleteBody), JOB)
FAIL = Verb("fail", TypeAdapter(FailBody), JOB)
CONFIRM_CANCELLED = Verb("confirm_cancelled", TypeAdapter(CancelledBody), JOB)
RELEASE = Verb("release", TypeAdapter(ReleaseBody), TypeAdapter(int), is_repeatable=True)
RELEASE_WORKER = Verb("release_worker", TypeAdapter(DeathBody), IDS, is_repeatable=True)
GET = Verb("get", TypeAdapter(IdBody), TypeAdapter(Job | None), is_repeatable=True)
ARTIFACT = Verb("artifact", TypeAdapter(IdBody), TypeAdapter(Artifact | None), is_repeatable=True)
IS_ASKED_TO_DRAIN = Verb("is_asked_to_drain", TypeAdapter(WorkerBody), TypeAdapter(bool), is_repeatable=True)
IS_WATCHED = Verb("is_watched", TypeAdapter(Nothing), TypeAdapter(bool), is_repeatable=True)
CLOCK = Verb("clock", TypeAdapter(Nothing), TypeAdapter(float), is_repeatable=True)
WAIT_FOR_WORK = Verb("wait_for_work", TypeAdapter(WaitBody), TypeAdapter(Nothing))
