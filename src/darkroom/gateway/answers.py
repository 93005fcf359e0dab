"""Jobs, artifacts, events and workers as the JSON that docs/reference/http.md describes. Times are RFC 3339 in UTC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.requests import HTTPConnection

from ..core import Artifact, Event, Job, WorkerReport, asked_priority, priority_class_of
from ..storage.objects import Storage
from .forecast import Outlook, Place
from .moments import rfc3339
from .signing import VALID_S, Signer

STAMPS = ("created", "scheduled", "queued", "started", "succeeded", "failed", "cancelled")
METRICS = ("queued_s", "load_s", "denoise_s", "decode_s", "upload_s", "device_s", "cost_usd", "resumed_from_step")
SECURE = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
PLAIN = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


@dataclass(frozen=True)
class Addresses:
    """Absolute URLs as the caller can use them: by the name it called us, which the allow-list has judged."""

    scheme: str
    place: str

    @classmethod
    def of(cls, connection: HTTPConnection) -> Addresses:
        """From a request's own URL; behind a proxy its X-Forwarded-Proto has been heard by the server."""
        root = str(connection.scope.get("root_path", ""))
        return cls(connection.url.scheme, f"{connection.headers.get('host', '')}{root}")

    @classmethod
    def at(cls, url: str) -> Addresses:
        """Below that URL, where nobody has called us by a name."""
        scheme, _, place = url.rstrip("/").partition("://")
        return cls(scheme, place)

    def http(self, path: str) -> str:
        """A URL to fetch."""
        return f"{PLAIN[self.scheme]}://{self.place}{path}"

    def ws(self, path: str) -> str:
        """A URL for a WebSocket."""
        return f"{SECURE[self.scheme]}://{self.place}{path}"


@dataclass(frozen=True)
class Answers:
    """Builds answers for one caller at one moment."""

    addresses: Addresses
    storage: Storage
    signer: Signer
    clock: Callable[[], float]

    def job(self, job: Job, place: Place, outlook: Outlook) -> dict[str, Any]:
        """A job in full."""
        return {
            "id": job.id,
            "state": job.state.value,
            "model": job.model,
            "task": job.task,
            "input": dict(job.input),
            "output": dict(job.output),
            "metadata": dict(job.metadata),
            "priority": asked_priority(job.priority),
            "priority_class": priority_class_of(job.priority),
            "progress": round(job.progress, 4),
            "step": job.step,
            "steps": job.steps,
            "queue_position": place[0] if place else None,
            "eta_s": rounded(outlook.eta_s(job, place, self.clock())),
            "attempt": job.attempt,
            "max_attempts": job.max_attempts,
            "worker": job.worker,
            "tenant": job.tenant,
            "is_cancelling": job.is_cancelling,
            **{f"{name}_at": rfc3339(job.times.get(name)) for name in STAMPS},
            "run_at": rfc3339(job.run_at),
            "deadline_at": rfc3339(job.deadline_at),
            "outputs": [self.artifact(artifact) for artifact in job.outputs],
            "metrics": {name: job.metrics.get(name) for name in METRICS},
            "error": dict(job.error) if job.error else None,
            "errors": [dict(error) for error in job.errors],
            "warnings": [*job.warnings, *outlook.warnings(job, self.clock())],
            "request_id": job.request_id,
            "links": self._links(job.id),
        }

    def job_alone(self, job: Job) -> dict[str, Any]:
        """The same without what is predicted."""
        return self.job(job, None, Outlook())

    def artifact(self, artifact: Artifact) -> dict[str, Any]:
        """One of a job's outputs."""
        return {
            "artifact_id": artifact.id,
            "url": self.url(artifact),
            "content_type": artifact.content_type,
            "width": artifact.width,
            "height": artifact.height,
            "seed": artifact.seed,
            "frames": artifact.frames,
            "fps": artifact.fps,
            "size": artifact.size,
        }

    def url(self, artifact: Artifact) -> str:
        """A URL that whoever holds it can fetch for a while: the storage's own where it signs, else ours."""
        stored = self.storage.signed_url(artifact.key, VALID_S)
        if stored is not None:
            return stored
        return self.own_url(artifact.id)

    def own_url(self, artifact_id: str) -> str:
        """The same below our own address; nobody is asked for it."""
        return self.addresses.http(f"/v1/artifacts/{artifact_id}?{self.signer.sign(artifact_id, self.clock())}")

    def _links(self, job_id: str) -> dict[str, str]:
        path = f"/v1/jobs/{quote(job_id, safe='')}"
        return {
            "self": self.addresses.http(path),
            "cancel": self.addresses.http(f"{path}/cancel"),
            "events": self.addresses.http(f"{path}/events"),
            "ws": self.addresses.ws(f"{path}/ws"),
        }


def upload(artifact: Artifact) -> dict[str, Any]:
    """What `POST /v1/uploads` says."""
    return {
        "artifact_id": artifact.id,
        "content_type": artifact.content_type,
        "size": artifact.size,
        "width": artifact.width,
        "height": artifact.height,
        "created_at": rfc3339(artifact.created_at),
    }


def event(event: Event, extra: Mapping[str, Any]) -> dict[str, Any]:
    """An event as SSE and WebSocket send it."""
    return {"seq": event.seq, "at": rfc3339(event.at), "type": event.type, **event.data, **extra}


def worker(report: WorkerReport) -> dict[str, Any]:
    """A worker's last report."""
    return {
        "id": report.id,
        "state": report.state,
        "at": rfc3339(report.at),
        "models": list(report.models),
        "loaded": list(report.loaded),
        "in_flight": report.in_flight,
        "step_seconds": dict(report.step_seconds),
        "facts": dict(report.facts),
    }


def rounded(seconds: float | None) -> float | None:
    """Milliseconds are enough."""
    return None if seconds is None else round(seconds, 3)
