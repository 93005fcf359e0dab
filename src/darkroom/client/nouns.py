"""What the service tells of, as frozen values; `raw` is the JSON as it came, with whatever a later release adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from .. import errors
from ..core import FINAL_EVENTS, FINAL_STATES
from .refusals import error_of


@dataclass(frozen=True)
class Output:
    """A picture, a video or a sound that a job made: `url` can be fetched as it stands for about an hour; `size` is in
    bytes, `width` and `height` in pixels, `fps` in frames a second."""

    artifact_id: str
    url: str | None
    content_type: str
    width: int | None
    height: int | None
    seed: int | None
    size: int
    frames: int | None = None
    fps: float | None = None

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """From the API's JSON."""
        return cls(**_fields(cls, said))


@dataclass(frozen=True, repr=False)
class Job:
    """A job as it was when the service was asked; docs/reference/http.md describes each field.

    `state`: scheduled, queued, running, succeeded, failed, cancelled. `progress` is 0 to 1. Times are aware and in UTC,
    None until they happened. `metrics`: seconds, and `cost_usd` in US dollars; None until known. `error` says why it
    failed: code, message and more.
    """

    id: str
    state: str
    model: str
    task: str
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    metadata: Mapping[str, Any]
    priority: int
    progress: float
    step: int
    steps: int
    queue_position: int | None
    eta_s: float | None
    attempt: int
    max_attempts: int
    worker: str | None
    tenant: str
    is_cancelling: bool
    created_at: datetime | None
    scheduled_at: datetime | None
    queued_at: datetime | None
    started_at: datetime | None
    succeeded_at: datetime | None
    failed_at: datetime | None
    cancelled_at: datetime | None
    run_at: datetime | None
    deadline_at: datetime | None
    outputs: tuple[Output, ...]
    metrics: Mapping[str, float | None]
    error: Mapping[str, Any] | None
    errors: tuple[Mapping[str, Any], ...]
    warnings: tuple[str, ...]
    request_id: str
    links: Mapping[str, str]
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """From the API's JSON."""
        fields = _fields(cls, said, lists=("errors", "warnings"))
        moments = {name: _moment(said.get(name)) for name in fields if name.endswith("_at")}
        return cls(**{**fields, **moments, "outputs": tuple(Output.read(output) for output in said["outputs"])})

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, state={self.state!r}, model={self.model!r})"

    @property
    def is_final(self) -> bool:
        """Whether it has ended, however."""
        return self.state in FINAL_STATES

    def raise_for_state(self) -> None:
        """Raise what ended it, unless it succeeded: the error of its code, `JobCancelled`, or `JobNotFinal`."""
        if self.state == "cancelled":
            raise errors.JobCancelled(f"job {self.id} was cancelled")
        if self.state == "failed":
            error = error_of(self.error or {}, errors.DarkroomError)
            error.request_id = self.request_id
            raise error
        if not self.is_final:
            raise errors.JobNotFinal(f"job {self.id} is {self.state}")


@dataclass(frozen=True)
class JobPage:
    """Jobs, newest first; `next_cursor` is the `cursor` of the next page, None on the last."""

    jobs: tuple[Job, ...]
    next_cursor: str | None
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """From the API's JSON."""
        return cls(tuple(Job.read(job) for job in said["data"]), said.get("next_cursor"), said)


@dataclass(frozen=True)
class JobEvent:
    """What happened to a job: `seq` rises, `at` is RFC 3339 in UTC, `data` is what its type brings.

    Types: queued, started, progress, preview, output, requeued, succeeded, failed, cancelled.
    """

    seq: int
    at: str
    type: str
    data: Mapping[str, Any]

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """From the API's JSON."""
        data = {name: value for name, value in said.items() if name not in ("seq", "at", "type")}
        return cls(int(said["seq"]), str(said["at"]), str(said["type"]), data)

    @property
    def is_final(self) -> bool:
        """Whether it is the job's last."""
        return self.type in FINAL_EVENTS


@dataclass(frozen=True)
class Model:
    """A model that is served; `problem` says in words why no job can be made for it just now.

    `sizes` are pixels, (width, height). `has_controlnet`: `control_image` can be given; `has_ip_adapter`:
    `ip_adapter_image`; `has_refiner`: `denoising_end`. `revision`, the hash of its files, and `input`, the JSON schema
    of a job's input, are told of one model at a time: None in a list.
    """

    id: str
    tasks: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    default_size: tuple[int, int] | None
    solvers: tuple[str, ...]
    presets: Mapping[str, Mapping[str, Any]]
    adapters: tuple[str, ...]
    has_controlnet: bool
    has_ip_adapter: bool
    has_refiner: bool
    is_loaded: bool
    problem: str | None
    revision: str | None
    input: Mapping[str, Any] | None
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """From the API's JSON."""
        fields = _fields(cls, said, lists=("tasks", "solvers", "adapters"))
        pieces = ("has_controlnet", "has_ip_adapter", "has_refiner")
        fields |= {name: bool(fields[name]) for name in pieces}  # an earlier release does not say
        sizes = {"sizes": tuple(_size(size) for size in said["sizes"]), "default_size": _size(said["default_size"])}
        return cls(**{**fields, **sizes})


@dataclass(frozen=True)
class Adapter:
    """A LoRA that jobs for `model` may name. `source`: bundled, folder, registered, remote. `digest` is its file's
    SHA-256 and `size` its bytes, None where only another Darkroom knows; `problem` says why no job can use it."""

    name: str
    model: str
    source: str
    digest: str | None
    size: int | None
    problem: str | None
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """From the API's JSON."""
        return cls(**_fields(cls, said))


@dataclass(frozen=True)
class Worker:
    """What a worker last said of itself; `step_seconds` is by model, `facts` are about its device and load."""

    id: str
    state: str
    at: datetime | None
    models: tuple[str, ...]
    loaded: tuple[str, ...]
    in_flight: int
    step_seconds: Mapping[str, float]
    facts: Mapping[str, Any]
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """From the API's JSON."""
        return cls(**{**_fields(cls, said, lists=("models", "loaded")), "at": _moment(said["at"])})


def _fields(kind: Any, said: Mapping[str, Any], lists: tuple[str, ...] = ()) -> dict[str, Any]:
    plain = {name: said.get(name) for name in kind.__dataclass_fields__}
    return {**plain, **{name: tuple(said[name]) for name in lists}, **({"raw": said} if "raw" in plain else {})}


def _moment(said: str | None) -> datetime | None:
    return None if said is None else datetime.fromisoformat(said)


def _size(said: Any) -> tuple[int, int] | None:
    return None if said is None else (int(said[0]), int(said[1]))
