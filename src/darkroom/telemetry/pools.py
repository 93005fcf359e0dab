"""The fleet's pools as gauges, as whoever scales them told of them last."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from ..fleet.nouns import Phase
from ..fleet.told import FleetNote


def pool_gauges(note: FleetNote | None) -> Iterable[Metric]:
    """Workers by pool, wanted and there; nothing where nobody scales the fleet."""
    if note is None:
        return
    wanted = GaugeMetricFamily("darkroom_pool_wanted_workers", "Workers that a pool is to have.", labels=["pool"])
    there = GaugeMetricFamily("darkroom_pool_workers", "Workers of a pool.", labels=["pool", "state"])
    ready_s = GaugeMetricFamily("darkroom_pool_ready_seconds", "Until a new worker of a pool serves.", labels=["pool"])
    for pool in note.pools:
        if pool.wanted is not None:
            wanted.add_metric([pool.name], pool.wanted)
        for phase in Phase:
            there.add_metric([pool.name, phase.value], pool.count(phase))
        ready_s.add_metric([pool.name], pool.ready_s)
    fault = GaugeMetricFamily("darkroom_fleet_fault", "Whether something keeps the fleet from being scaled.")
    fault.add_metric([], float(bool(note.fault)))
    yield from (wanted, there, ready_s, fault)
