"""Open loop: requests arrive when they arrive, whatever is still running; three systems, the same arrivals."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any

from darkroom.engine.engine import Engine

from .figure import Figure, percentile
from .model import Model
from .progress import say
from .size import Size
from .systems import Served, System, Windowed, plain
from .workload import Request, arriving, mixed, poisson_times

ABOUT = (
    "One solver and one guidance value, so that the windowed batcher may put any requests of equal steps into one call;"
    " steps in equal parts. Capacity is one over the mean seconds of plain diffusers alone, and the deadline twice that"
    " request's seconds alone; both measured anew before each repeat. Percentiles are nearest rank within a run; the"
    " median over repeats. The engine has warmed up on another load."
)
SLO = 2.0  # times the seconds alone


@dataclass(frozen=True)
class Run:
    """One system under one load."""

    system: str
    load: float
    turn: int
    p50_s: float
    p99_s: float
    mean_s: float
    attained: float


def measure(model: Model, served: Model, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """Every load on every system, repeat after repeat, the order of the systems turning."""
    runs: list[Run] = []
    with served.serve() as engine:
        _warm_up(engine, size)
        for turn in range(size.pairs):
            alone = _seconds_alone(model, size.arrival_steps)
            say(f"arrivals {turn + 1}/{size.pairs}: alone " + ", ".join(f"{n}: {s:.2f} s" for n, s in alone.items()))
            for load in size.loads:
                runs += _one_load(model, engine, size, load, turn, alone)
    found = [figure for load in size.loads for figure in figures([run for run in runs if run.load == load], load)]
    return found, {"about": ABOUT, "runs": [asdict(run) for run in runs]}


def figures(runs: list[Run], load: float) -> list[Figure]:
    """Medians over repeats, and by how much the engine's p99 is ahead of the better of the others."""
    found, p99 = [], {}
    for system in dict.fromkeys(run.system for run in runs):
        own = [run for run in runs if run.system == system]
        p99[system] = median(run.p99_s for run in own)
        title = f"load {load:g}, {system}"
        found += [
            Figure("arrivals", f"{title}: p50", median(run.p50_s for run in own), "s"),
            Figure("arrivals", f"{title}: p99", p99[system], "s"),
            Figure("arrivals", f"{title}: within {SLO:g}x solo", mean(run.attained for run in own), "%"),
        ]
    ahead = min(value for system, value in p99.items() if system != "engine") / p99["engine"]
    return [*found, Figure("arrivals", f"load {load:g}: p99 of the better other, over the engine's", ahead, "x", 1.0)]


def _one_load(model: Model, engine: Engine, size: Size, load: float, turn: int, alone: dict[int, float]) -> list[Run]:
    systems: dict[str, Callable[[], System]] = {
        "engine": lambda: Served(engine),
        "plain": lambda: plain(model),
        "windowed": lambda: Windowed(model, 4, size.window_s),
    }
    names = list(systems)
    order = names[turn % len(names) :] + names[: turn % len(names)]
    requests = arriving(size.arrivals, size.arrival_steps, 1000 + 10 * turn + size.loads.index(load))
    capacity = 1 / mean(alone[request.steps] for request in requests)
    times = poisson_times(size.arrivals, load * capacity, turn)
    runs = []
    for name in order:
        latencies = run_open_loop(systems[name](), requests, times)
        runs.append(_summary(name, load, turn, requests, latencies, alone))
        say(f"arrivals at {load:g}, {name}: p50 {runs[-1].p50_s:.2f} s, p99 {runs[-1].p99_s:.2f} s")
    return runs


def run_open_loop(system: System, requests: list[Request], times: list[float]) -> list[float]:
    """Seconds from each request's arrival to its image, in the order given."""
    started = time.time()
    for request, at in zip(requests, times, strict=True):
        time.sleep(max(0.0, started + at - time.time()))
        system.submit(request)
    done = system.finish()
    return [done[request.number] - started - at for request, at in zip(requests, times, strict=True)]


def _summary(
    system: str, load: float, turn: int, requests: list[Request], latencies: list[float], alone: dict[int, float]
) -> Run:
    kept = [late <= SLO * alone[request.steps] for request, late in zip(requests, latencies, strict=True)]
    p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
    return Run(system, load, turn, p50, p99, mean(latencies), mean(kept))


def _seconds_alone(model: Model, steps: tuple[int, ...]) -> dict[int, float]:
    """Steps -> seconds of plain diffusers with nothing beside it, the better of two."""
    seconds = {}
    for count in steps:
        request = Request(0, "a lake at night", count, 5.0, "ddim", count)
        seconds[count] = min(_seconds_of(model, request) for _ in range(2))
    return seconds


def _seconds_of(model: Model, request: Request) -> float:
    started = time.perf_counter()
    model.run(request)
    return time.perf_counter() - started


def _warm_up(engine: Engine, size: Size) -> None:
    served = Served(engine)
    for request in mixed(size.requests, (4, 12), 800):
        served.submit(request)
    served.finish()
