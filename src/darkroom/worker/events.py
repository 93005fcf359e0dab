"""What happened in a worker, in the past tense; whoever counts, traces or logs listens, and the parts know nothing.

A listener is called in the thread where the thing happened, the engine's among them: it must be quick and not raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class JobsClaimed:
    """The store handed out so many jobs at once."""

    count: int


@dataclass(frozen=True)
class AttemptBegan:
    """An attempt has its thread; `request_id` and `traceparent` are those of the HTTP request that made the job."""

    job_id: str
    model: str
    attempt: int
    request_id: str
    traceparent: str = ""
    steps: int = 0


@dataclass(frozen=True)
class AttemptResumed:
    """It goes on from a tape: `step` of `steps` were done before."""

    job_id: str
    attempt: int
    step: int
    steps: int


@dataclass(frozen=True)
class StageBegan:
    """The next of an attempt's stages: fetch, load, submit, follow, check, encode, upload, complete."""

    job_id: str
    attempt: int
    stage: str


@dataclass(frozen=True)
class ImageEnded:
    """The engine is through with one image of an attempt, however that ended.

    Times are seconds since the epoch, `started_at` None where it never started; `metrics` are its handle's.
    """

    job_id: str
    attempt: int
    number: int
    queued_at: float
    started_at: float | None
    ended_at: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class StopAsked:
    """An attempt is to end at its next call: cancelled, lost, released or abandoned."""

    job_id: str
    why: str


@dataclass(frozen=True)
class AttemptEnded:
    """`status`: succeeded, failed, retried, cancelled, released, lost, abandoned. `seconds` since it was claimed.

    `code` is the error's, where there was one; `metrics` are those that the job keeps.
    """

    job_id: str
    model: str
    attempt: int
    request_id: str
    status: str
    seconds: float
    steps: int
    code: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    traceparent: str = ""


@dataclass(frozen=True)
class BatchRan:
    """One forward, or one after another of the same kind: `seconds` in all, `padded_rows` filled up with copies."""

    module: str
    kind: str
    rows: int
    padded_rows: int
    requests: int
    seconds: float


@dataclass(frozen=True)
class ModelLoaded:
    """A model is resident now; `source` is "disk" or "host", where it rested in host memory."""

    model: str
    seconds: float
    size_bytes: int
    source: str = "disk"


@dataclass(frozen=True)
class ModelLeft:
    """A model made room for another, and rests in host memory ("host") or lies on disk only."""

    model: str
    to: str = "disk"


@dataclass(frozen=True)
class LeaseWasLost:
    """Another claim followed, or the job ended: this attempt writes nothing."""

    job_id: str


@dataclass(frozen=True)
class StoreFailed:
    """The store could not be reached; what was to be written is tried again, or was only a step."""

    while_doing: str


@dataclass(frozen=True)
class ClockRead:
    """By how many seconds this machine's clock is ahead of the store's."""

    ahead_s: float


@dataclass(frozen=True)
class WatchRead:
    """Whether somebody looks at what workers do."""

    is_watched: bool


@dataclass(frozen=True)
class StateChanged:
    """starting, ready, draining, stopped."""

    state: str


WorkerEvent = (
    JobsClaimed
    | AttemptBegan
    | AttemptResumed
    | StageBegan
    | ImageEnded
    | StopAsked
    | AttemptEnded
    | BatchRan
    | ModelLoaded
    | ModelLeft
    | LeaseWasLost
    | StoreFailed
    | ClockRead
    | WatchRead
    | StateChanged
)
Tell = Callable[[WorkerEvent], None]


def log_ids(job_id: str, request_id: str, traceparent: str) -> dict[str, str]:
    """What every log line about an attempt carries; `trace_id` where its request was part of a trace."""
    trace_id = traceparent.split("-")[1] if traceparent else ""
    return {"job_id": job_id, "request_id": request_id, **({"trace_id": trace_id} if trace_id else {})}
