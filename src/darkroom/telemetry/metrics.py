"""What the gateway exports to Prometheus: the queue, finished jobs, workers. One gateway of several counts: the leader.

Names without the prefix `darkroom_` are those of the course text's API; their labels and bucket edges are kept.
"""

from __future__ import annotations

import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..core import Delivery, Event, Job, WorkerReport, WorkerTime, payer_of
from ..errors import InvariantBroken, StoreUnavailable, WorkerDied
from ..fleet.told import read_note
from ..jobs.allowances import day_of
from .paid import Paid
from .pools import fleet_gauges

DURATION_EDGES_S = (1, 2, 5, 10, 20, 30, 60, 120)
BATCH_EDGES = (1, 2, 4, 8, 16)
WAIT_EDGES_S = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
HEARD_WITHIN_S = 60.0
MISSED_S = 840.0  # how long one is missed that fell silent and had not said that it leaves
LEFT_BY_PLAN = ("draining", "stopped")  # who drains was asked to: by the fleet, an operator, a cloud's notice
MOST_KNOWN = 1000  # workers whose counts are remembered, should they come back
OUTCOMES = {"delivered": "delivered", "pending": "failed", "given_up": "given_up"}  # by the state it left behind
ENDED = {"succeeded": "success", "failed": "error"}


class QueueFigures(Protocol):
    """What is asked of a queue."""

    queued: int
    running: int
    scheduled: int
    ahead_s: float
    oldest_at: float | None
    by_model: Mapping[str, int]


class Watched(Protocol):
    """What is asked of a job store."""

    def get(self, job_id: str) -> Job | None: ...
    def queue(self) -> Any: ...
    def workers(self, since: float) -> list[WorkerReport]: ...
    def worker_times(self, since_day: int) -> list[WorkerTime]: ...
    def fleet_note(self) -> Mapping[str, Any]: ...


class GatewayMetrics(Collector):
    """Listens to jobs' events, and reads queue and workers when scraped.

    `is_leader` says whether this one counts, and `others_led_at` when another one last did, 0 where none has. A worker
    that was silent for `lease_s` is gone, and for `HEARD_WITHIN_S` at the least.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        store: Watched,
        is_leader: Callable[[], bool],
        others_led_at: Callable[[], float] = lambda: 0.0,
        lease_s: float = 0.0,
    ) -> None:
        self._store, self._is_leader, self._others_led_at = store, is_leader, others_led_at
        self._heard_within_s = max(HEARD_WITHIN_S, lease_s)
        self._batches, self._paid = Batches(), Paid(float(psutil.Process().create_time()))
        self.requests = Counter("diffusion_requests", "Finished jobs.", ("status", "model"), registry=registry)
        self.seconds = Histogram(
            "diffusion_generation_duration_seconds",
            "Seconds from a job's start to its end.",
            ("model", "steps"),
            buckets=DURATION_EDGES_S,
            registry=registry,
        )
        self.waits = Histogram(
            "darkroom_queue_wait_seconds",
            "Seconds from queued to started.",
            ("model",),
            buckets=WAIT_EDGES_S,
            registry=registry,
        )
        self.device = Counter(
            "darkroom_device_seconds", "Device seconds of jobs.", ("model", "tenant"), registry=registry
        )
        self.cost = Counter("darkroom_cost_usd", "What jobs cost.", ("model", "tenant"), registry=registry)
        self.cancelled = Counter("darkroom_cancelled_jobs", "Cancelled jobs.", ("model",), registry=registry)
        self.failed = Counter(
            "darkroom_failed_jobs", "Failed jobs, by their error's code.", ("code",), registry=registry
        )
        self.failed.labels(WorkerDied.code)  # a count that starts at 0 can be seen to rise
        self.requeued = Counter("darkroom_requeued_jobs", "Jobs that came back from a worker.", registry=registry)
        self.webhooks = Counter(
            "darkroom_webhook_attempts", "Webhook calls made, by what came of them.", ("outcome",), registry=registry
        )
        registry.register(self)

    def hear(self, job_id: str, event: Event) -> None:
        """Count what happened to a job."""
        if not self._is_leader():
            return
        if event.type == "requeued":
            self.requeued.inc()
        elif event.type in ("succeeded", "failed", "cancelled"):
            job = self._store.get(job_id)
            if job is not None:
                self._count(job)

    def hear_delivery(self, delivery: Delivery) -> None:
        """Count an attempt at a webhook call; each gateway counts its own."""
        self.webhooks.labels(OUTCOMES[delivery.state]).inc()

    def _count(self, job: Job) -> None:
        payer = payer_of(job.tenant)
        self.device.labels(job.model, payer).inc(job.metrics.get("device_s", 0.0))
        self.cost.labels(job.model, payer).inc(job.metrics.get("cost_usd", 0.0))
        if job.state == "cancelled":
            self.cancelled.labels(job.model).inc()
        else:
            self._count_request(job)

    def _count_request(self, job: Job) -> None:
        self.requests.labels(ENDED[job.state], job.model).inc()
        if job.error is not None:
            self.failed.labels(str(job.error.get("code", InvariantBroken.code))).inc()
        started = job.times.get("started")
        if started is not None:
            self.waits.labels(job.model).observe(max(0.0, started - job.times["queued"]))
            ended = job.times.get(job.state, started)
            self.seconds.labels(job.model, str(job.steps)).observe(max(0.0, ended - started))

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not read the store to learn the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Queue and workers as they are now; from the leader alone, so that they are exported once."""
        is_up = 1.0
        try:
            now, is_leader = time.time(), self._is_leader()
            gone_before = now - self._heard_within_s
            reports = self._store.workers(gone_before - MISSED_S)
            workers = [report for report in reports if report.at >= gone_before]
            self._batches.look(workers, is_counting=is_leader)
            times = self._store.worker_times(day_of(now) - 1)
            self._paid.look(times, is_counting=is_leader, others_led_at=self._others_led_at())
            if is_leader:
                yield from _worker_gauges(workers)
                silent = [report for report in reports if report.at < gone_before]
                missed = sum(report.state not in LEFT_BY_PLAN for report in silent)
                yield _gauge("darkroom_missed_workers", "Workers that fell silent and were not to leave.", missed)
                yield from _queue_gauges(self._store.queue(), now)
                yield from fleet_gauges(read_note(self._store.fleet_note()), now)
        except StoreUnavailable:
            is_up = 0.0
        yield self._batches.histogram()
        yield from self._paid.counters()
        yield _gauge("darkroom_store_up", "Whether the job store answers.", is_up)


