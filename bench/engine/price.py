"""What `reproducible` costs: the mixed load at once, with and without."""

from __future__ import annotations

from statistics import median
from typing import Any

from .figure import Figure
from .gain import run_engine
from .model import Model, submit
from .progress import say
from .size import Size
from .workload import mixed

AIM = 0.20


def measure(served: Model, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """Interleaved pairs on two engines over the same model; the price is throughput lost."""
    pairs: list[tuple[float, float]] = []
    with served.serve() as free, served.serve(reproducible=True) as fixed:
        for engine in (free, fixed):
            for handle in [submit(engine, request) for request in mixed(size.requests, size.steps, 1)]:
                handle.result()
        for turn in range(2, 2 + size.pairs):
            requests = mixed(size.requests, size.steps, turn)
            pairs.append((run_engine(free, requests).total_s, run_engine(fixed, requests).total_s))
            say(f"reproducible: {pairs[-1][0]:.2f} s without, {pairs[-1][1]:.2f} s with")
    lost = median(1 - without / with_it for without, with_it in pairs)
    found = [
        Figure("reproducible", "throughput lost to reproducible, mixed load", lost, "%", None, AIM, False),
        Figure("reproducible", "mixed load, not reproducible", median(without for without, _ in pairs), "s"),
        Figure("reproducible", "mixed load, reproducible", median(with_it for _, with_it in pairs), "s"),
    ]
    return found, {"pairs_s": pairs}
