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
    """An attempt has its thread; `request_id` is that of the HTTP request that made the job."""

    job_id: str
    model: str
    attempt: int
    request_id: str


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
    """A model is resident now."""

    model: str
    seconds: float
    size_bytes: int


@dataclass(frozen=True)
class ModelLeft:
    """A model made room for another."""

    model: str


@dataclass(frozen=True)
class LeaseWasLost:
    """Another claim followed, or the job ended: this attempt writes nothing."""

    job_id: str


@dataclass(frozen=True)
class StoreFailed:
    """The store could not be reached; what was to be written is tried again, or was only a step."""

    while_doing: str


@dataclass(frozen=True)
class StateChanged:
    """starting, ready, draining, stopped."""

    state: str


WorkerEvent = (
    JobsClaimed
    | AttemptBegan
    | StopAsked
    | AttemptEnded
    | BatchRan
    | ModelLoaded
    | ModelLeft
    | LeaseWasLost
    | StoreFailed
    | StateChanged
)
Tell = Callable[[WorkerEvent], None]
