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
    " request's seconds alone; both measured anew before each repeat. Percentiles are nearest rank over all repeats of"
    " a load together, whose requests are the same for each system; ratios compare those. The engine has warmed up on"
    " another load."
)
SLO = 2.0  # times the seconds alone


@dataclass(frozen=True)
class Run:
    """One system under one load; `latencies_s` in order of arrival."""

    system: str
    load: float
    turn: int
    p50_s: float
    p99_s: float
    mean_s: float
    attained: float
    latencies_s: tuple[float, ...]


def measure(model: Model, served: Model, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """Every load on every system, repeat after repeat, the order of the systems turning."""
    runs: list[Run] = []
    slower: list[float] = []
    with served.serve() as engine:
        _warm_up(engine, size)
        for turn in range(size.pairs):
            alone, ratios = _seconds_alone(model, engine, size.arrival_steps, turn)
            slower += ratios
            say(f"arrivals {turn + 1}/{size.pairs}: alone " + ", ".join(f"{n}: {s:.2f} s" for n, s in alone.items()))
            for load in size.loads:
                runs += _one_load(model, engine, size, load, turn, alone)
    found = [Figure("arrivals", "one request with nothing beside it, engine over plain", median(slower), "x")]
    for load in size.loads:
        found += figures([run for run in runs if run.load == load], load)
    return found, {"about": ABOUT, "runs": [asdict(run) for run in runs]}


def figures(runs: list[Run], load: float) -> list[Figure]:
    """Percentiles over all repeats, and how far the engine's p99 is ahead of each other system's; a tie is not ahead.

    One run has too few requests for a p99 that is not its slowest one.
    """
    found = []
    p99_s: dict[str, float] = {}
    for system in ("engine", "plain", "windowed"):
        own = [run for run in runs if run.system == system]
        waits_s = [late for run in own for late in run.latencies_s]
        title, p99_s[system] = f"load {load:g}, {system}", percentile(waits_s, 0.99)
        found += [
            Figure("arrivals", f"{title}: p50", percentile(waits_s, 0.5), "s"),
            Figure("arrivals", f"{title}: p99", p99_s[system], "s"),
            Figure("arrivals", f"{title}: within {SLO:g}x solo", mean(run.attained for run in own), "%"),
        ]
    for other in ("plain", "windowed"):
        name, ahead = f"load {load:g}: p99 of {other} over the engine's", p99_s[other] / p99_s["engine"]
        found.append(Figure("arrivals", name, ahead, "x", 1.0, is_tie_enough=False))
    return found


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
    return Run(system, load, turn, p50, p99, mean(latencies), mean(kept), tuple(latencies))


def _seconds_alone(
    model: Model, engine: Engine, steps: tuple[int, ...], turn: int
) -> tuple[dict[int, float], list[float]]:
    """Steps -> seconds of plain diffusers with nothing beside it, the better of two; and the engine's over plain's."""
    seconds, ratios = {}, []
    for count in steps:
        requests = [Request(0, f"a lake at night {turn} {again}", count, 5.0, "ddim", again) for again in range(2)]
        pairs = [(_seconds_of(plain(model), request), _seconds_of(Served(engine), request)) for request in requests]
        seconds[count] = min(one for one, _ in pairs)
        ratios += [other / one for one, other in pairs]
    return seconds, ratios


def _seconds_of(system: System, request: Request) -> float:
    return run_open_loop(system, [request], [0.0])[0]


def _warm_up(engine: Engine, size: Size) -> None:
    served = Served(engine)
    for request in mixed(size.requests, (4, 12), 800):
        served.submit(request)
    served.finish()