class Batches:
    """How many rows the denoisers' forwards had, from what workers have counted since they started.

    What they had counted before the first look, another gateway has told of, or an earlier life of this one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # two may look at once
        self._known: dict[str, Tally[int]] = {}
        self._added: Tally[int] = Tally()
        self._has_looked = False

    def look(self, workers: Iterable[WorkerReport], *, is_counting: bool) -> None:
        """Take in what is new; it is added up where this gateway is the one that counts."""
        with self._lock:
            for worker in workers:
                counts = Tally({int(rows): int(n) for rows, n in worker.facts.get("batches", {}).items()})
                if is_counting and self._has_looked:
                    self._added += counts - self._known.get(worker.id, Tally())
                self._known[worker.id] = counts
            for name in list(self._known)[:-MOST_KNOWN]:
                del self._known[name]
            self._has_looked = True

    def histogram(self) -> Metric:
        """All that was added up."""
        with self._lock:
            added = dict(self._added)
        below = [(str(float(edge)), float(sum(n for rows, n in added.items() if rows <= edge))) for edge in BATCH_EDGES]
        buckets = [*below, ("+Inf", float(sum(added.values())))]
        rows = float(sum(rows * n for rows, n in added.items()))
        return HistogramMetricFamily("diffusion_batch_size", "Rows of a denoiser's forward.", buckets, rows)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _queue_gauges(queue: QueueFigures, now: float) -> Iterable[Metric]:
    yield _gauge("diffusion_queue_size", "Jobs that wait.", queue.queued)
    yield _gauge("darkroom_running_jobs", "Jobs that run.", queue.running)
    yield _gauge("darkroom_scheduled_jobs", "Jobs whose time has not come.", queue.scheduled)
    yield _gauge("darkroom_queue_seconds", "Predicted device seconds of the jobs that wait.", queue.ahead_s)
    age = max(0.0, now - queue.oldest_at) if queue.oldest_at is not None else 0.0
    yield _gauge("darkroom_queue_age_seconds", "How long the oldest of them has waited.", age)
    by_model = GaugeMetricFamily("darkroom_queued_jobs", "Jobs that wait, by model.", labels=["model"])
    for model, count in queue.by_model.items():
        by_model.add_metric([model], count)
    yield by_model


def _worker_gauges(workers: list[WorkerReport]) -> Iterable[Metric]:
    states = GaugeMetricFamily("darkroom_workers", "Workers heard of lately.", labels=["state"])
    for state in ("starting", "ready", "draining"):
        states.add_metric([state], sum(worker.state == state for worker in workers))
    memory = GaugeMetricFamily("gpu_memory_used_bytes", "Memory in use on a worker's device.", labels=["gpu_id"])
    total = GaugeMetricFamily("gpu_memory_total_bytes", "Memory of a worker's device.", labels=["gpu_id"])
    share = GaugeMetricFamily("gpu_utilization_percent", "How busy a worker's device is.", labels=["gpu_id"])
    for place, those in _by_device([worker for worker in workers if worker.state != "stopped"]).items():
        memory.add_metric([place], max(float(worker.facts["memory"].get("used_bytes", 0)) for worker in those))
        total.add_metric([place], max(float(worker.facts["memory"].get("total_bytes", 0)) for worker in those))
        busy = sum(float(worker.facts.get("busy_share", 0.0)) for worker in those)
        share.add_metric([place], min(100.0, 100.0 * busy))
    return [states, memory, total, share]


def _by_device(workers: list[WorkerReport]) -> dict[str, list[WorkerReport]]:
    """The workers on each device; one that names none has the next number for one of its own."""
    places: dict[str, list[WorkerReport]] = {}
    with_devices = [worker for worker in workers if "memory" in worker.facts]
    for number, worker in enumerate(sorted(with_devices, key=lambda worker: worker.id)):
        places.setdefault(str(worker.facts.get("gpu_id", number)), []).append(worker)
    return places
