"""Serves a family's requests together through one engine and holds each result against its plain call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch

from darkroom.engine.engine import Engine
from tests.parity import plain
from tests.parity.families import SERVED, Family, Request

FLOOR = 5e-6  # the house's bound on the largest difference of pixels in [0, 1]
TIMES_OWN_NOISE = 3.0


@dataclass
class Served:
    """What one engine made of the requests, in their order, and its counters at the end."""

    images: dict[int, np.ndarray]
    stats: dict[str, Any]

    @property
    def unbatched(self) -> dict[str, str]:
        """Methods that the engine found unsafe to batch, and why."""
        counters = self.stats["modules"].items()
        return {name: each["unbatched_because"] for name, each in counters if each["unbatched_because"]}


@dataclass
class Line:
    """One line of the table that closes the run; `noise` is None where bytes had to be equal."""

    family: str
    what: str
    difference: float
    noise: float | None
    requests: int = 1

    @property
    def bound(self) -> float:
        return 0.0 if self.noise is None else max(FLOOR, TIMES_OWN_NOISE * self.noise)

    @property
    def holds(self) -> bool:
        return self.difference <= self.bound

    def __add__(self, other: Line) -> Line:
        """The worse of the two, for all their requests."""
        worse = max(self, other, key=lambda line: (line.difference - line.bound, line.difference))
        return replace(worse, requests=self.requests + other.requests)


class Report:
    """The worst of every kind of comparison, in the order they were made."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], Line] = {}

    def hold(self, lines: Iterable[Line]) -> None:
        """Put comparisons into the table and assert their bounds."""
        lines = list(lines)
        for line in lines:
            key = (line.family, line.what)
            self.lines[key] = self.lines[key] + line if key in self.lines else line
        assert [line for line in lines if not line.holds] == []


report = Report()


def open_engine(family: Family, **options: Any) -> Engine:
    """An engine that serves every pipeline of the family under its name."""
    engine = Engine(**options)
    for name, pipe in family.pipes().items():
        make_fresh(pipe)
        engine.add(pipe, name=name)
    return engine


def make_fresh(pipe: Any) -> None:
    """Undo what a first plain call leaves on modules, so that the engine meets them as they are after loading."""
    for part in pipe.components.values():
        for module in part.modules() if isinstance(part, torch.nn.Module) else ():
            module.__dict__.pop("_diffusers_hook", None)


def submit(engine: Engine, family: Family, request: Request, **more: Any) -> Any:
    """Hand one request to the engine; `more` goes into the pipeline's call."""
    return engine.submit(model=request.pipe, seed=request.seed, **plain.arguments(family, request), **more)


def serve(family: Family, requests: Sequence[Request], **options: Any) -> Served:
    """All requests at once through one engine."""
    with open_engine(family, **options) as engine:
        handles = [submit(engine, family, request) for request in requests]
        images = {index: plain.pixels(handle.result(timeout=120)) for index, handle in enumerate(handles)}
        stats = engine.stats()
    assert_conserved(stats, len(requests))
    return Served(images, stats)


def assert_conserved(stats: dict[str, Any], finished: int) -> None:
    assert (stats["waiting"], stats["running"], stats["finished"]) == (0, 0, finished)


def plain_results(name: str) -> tuple[list[np.ndarray], int]:
    """Plain results of a family's requests one after another, and the rows that went through its denoiser."""
    return _plain_results(name, torch.get_num_threads())


@cache
def _plain_results(name: str, threads: int) -> tuple[list[np.ndarray], int]:
    family = SERVED[name]
    denoiser = getattr(next(iter(family.pipes().values())), family.denoiser)
    with counting_rows(denoiser) as rows:
        return [plain.run(family, request) for request in family.requests], rows()


def reference(name: str, index: int) -> np.ndarray:
    """The plain result of one of a family's requests."""
    return plain_results(name)[0][index]


def reference_noise(name: str, index: int) -> float:
    """How far plain diffusers is from itself on that request."""
    return _reference_noise(name, index, torch.get_num_threads())


@cache
def _reference_noise(name: str, index: int, threads: int) -> float:
    family = SERVED[name]
    return plain.own_noise(family, family.requests[index], reference(name, index))


def compare(name: str, index: int, image: np.ndarray, what: str = "") -> Line:
    """One served image against the plain result of the family's request `index`.

    Within the floor, the noise beside it is that of the first request of the same pipeline, which saves many calls.
    """
    requests = SERVED[name].requests
    difference = plain.largest_difference(image, reference(name, index))
    first = next(i for i, request in enumerate(requests) if request.pipe == requests[index].pipe)
    noise = reference_noise(name, first if difference <= FLOOR else index)
    return Line(name, what or requests[index].pipe, difference, noise)


def hold_against_plain(name: str, images: Mapping[int, np.ndarray], what: str = "") -> None:
    """Assert the bound on every image of a family by its request's index."""
    report.hold(compare(name, index, image, what) for index, image in images.items())


def hold(family: Family, request: Request, image: np.ndarray, reference: np.ndarray, what: str) -> None:
    """Assert the bound on an image of a request that belongs to no family's list."""
    noise = plain.own_noise(family, request, reference)
    report.hold([Line(family.name, what, plain.largest_difference(image, reference), noise)])


@contextmanager
def counting_rows(module: torch.nn.Module) -> Iterator[Callable[[], int]]:
    """How many rows pass through a module's forward meanwhile."""
    seen = [0]

    def count(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows = next(v for v in (*args, *kwargs.values()) if isinstance(v, list) or (torch.is_tensor(v) and v.dim() > 2))
        seen[0] += len(rows)

    hook = module.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield lambda: seen[0]
    finally:
        hook.remove()


def one_after_another(family: Family, requests: Sequence[Request]) -> dict[int, np.ndarray]:
    """Each request's image with nobody else in the engine."""
    with open_engine(family, reproducible=True) as engine:
        return {
            index: plain.pixels(submit(engine, family, request).result(timeout=120))
            for index, request in enumerate(requests)
        }


def hold_bytes(family: Family, what: str, one: np.ndarray, other: np.ndarray) -> None:
    difference = 0.0 if one.tobytes() == other.tobytes() else plain.largest_difference(one, other) or 1.0
    report.hold([Line(family.name, what, difference, None)])


def hold_alone_and_in_company(family: Family, requests: Sequence[Request]) -> dict[int, np.ndarray]:
    """Assert that bytes are the same alone, in company and in company the other way round."""
    alone = one_after_another(family, requests)
    together = serve(family, requests, reproducible=True).images
    backwards = serve(family, requests[::-1], reproducible=True).images
    for index, image in alone.items():
        hold_bytes(family, "reproducible", image, together[index])
        hold_bytes(family, "reproducible", image, backwards[len(alone) - 1 - index])
    return together
