"""What a worker exports to Prometheus, on a port of its own; it listens to the worker's events.

The same port answers the probes of whoever keeps the process: `/healthz` while it lives, `/readyz` while it claims.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from functools import singledispatchmethod
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from ..errors import InvalidConfig
from ..worker.events import (
    AttemptEnded,
    BatchRan,
    JobsClaimed,
    LeaseWasLost,
    ModelLeft,
    ModelLoaded,
    StateChanged,
    StoreFailed,
)
from .metrics import BATCH_EDGES

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LIVES, IS_READY = "/healthz", "/readyz"
EVERY_INTERFACE = "0.0.0.0"
STATES = ("starting", "ready", "draining", "stopped")
LOAD_EDGES_S = (0.5, 1, 2, 5, 10, 20, 60, 180)
FORWARD_EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
PARTS = ("queued_s", "load_s", "denoise_s", "decode_s", "upload_s", "device_s")


class WorkerMetrics:
    """Counts what a worker tells of."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self.attempts = Counter("darkroom_attempts", "Attempts that ended.", ("model", "status"), registry=registry)
        self.claims = Counter("darkroom_claimed_jobs", "Jobs claimed.", registry=registry)
        self.lost = Counter("darkroom_lost_leases", "Attempts whose lease was lost.", registry=registry)
        self.store_failures = Counter(
            "darkroom_store_failures", "Store calls that failed.", ("doing",), registry=registry
        )
        self.rows = Histogram(
            "darkroom_batch_rows", "Rows of a denoiser's forward.", buckets=BATCH_EDGES, registry=registry
        )
        self.padded = Counter("darkroom_padded_rows", "Rows that only filled a forward up.", registry=registry)
        self.busy = Counter("darkroom_busy_seconds", "Seconds inside forwards.", ("kind",), registry=registry)
        self.forward = Histogram(
            "darkroom_forward_seconds", "Seconds of one forward.", ("kind",), buckets=FORWARD_EDGES_S, registry=registry
        )
        self.loads = Histogram(
            "darkroom_model_load_seconds",
            "Seconds to load a model, from disk or from host memory.",
            ("model", "source"),
            buckets=LOAD_EDGES_S,
            registry=registry,
        )
        self.resident = Gauge("darkroom_model_bytes", "Bytes of a resident model.", ("model",), registry=registry)
        self.parts = Counter("darkroom_job_seconds", "Seconds of jobs, by part.", ("model", "part"), registry=registry)
        self.cost = Counter("darkroom_job_cost_usd", "What jobs cost.", ("model",), registry=registry)
        self.state = Gauge("darkroom_worker_state", "1 for the state that it is in.", ("state",), registry=registry)
        self._present = STATES[0]

    def serve(self, address: str) -> str:
        """Export at `HOST:PORT` (port 0: a free one) from now on, not at an empty one; the address for others.

        Raises `InvalidConfig` where it cannot be listened on.
        """
        if not address:
            return ""
        host, _, port = address.rpartition(":")
        try:
            server, _ = start_http_server(int(port), host, self.registry)
        except (OSError, OverflowError) as error:
            raise InvalidConfig(
                f"serve.worker_metrics: {address} cannot be listened on ({error}); each worker of a machine needs a "
                "port of its own, and port 0 takes a free one",
                field="serve.worker_metrics",
            ) from error
        server.set_app(self._probed(server.get_app()))
        return f"{socket.gethostname() if host == EVERY_INTERFACE else host}:{server.server_port}"

    def _probed(self, exported: WSGIApplication | None) -> WSGIApplication:
        assert exported is not None

        def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            path, state = environ["PATH_INFO"], self._present
            if path not in (LIVES, IS_READY):
                return exported(environ, start_response)
            is_well = path == LIVES or state == "ready"
            start_response("200 OK" if is_well else "503 Service Unavailable", [("Content-Type", "application/json")])
            return [json.dumps({"status": "ok" if path == LIVES else state}).encode()]

        return answer

    @singledispatchmethod
    def hear(self, event: object) -> None:
        """Count an event; one that is not counted here is passed over."""

    @hear.register
    def _(self, event: JobsClaimed) -> None:
        self.claims.inc(event.count)

    @hear.register
    def _(self, event: AttemptEnded) -> None:
        self.attempts.labels(event.model, event.status).inc()
        for part in PARTS:
            self.parts.labels(event.model, part.removesuffix("_s")).inc(event.metrics.get(part, 0.0))
        self.cost.labels(event.model).inc(event.metrics.get("cost_usd", 0.0))

    @hear.register
    def _(self, event: BatchRan) -> None:
        self.busy.labels(event.kind).inc(event.seconds)
        self.forward.labels(event.kind).observe(event.seconds)
        self.padded.inc(event.padded_rows)
        if event.kind == "denoise":
            self.rows.observe(event.rows)

    @hear.register
    def _(self, event: ModelLoaded) -> None:
        self.loads.labels(event.model, event.source).observe(event.seconds)
        self.resident.labels(event.model).set(event.size_bytes)

    @hear.register
    def _(self, event: ModelLeft) -> None:
        self.resident.remove(event.model)

    @hear.register
    def _(self, _: LeaseWasLost) -> None:
        self.lost.inc()

    @hear.register
    def _(self, event: StoreFailed) -> None:
        self.store_failures.labels(event.while_doing).inc()

    @hear.register
    def _(self, event: StateChanged) -> None:
        self._present = event.state
        for state in STATES:
            self.state.labels(state).set(state == event.state)
