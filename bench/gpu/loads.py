"""W1 to W3 in open loop: requests arrive by chance whatever is still running; the engine, against one after another.

One after another is computed: a first-come queue over the seconds that the same requests take alone in plain diffusers.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.engine.figure import percentile
from bench.engine.workload import poisson_times
from darkroom.engine.engine import Engine

from .shapes import Shape

SLOS = (1.5, 2.0, 3.0)  # times the seconds alone


@dataclass(frozen=True)
class Ask:
    """One request: its steps, its guidance, its side in pixels, and the seconds that it takes alone."""

    steps: int
    guidance: float
    side: int
    alone_s: float


@dataclass(frozen=True)
class Told:
    """One load: latencies of the engine and of a queue, in units of the seconds alone where they say so."""

    workload: str
    load: float
    images_per_s: float
    p50_s: float
    p99_s: float
    queue_p50_s: float
    queue_p99_s: float
    attained: dict[str, float]


def asks_of(workload: str, shape: Shape, count: int, image_s: float, turn: int) -> list[Ask]:
    """W1: all alike. W2: steps and guidance differ. W3: sizes differ, each with its steps.

    `image_s` are the seconds of the shape's own image; others are taken as proportional to steps and pixels.
    """
    chance, side, steps = random.Random(f"{workload} {turn}"), shape.side, shape.steps
    few = max(2, steps * 2 // 3)
    kinds: list[tuple[int, float, int]] = [(few, 8.0, side)]
    shares = [1.0]
    if workload == "W2":
        kinds = [
            (max(2, int(steps * part)), guidance, side) for part in (0.5, 0.8, 1.0, 1.5) for guidance in (4.0, 8.0)
        ]
        shares = [1.0] * len(kinds)
    elif workload == "W3":
        sides = [side * part // 4 // 16 * 16 for part in (2, 3, 4, 6)]
        parts = zip((20, 25, 25, 35), sides, strict=True)
        kinds, shares = [(max(2, steps * own // 30), 8.0, each) for own, each in parts], [15, 25, 45, 15]
    picked = chance.choices(kinds, shares, k=count)
    return [Ask(n, guidance, each, image_s * n / steps * (each / side) ** 2) for n, guidance, each in picked]


def run(workload: str, shape: Shape, engine: Engine, load: float, count: int, image_s: float) -> Told:
    """So many requests at `load` times what one after another could do."""
    asks = asks_of(workload, shape, count, image_s, 0)
    per_second = load * count / sum(ask.alone_s for ask in asks)
    times = poisson_times(count, per_second, 0)
    latencies = _open_loop(shape, engine, asks, times)
    queued = _one_after_another(asks, times)
    kept = {f"{slo:g}x": _share(latencies, asks, slo) for slo in SLOS}
    busy_s = max(at + late for at, late in zip(times, latencies, strict=True))
    waits = [percentile(late, part) for late in (latencies, queued) for part in (0.5, 0.99)]
    return Told(workload, load, count / busy_s, *waits, kept)


def _open_loop(shape: Shape, engine: Engine, asks: Sequence[Ask], times: Sequence[float]) -> list[float]:
    began = time.time()
    handles = []
    for number, (ask, at) in enumerate(zip(asks, times, strict=True)):
        time.sleep(max(0.0, began + at - time.time()))
        size = {"width": ask.side, "height": ask.side}
        asked: dict[str, Any] = {"num_inference_steps": ask.steps, "guidance_scale": ask.guidance, **size}
        handles.append(engine.submit(model=shape.name, seed=number, **shape.call(**asked)))
    for handle in handles:
        handle.result()
    return [list(handle.events())[-1].at - began - at for handle, at in zip(handles, times, strict=True)]


def _one_after_another(asks: Sequence[Ask], times: Sequence[float]) -> list[float]:
    free, latencies = 0.0, []
    for ask, at in zip(asks, times, strict=True):
        free = max(free, at) + ask.alone_s
        latencies.append(free - at)
    return latencies


def _share(latencies: Sequence[float], asks: Sequence[Ask], slo: float) -> float:
    kept = [late <= slo * ask.alone_s for late, ask in zip(latencies, asks, strict=True)]
    return sum(kept) / len(kept)
