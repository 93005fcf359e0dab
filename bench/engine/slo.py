"""Deadlines kept: Poisson arrivals, each with a deadline of so many times its seconds alone; batching against not."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from darkroom import errors
from darkroom.engine.engine import Engine
from darkroom.engine.handle import Handle

from .figure import Figure
from .model import Model, submit
from .progress import say
from .size import Size
from .workload import Request, arriving, mixed, poisson_times

ABOUT = (
    "Two engines over the same model: ours, and one that runs one request after another (batching off, one in flight)."
    " Both get deadline_s, so what is late ends and takes no more. Capacity is one over the mean seconds alone."
)
SLOS = (1.2, 1.5, 2.0)
LOADS = (0.9, 1.5)


@dataclass(frozen=True)
class Run:
    """One system, one load, one target: the part of the requests that came in time."""

    system: str
    load: float
    slo: float
    turn: int
    kept: float


class Serial:
    """First come first served: the next request is handed over when the last one has ended; nobody else's deadline."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(self, requests: list[Request], times: list[float], within_s: list[float]) -> float:
        started, kept = time.monotonic(), 0
        for request, at, allowed_s in zip(requests, times, within_s, strict=True):
            time.sleep(max(0.0, started + at - time.monotonic()))
            left_s = started + at + allowed_s - time.monotonic()
            kept += left_s > 0 and _is_kept(submit(self._engine, request, deadline_s=left_s))
        return kept / len(requests)


class Together:
    """Every request is handed over when it comes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(self, requests: list[Request], times: list[float], within_s: list[float]) -> float:
        started, handles = time.monotonic(), []
        for request, at, allowed_s in zip(requests, times, within_s, strict=True):
            time.sleep(max(0.0, started + at - time.monotonic()))
            handles.append(submit(self._engine, request, deadline_s=allowed_s))
        return sum(map(_is_kept, handles)) / len(requests)


def measure(served: Model, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """Every load and target on both, repeat after repeat."""
    runs: list[Run] = []
    with served.serve() as ours, served.serve(batching=False) as serial:
        for engine in (ours, serial):
            _warm_up(engine, size)
        for turn in range(size.pairs):
            alone = _seconds_alone(serial, size.arrival_steps, turn)
            for load in LOADS:
                for slo in SLOS:
                    runs += _pair(Together(ours), Serial(serial), size, load, slo, turn, alone)
    return figures(runs), {"about": ABOUT, "runs": [asdict(run) for run in runs]}


def figures(runs: list[Run]) -> list[Figure]:
    """Means over repeats; ours is to be ahead or level."""
    found = []
    for load, slo in sorted({(run.load, run.slo) for run in runs}):
        kept = {
            system: mean(run.kept for run in runs if (run.load, run.slo, run.system) == (load, slo, system))
            for system in ("ours", "first come")
        }
        title = f"load {load:g}, within {slo:g}x solo"
        found.append(Figure("slo", f"{title}: engine", kept["ours"], "%", kept["first come"]))
        found.append(Figure("slo", f"{title}: first come first served", kept["first come"], "%"))
    return found


def _pair(
    ours: Together, serial: Serial, size: Size, load: float, slo: float, turn: int, alone: dict[int, float]
) -> list[Run]:
    requests = arriving(size.arrivals, size.arrival_steps, 3000 + turn)
    times = poisson_times(size.arrivals, load / mean(alone[request.steps] for request in requests), turn)
    within_s = [slo * alone[request.steps] for request in requests]
    runs = [
        Run("ours", load, slo, turn, ours.run(requests, times, within_s)),
        Run("first come", load, slo, turn, serial.run(requests, times, within_s)),
    ]
    say(f"slo: load {load:g}, {slo:g}x: " + ", ".join(f"{run.system} {run.kept:.0%}" for run in runs))
    return runs


def _is_kept(handle: Handle) -> bool:
    try:
        handle.result()
    except errors.DeadlineExceeded:
        return False
    return True


def _seconds_alone(engine: Engine, steps: tuple[int, ...], turn: int) -> dict[int, float]:
    """The better of two, on an engine with nothing else to do."""
    return {count: min(_seconds_of(engine, count, f"{turn} {again}") for again in range(2)) for count in steps}


def _seconds_of(engine: Engine, steps: int, again: str) -> float:
    started = time.monotonic()
    submit(engine, Request(0, f"a quiet lake {again}", steps, 5.0, "ddim", 7)).result()
    return time.monotonic() - started


def _warm_up(engine: Engine, size: Size) -> None:
    """Every kind of request once together and once alone, so that curves and forecasts are there."""
    for handle in [submit(engine, request) for request in mixed(size.requests, (4, 12), 810)]:
        handle.result()
    for place, request in enumerate(arriving(2 * len(size.arrival_steps), size.arrival_steps, 820 + size.arrivals)):
        handle = submit(engine, request)
        if place % 2:
            handle.result()
