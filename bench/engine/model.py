"""The model under measurement: one set of components, a pipeline for each solver."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, StableDiffusionPipeline

from darkroom.engine.engine import Engine
from darkroom.engine.handle import Handle

from .workload import Request

BUNDLED = Path("src/darkroom/models/bundled/landscapes")
SCHEDULERS = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler, "dpm++2m": DPMSolverMultistepScheduler}


@dataclass(frozen=True)
class Model:
    """Pipelines that share their components by identity, by solver."""

    pipes: dict[str, Any]

    @property
    def pipe(self) -> Any:
        return self.pipes["ddim"]

    def run(self, request: Request) -> np.ndarray:
        """Plain diffusers, one image."""
        return np.asarray(self.pipes[request.solver](**request.call, generator=seeded(request.seed)).images[0])

    def run_together(self, requests: list[Request]) -> list[np.ndarray]:
        """Plain diffusers, one call for requests that differ in prompt and seed only."""
        call = requests[0].call | {"prompt": [request.prompt for request in requests]}
        generators = [seeded(request.seed) for request in requests]
        return list(self.pipes[requests[0].solver](**call, generator=generators).images)

    def serve(self, **settings: Any) -> Engine:
        """An engine over all pipelines."""
        engine = Engine(**settings)
        for name, pipe in self.pipes.items():
            engine.add(pipe, name)
        return engine


def load(folder: Path) -> Model:
    """In float32, as a CPU runs it."""
    first = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    parts = {name: part for name, part in first.components.items() if name != "scheduler"}
    config = first.scheduler.config
    pipes = {}
    for name, kind in SCHEDULERS.items():
        pipes[name] = type(first)(**parts, scheduler=kind.from_config(config), requires_safety_checker=False)
        pipes[name].set_progress_bar_config(disable=True)
    return Model(pipes)


def seeded(seed: int) -> torch.Generator:
    """The generator that the engine makes of a seed, for plain diffusers."""
    return torch.Generator("cpu").manual_seed(seed)


def submit(engine: Engine, request: Request, **more: Any) -> Handle:
    """Ask the engine for what plain diffusers is asked for."""
    return engine.submit(model=request.solver, seed=request.seed, **request.call, **more)


@dataclass
class Stopwatch:
    """Seconds and calls of a plain pipeline's heavy methods."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    def timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method with a clock around it."""

        def run(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
                self.calls[name] = self.calls.get(name, 0) + 1

        return run


@contextmanager
def stopwatch(model: Model) -> Iterator[Stopwatch]:
    """Time the encoder, the denoiser and the decoder of plain runs; microseconds a call, and no trace after."""
    watch, pipe = Stopwatch(), model.pipe
    watched = {
        "encode": (pipe.text_encoder, "forward"),
        "denoise": (pipe.unet, "forward"),
        "decode": (pipe.vae, "decode"),
    }
    for name, (module, method) in watched.items():
        module.__dict__[method] = watch.timed(name, getattr(module, method))
    try:
        yield watch
    finally:
        for module, method in watched.values():
            del module.__dict__[method]
