"""That batching changes no picture: against plain diffusers, and bytes in the reproducible regime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from darkroom.engine.engine import Engine

from .figure import Figure
from .model import Model, submit
from .progress import say
from .size import Size
from .workload import Request, mixed

FLOOR, AIM, NOISE_FACTOR = 5e-6, 2e-6, 3.0
LISTS = (2, 4)  # prompts of a call whose first is compared with the same prompt alone


def measure(model: Model, served: Model, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """Largest difference of a pixel value (0 to 1) over all requests; and whose bytes stay."""
    requests = mixed(size.requests, size.steps, 700)
    plain = [model.run(request) for request in requests]
    say("parity: plain images made")
    with served.serve() as engine:
        together = _images(engine, requests)
        same = _same_bytes(engine, requests[: size.reproducible], requests[size.reproducible :])
    noise = [_own_noise(model, request, image) for request, image in zip(requests, plain, strict=True)]
    differences = [_difference(one, other) for one, other in zip(together, plain, strict=True)]
    say(f"parity: largest difference {max(differences):.1e}, plain diffusers against itself {max(noise):.1e}")
    return figures(differences, noise, same), {"differences": differences, "own_noise": noise, "same_bytes": same}


def figures(differences: list[float], noise: list[float], same: list[bool]) -> list[Figure]:
    """Each request may differ by a fixed floor, or three times what plain diffusers differs from itself on it."""
    parts = [found / max(FLOOR, NOISE_FACTOR * own) for found, own in zip(differences, noise, strict=True)]
    return [
        Figure("parity", "difference to plain diffusers, of what that request may", max(parts), "x", 1.0, None, False),
        Figure("parity", "largest difference to plain diffusers", max(differences), "", None, AIM, False),
        Figure("parity", "plain diffusers against itself (in lists of 2 and 4, other thread count)", max(noise)),
        Figure("parity", "reproducible: bytes equal alone and together", sum(same) / len(same), "%", 1.0, 1.0),
    ]


def _images(engine: Engine, requests: list[Request], **more: Any) -> list[np.ndarray]:
    handles = [submit(engine, request, **more) for request in requests]
    return [np.asarray(handle.result().images[0]) for handle in handles]


def _same_bytes(engine: Engine, requests: list[Request], company: list[Request]) -> list[bool]:
    alone = [_images(engine, [request], reproducible=True)[0] for request in requests]
    others = [submit(engine, request) for request in company]
    together = _images(engine, requests, reproducible=True)
    for handle in others:
        handle.result()
    return [one.tobytes() == other.tobytes() for one, other in zip(alone, together, strict=True)]


def _own_noise(model: Model, request: Request, image: np.ndarray) -> float:
    """The same picture from plain diffusers as the first of several, and at another thread count."""
    others = [model.run_together(_list(request, count))[0] for count in LISTS]
    with _other_threads():
        others += [model.run(request), model.run_together(_list(request, LISTS[0]))[0]]
    return max(_difference(other, image) for other in others)


def _list(request: Request, count: int) -> list[Request]:
    more = (replace(request, prompt=f"{request.prompt} {k}", seed=request.seed + k) for k in range(1, count))
    return [request, *more]


@contextmanager
def _other_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
