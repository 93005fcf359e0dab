"""How long a new request waits for its first denoising step while the engine is busy, in ticks and in seconds."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from darkroom.engine.engine import Engine
from darkroom.engine.handle import Handle

from .figure import Figure
from .model import Model, submit
from .progress import say
from .size import Size
from .workload import Request, mixed

FLOOR_TICKS, AIM_TICKS = 2, 1
LASTING = 60  # steps of the company, so that it outlasts the probes


@dataclass
class Probe:
    """A request that notes the engine's tick when it is submitted and in the fiber after its first step.

    A tick that runs while it is submitted does not count: 1 means that the very next one took its first step.
    """

    engine: Engine
    submitted_tick: int = 0
    submitted_at: float = 0.0
    ticks: int | None = None
    seconds: float = 0.0

    def submit(self, request: Request) -> Handle:
        self.submitted_tick, self.submitted_at = self.engine.stats()["ticks"], time.perf_counter()
        return submit(self.engine, request, callback_on_step_end=self.note)

    def note(self, _: Any, step: int, __: Any, kept: dict[str, Any]) -> dict[str, Any]:
        """Called by the pipeline inside the tick that ran the step, before that tick is counted."""
        if self.ticks is None:
            self.ticks = self.engine.stats()["ticks"] - self.submitted_tick
            self.seconds = time.perf_counter() - self.submitted_at
        return kept


def measure(served: Model, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """Probes at random moments, at each load."""
    found: list[Figure] = []
    details = {}
    with served.serve() as engine:
        for others in size.company:
            probes = _probe(engine, others, size.probes)
            ticks = [probe.ticks for probe in probes if probe.ticks is not None]
            found += _figures(others, ticks, [probe.seconds for probe in probes])
            details[str(others)] = ticks
            say(f"join: beside {others} others {ticks}")
    return found, details


def _probe(engine: Engine, others: int, count: int) -> list[Probe]:
    company = _keep_busy(engine, others)
    chance, probes = random.Random(others), []
    for turn in range(count):
        time.sleep(chance.uniform(0.0, 0.5))
        probe = Probe(engine)
        probe.submit(replace(mixed(1, (1, 1), 500 + turn)[0], number=turn, steps=1)).result()
        probes.append(probe)
    company.set()
    return probes


def _keep_busy(engine: Engine, others: int) -> threading.Event:
    """Hold so many long requests in flight until the event is set; those that end are replaced."""
    stop = threading.Event()
    requests = [replace(request, steps=LASTING) for request in mixed(others, (LASTING, LASTING), 900)]
    handles = [submit(engine, request) for request in requests]

    def refill() -> None:
        while not stop.wait(0.02):
            for place, handle in enumerate(handles):
                if handle.done():
                    handles[place] = submit(engine, requests[place])
        for handle in handles:
            handle.cancel()

    threading.Thread(target=refill, daemon=True).start()
    time.sleep(1.0)
    return stop


def _figures(others: int, ticks: list[int], seconds: list[float]) -> list[Figure]:
    beside = f"first step beside {others} others"
    marks = (FLOOR_TICKS, AIM_TICKS, False)
    return [
        Figure("join", f"{beside}, median", median(ticks), "ticks", *marks),
        Figure("join", f"{beside}, worst of {len(ticks)}", max(ticks), "ticks", *marks),
        Figure("join", f"{beside}, median", median(seconds), "s"),
    ]
