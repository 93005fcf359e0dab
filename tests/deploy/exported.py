"""The names of all series that gateways and workers export, from the parts that export them."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from darkroom.core import WorkerReport
from darkroom.fleet.told import FleetNote
from darkroom.jobs.opening import open_store
from darkroom.telemetry.metrics import GatewayMetrics
from darkroom.telemetry.pools import fleet_gauges
from darkroom.telemetry.worker import WorkerMetrics

SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


@functools.cache
def exported() -> frozenset[str]:
    """Of a gateway that leads, of a worker and of a fleet."""
    registry = CollectorRegistry()
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'jobs.sqlite3'}")
        try:
            store.heartbeat(WorkerReport("w", "ready", time.time(), facts={"memory": {}}), [], time.time())
            GatewayMetrics(registry, store, lambda: True)
            metrics = [
                *registry.collect(),
                *WorkerMetrics().registry.collect(),
                *fleet_gauges(FleetNote(0.0, "local", "fixed", 5.0), 0.0),
            ]
        finally:
            store.close()
    return frozenset(name for metric in metrics for name in _series(metric))


def _series(metric: Metric) -> Iterator[str]:
    for suffix in SUFFIXES.get(metric.type, ("",)):
        yield metric.name + suffix
