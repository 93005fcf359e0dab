"""Deadlines kept: Poisson arrivals, each with a deadline of so many times its seconds alone; batching against not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from statistics import mean
from typing import Any

from darkroom import errors
from darkroom.engine.engine import Engine
from darkroom.engine.handle import Handle

from .figure import Figure
from .model import Model, submit
from .progress import say
from .size import Size
from .workload import Request, arriving, arriving_sizes, mixed, poisson_times

ABOUT = (
    "Two engines over the same model: ours, and one that runs one request after another (batching off, one in flight)."
    " Both get deadline_s, so what is late ends and takes no more. Keyed rounds: plain diffusers, at most four"
    " requests of equal steps and size in a call, these kinds in turn, what is late already dropped. Capacity is one"
    " over the mean seconds alone. Sizes: 192x192, 320x192 and 256x256, each with a number of steps of its own."
)
LOADS = (0.9, 1.5)
Draw = Callable[[int, tuple[int, ...], int], list[Request]]
WORKLOADS: dict[str, tuple[Draw, tuple[float, ...]]] = {
    "steps": (arriving, (1.2, 1.5, 2.0)),
    "sizes": (arriving_sizes, (1.5,)),
}
SYSTEMS = ("ours", "first come", "keyed rounds")
MOST = 4  # requests of a plain call
Kind = tuple[int, tuple[int, int] | None]


@dataclass(frozen=True)
class Run:
    """One system, one load, one target: the part of the requests that came in time."""

    workload: str
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


class Keyed:
    """Requests of one kind in one plain call, the kinds in turn; what is late already is dropped."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def run(self, requests: list[Request], times: list[float], within_s: list[float]) -> float:
        coming = list(zip(requests, times, within_s, strict=True))
        lines: dict[Kind, list[tuple[Request, float]]] = {}
        started, kept = time.monotonic(), 0
        while coming or lines:
            now = time.monotonic() - started
            while coming and coming[0][1] <= now:
                request, at, allowed_s = coming.pop(0)
                lines.setdefault(_kind(request), []).append((request, at + allowed_s))
            lines = {kind: alive for kind, line in lines.items() if (alive := [one for one in line if one[1] > now])}
            if lines:
                kept += self._run_first(lines, started)
            elif coming:
                time.sleep(max(0.0, coming[0][1] - now))
        return kept / len(requests)

    def _run_first(self, lines: dict[Kind, list[tuple[Request, float]]], started: float) -> int:
        """The first kind's oldest; the kind goes to the end."""
        kind = next(iter(lines))
        line = lines.pop(kind)
        batch, rest = line[:MOST], line[MOST:]
        if rest:
            lines[kind] = rest
        self._model.run_together([request for request, _ in batch])
        return sum(deadline >= time.monotonic() - started for _, deadline in batch)


def measure(plain: Model, served: Model, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """Every load and target on all, repeat after repeat."""
    runs: list[Run] = []
    with served.serve() as ours, served.serve(batching=False) as serial:
        for engine in (ours, serial):
            _warm_up(engine, size)
        for turn in range(size.pairs):
            systems = (Together(ours), Serial(serial), Keyed(plain))
            for workload, (draw, slos) in WORKLOADS.items():
                requests = draw(size.arrivals, size.arrival_steps, 3000 + turn)
                alone = _seconds_alone(serial, requests, turn)
                for load, slo in [(load, slo) for load in LOADS for slo in slos]:
                    kept = _kept(systems, requests, load, slo, turn, alone)
                    runs += [Run(workload, system, load, slo, turn, part) for system, part in kept.items()]
                    say(f"slo, {workload}: load {load:g}, {slo:g}x: {kept}")
    return figures(runs), {"about": ABOUT, "runs": [asdict(run) for run in runs]}


def figures(runs: list[Run]) -> list[Figure]:
    """Means over repeats; ours is to be ahead or level."""
    found = []
    for case in dict.fromkeys((run.workload, run.load, run.slo) for run in runs):
        of_case = [run for run in runs if (run.workload, run.load, run.slo) == case]
        kept = {system: mean(run.kept for run in of_case if run.system == system) for system in SYSTEMS}
        title = f"{case[0]}, load {case[1]:g}, within {case[2]:g}x solo"
        best = max(kept["first come"], kept["keyed rounds"])
        found.append(Figure("slo", f"{title}: engine", kept["ours"], "%", best))
        found.append(Figure("slo", f"{title}: first come first served", kept["first come"], "%"))
        found.append(Figure("slo", f"{title}: keyed rounds", kept["keyed rounds"], "%"))
    return found


def _kept(
    systems: tuple[Together, Serial, Keyed],
    requests: list[Request],
    load: float,
    slo: float,
    turn: int,
    alone: dict[Kind, float],
) -> dict[str, float]:
    times = poisson_times(len(requests), load / mean(alone[_kind(request)] for request in requests), turn)
    within_s = [slo * alone[_kind(request)] for request in requests]
    return {name: one.run(requests, times, within_s) for name, one in zip(SYSTEMS, systems, strict=True)}


def _kind(request: Request) -> Kind:
    return request.steps, request.size


def _is_kept(handle: Handle) -> bool:
    try:
        handle.result()
    except errors.DeadlineExceeded:
        return False
    return True


def _seconds_alone(engine: Engine, requests: list[Request], turn: int) -> dict[Kind, float]:
    """The better of two, on an engine with nothing else to do."""
    kinds = {_kind(request): request for request in requests}
    return {kind: min(_seconds_of(engine, one, f"{turn} {again}") for again in range(2)) for kind, one in kinds.items()}


def _seconds_of(engine: Engine, request: Request, again: str) -> float:
    started = time.monotonic()
    submit(engine, replace(request, prompt=f"a quiet lake {again}", seed=7)).result()
    return time.monotonic() - started


def _warm_up(engine: Engine, size: Size) -> None:
    """Every kind of request together and alone, so that curves and forecasts are there."""
    for handle in [submit(engine, request) for request in mixed(size.requests, (4, 12), 810)]:
        handle.result()
    count, turn = 2 * len(size.arrival_steps), 820 + size.arrivals
    drawn = [request for draw, _ in WORKLOADS.values() for request in draw(count, size.arrival_steps, turn)]
    for place, request in enumerate(drawn):
        handle = submit(engine, request)
        if place % 2:
            handle.result()
