"""The service beside the bare engine: one image's added latency, and images a second of many at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import httpx
import torch

from bench.engine.figure import Figure
from darkroom import config
from darkroom.engine.engine import Engine
from darkroom.models import loading
from darkroom.models.catalogue import catalogue
from darkroom.models.request import validate
from darkroom.models.tasks import call_of, pipeline_for

from .size import Size

PROMPT = "a lighthouse by the sea, number {}"


class Bare:
    """The engine alone, over the model as a worker loads it."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        settings = config.load()
        self._loaded = loading.load(catalogue(settings).find("landscapes"), is_offline=True)
        self._offer = self._loaded.offer()
        self.engine = Engine()
        self._names: set[str] = set()

    def make(self, numbers: range, steps: int) -> float:
        """Seconds for so many images at once."""
        began = time.perf_counter()
        handles = [self._submit(number, steps) for number in numbers]
        for handle in handles:
            handle.result()
        return time.perf_counter() - began

    def _submit(self, number: int, steps: int) -> Any:
        asked = {"prompt": PROMPT.format(number), "num_inference_steps": steps, "seed": number}
        request = validate(asked, self._offer)
        name = str(request.solver)
        if name not in self._names:
            pipe = pipeline_for(self._loaded.pipe, request.task, request.solver, "landscapes")
            self.engine.add(pipe, name)
            self._names.add(name)
        return self.engine.submit(model=name, seed=request.seed, **call_of(self._loaded.pipe, request))


class Served:
    """The same images from the service."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=300, limits=httpx.Limits(max_connections=64))

    def make(self, numbers: range, steps: int) -> float:
        """Seconds for so many images at once, each from its own request to its answer."""
        began = time.perf_counter()
        with ThreadPoolExecutor(len(numbers)) as pool:
            list(pool.map(lambda number: self._one(number, steps), numbers))
        return time.perf_counter() - began

    def _one(self, number: int, steps: int) -> None:
        asked = {"prompt": PROMPT.format(number), "num_inference_steps": steps, "seed": number}
        answer = self._client.post("/v1/jobs", json={"input": asked}, headers={"Prefer": "wait=120"})
        job = answer.json()
        if answer.status_code != 200 or job["state"] != "succeeded":
            raise RuntimeError(f"{answer.status_code}: {answer.text[:500]}")


def measure_latency(url: str, bare: Bare, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """One image at a time, in turn; the median of the differences."""
    served, added, alone = Served(url), [], []
    for warm in (bare, served):
        warm.make(range(1), size.steps)
    for turn in range(size.pairs * size.images):
        numbers = range(1000 + turn, 1001 + turn)
        without = bare.make(numbers, size.steps)
        added.append((served.make(numbers, size.steps) - without) * 1000)
        alone.append(without * 1000)
    figures = [
        Figure("latency", "one image on the bare engine", median(alone), "ms"),
        Figure("latency", "added by the service", median(added), "ms", 50.0, 20.0, is_more_better=False),
    ]
    return figures, {"added_ms": added, "alone_ms": alone}


def measure_throughput(url: str, bare: Bare, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """Many at once, in turn; the median of the ratios."""
    served, seconds = Served(url), {"bare": [], "served": []}
    for warm in (bare, served):
        warm.make(range(size.concurrent), size.steps)
    for turn in range(1, size.pairs + 1):
        numbers = range(turn * 10_000, turn * 10_000 + size.concurrent)
        seconds["bare"].append(bare.make(numbers, size.steps))
        seconds["served"].append(served.make(numbers, size.steps))
    share = median(b / s for b, s in zip(seconds["bare"], seconds["served"], strict=True))
    figures = [
        Figure("throughput", f"{name}, images a second", size.concurrent / median(values), "/s")
        for name, values in seconds.items()
    ]
    return [*figures, Figure("throughput", "service over bare engine", share, "%", 0.90, 0.97)], {"seconds": seconds}
