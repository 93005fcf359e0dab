"""How long a run takes by its own counts, so that nobody begins an evening's work for a coffee's; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import workloads
from .size import Size
from .systems import DARKROOM, System, splits

START_S = 12.0  # until a server draws; Ray and TorchServe take longer, the others less


def estimate_s(
    size: Size, systems: Sequence[System], alone: Mapping[str, float], names: Sequence[str], *, muse: bool = True
) -> float:
    """Every rung climbed and nothing gained by batching; where a ladder is left early it is less."""
    start_s = (
        START_S + size.warm * sum(alone[wanted.kind] for wanted in workloads.kinds("W3")) / 3
    )  # in a third of the steps
    found = 2 * 3 * sum(alone.values()) + 2 * start_s
    found += _sweep_s(size, systems, alone, start_s)
    for name in names:
        times = size.repeats if name == "W2" else 1
        spent_s = sum(_part_s(part, alone) for part in workloads.parts(name, size, alone, 0))
        found += (
            len(systems) * times * (spent_s + (start_s if name in ("W2", "W3") else 0.0))
        )  # W3, W5 and W6 share one
    if muse:
        waits = sum(_part_s(workloads.Part(None, workloads.at_once(users, 0)), alone) for users in size.users)
        found += 2 * len(size.workers) * (start_s + waits)
    return found


def _sweep_s(size: Size, systems: Sequence[System], alone: Mapping[str, float], start_s: float) -> float:
    load, requests = size.tune
    if not requests:
        return 0.0
    split = len(splits(size.threads))
    peer = len(size.most) + len(size.windows_s) + split - 2
    tries = split * (DARKROOM in systems) + peer * sum(not each.is_gathering for each in systems)
    plan = workloads.mixed_load(load, requests, alone, 0)
    return tries * (start_s + _part_s(workloads.Part(load, plan), alone))


def _part_s(part: workloads.Part, alone: Mapping[str, float]) -> float:
    """As long as its arrivals take, or its work."""
    return max(part.plan[-1].at_s, sum(alone[wanted.kind] for wanted in part.plan))
