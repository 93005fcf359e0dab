"""The fleet's pools as gauges, as whoever scales them told of them last."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from ..fleet.nouns import Phase
from ..fleet.told import FleetNote

LEFT_BEHIND_S = 86_400.0  # a note so old is of a fleet that was taken away


def fleet_gauges(note: FleetNote | None, now: float) -> Iterable[Metric]:
    """Of a fleet that is scaled, or was until lately: then the fault is that nobody does it any more."""
    if note is None or now - note.at > LEFT_BEHIND_S:
        return
    is_fresh = note.is_fresh(now)
    fault = GaugeMetricFamily("darkroom_fleet_fault", "Whether something keeps the fleet from being scaled.")
    fault.add_metric([], float(bool(note.fault) or not is_fresh))
    yield fault
    if is_fresh:
        yield from _pool_gauges(note)
        strays = GaugeMetricFamily("darkroom_stray_workers", "Workers of pools that the settings do not name.")
        strays.add_metric([], note.strays)
        yield strays


def _pool_gauges(note: FleetNote) -> Iterable[Metric]:
    """Workers by pool, wanted and there."""
    wanted = GaugeMetricFamily("darkroom_pool_wanted_workers", "Workers that a pool is to have.", labels=["pool"])
    there = GaugeMetricFamily("darkroom_pool_workers", "Workers of a pool.", labels=["pool", "state"])
    ready_s = GaugeMetricFamily("darkroom_pool_ready_seconds", "Until a new worker of a pool serves.", labels=["pool"])
    for pool in note.pools:
        if pool.wanted is not None:
            wanted.add_metric([pool.name], pool.wanted)
        for phase in Phase:
            there.add_metric([pool.name, phase.value], pool.count(phase))
        ready_s.add_metric([pool.name], pool.ready_s)
    return (wanted, there, ready_s)
