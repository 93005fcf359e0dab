"""Which requests come when: drawn from a seed before anything is sent; pure.

Open loop: arrivals are a plan and never wait for answers. A generator that waits sends less just when the service is
slow, and leaves its worst moments out of the figures ("coordinated omission", Gil Tene, How NOT to Measure Latency).
A `Crowd` is the closed loop: so many users, each of whom waits for an answer before asking again.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

PROMPTS = (
    "a lighthouse in a storm",
    "night, full moon over a lake",
    "hills at dawn, mist in the valley",
    "a beautiful sunset over mountains",
    "snow on a quiet bay",
    "a river through autumn woods",
)
MAX_SEED = 2**31 - 1
TEXT_TO_IMAGE = "text-to-image"

Pattern = Literal["poisson", "burst", "ramp", "spike"]
Size = tuple[int, int]


@dataclass(frozen=True)
class Mix:
    """What requests are like: each is drawn evenly from these, image seeds too. Where `guidance`, `sizes` (width and
    height in pixels) or `adapters` is empty, requests say nothing of it."""

    steps: tuple[int, ...]
    prompts: tuple[str, ...] = PROMPTS
    images: int = 1
    model: str | None = None
    guidance: tuple[float, ...] = ()
    sizes: tuple[Size, ...] = ()
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arrivals:
    """`rate` requests a second on average; as many as `requests` says, or those within `duration_s`.

    poisson: gaps are exponential, the one before the first too. burst: `burst_size` arrive at once, and bursts are
    Poisson at `rate / burst_size`. ramp: Poisson at a rate that rises evenly from `ramp_from * rate` to `rate`.
    spike: Poisson at `rate`, in the middle third of the time at `spike` times that; so not `rate` on average.
    """

    pattern: Pattern
    rate: float
    requests: int | None = None
    duration_s: float | None = None
    burst_size: int = 8
    ramp_from: float = 0.0
    spike: float = 10.0


@dataclass(frozen=True)
class Crowd:
    """So many users, each with one request at a time and `think_s` seconds between an answer and the next request."""

    users: int
    requests: int | None = None
    duration_s: float | None = None
    think_s: float = 0.0


@dataclass(frozen=True)
class Wanted:
    """One request of the plan; `at_s` counts from the plan's start. What is None is left to the service."""

    number: int
    at_s: float
    steps: int
    prompt: str
    seed: int
    images: int = 1
    model: str | None = None
    negative_prompt: str | None = None
    task: str = TEXT_TO_IMAGE
    guidance: float | None = None
    size: Size | None = None
    adapters: tuple[str, ...] = ()
    tenant: str = ""

    @property
    def kind(self) -> str:
        """What decides how long it takes alone, in words: `8 steps, 4 images`."""
        return ", ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        yield f"{self.steps} steps"
        if self.images != 1:
            yield f"{self.images} images"
        if self.size is not None:
            yield f"{self.size[0]}x{self.size[1]}"
        if self.guidance is not None:
            yield "guided" if self.guidance > 1 else "not guided"
        if self.task != TEXT_TO_IMAGE:
            yield self.task
        if self.model is not None:
            yield self.model


def plan_of(arrivals: Arrivals, mix: Mix, seed: int) -> list[Wanted]:
    """The requests in the order of their arrival; the same for the same arguments."""
    rng = random.Random(seed)
    return [wanted_of(number, at_s, mix, rng) for number, at_s in enumerate(_times(arrivals, rng))]


def wanted_of(number: int, at_s: float, mix: Mix, rng: random.Random, steps: int | None = None) -> Wanted:
    """A request drawn from the mix."""
    drawn = rng.choice(mix.steps)
    return Wanted(
        number,
        at_s,
        drawn if steps is None else steps,
        rng.choice(mix.prompts),
        rng.randint(0, MAX_SEED),
        images=mix.images,
        model=mix.model,
        guidance=rng.choice(mix.guidance) if mix.guidance else None,
        size=rng.choice(mix.sizes) if mix.sizes else None,
        adapters=(rng.choice(mix.adapters),) if mix.adapters else (),
    )


def at_once(count: int, mix: Mix, seed: int) -> list[Wanted]:
    """So many requests, all at the start, with the step counts in turn: what measures the capacity."""
    rng = random.Random(seed)
    return [wanted_of(n, 0.0, mix, rng, mix.steps[n % len(mix.steps)]) for n in range(count)]


def one_of_each(mix: Mix, seed: int = 0) -> list[Wanted]:
    """A request of each kind that the mix can give, those that come most first."""
    rng = random.Random(seed)
    every = product(sorted(mix.steps), mix.guidance or (None,), mix.sizes or (None,))
    found: dict[str, Wanted] = {}
    times: Counter[str] = Counter()
    for steps, guidance, size in every:
        alone = Mix(
            (steps,),
            mix.prompts,
            mix.images,
            mix.model,
            () if guidance is None else (guidance,),
            () if size is None else (size,),
            mix.adapters,
        )
        wanted = wanted_of(len(found), 0.0, alone, rng)
        found.setdefault(wanted.kind, wanted)
        times[wanted.kind] += 1
    return [found[kind] for kind, _ in times.most_common()]


def _times(arrivals: Arrivals, rng: random.Random) -> Sequence[float]:
    times: list[float] = []
    for at_s in _endless(arrivals, rng):
        has_all = arrivals.requests is not None and len(times) >= arrivals.requests
        if has_all or (arrivals.duration_s is not None and at_s >= arrivals.duration_s):
            break
        times.append(at_s)
    return times


def _endless(arrivals: Arrivals, rng: random.Random) -> Iterator[float]:
    if arrivals.pattern == "ramp":
        yield from _ramp(arrivals, rng)
    if arrivals.pattern == "spike":
        yield from _spike(arrivals, rng)
    size = arrivals.burst_size if arrivals.pattern == "burst" else 1
    at_s = 0.0
    while True:
        at_s += rng.expovariate(arrivals.rate / size)
        yield from [at_s] * size


def _ramp(arrivals: Arrivals, rng: random.Random) -> Iterator[float]:
    """Poisson arrivals of a rising rate: those of rate 1, moved to where the integral of the rate has their value.

    The rise takes `duration_s`, or as long as it needs to bring `requests` on average; behind it the rate stays.
    """
    low = arrivals.ramp_from * arrivals.rate
    span_s = arrivals.duration_s or 2.0 * (arrivals.requests or 1) / (low + arrivals.rate)
    slope = (arrivals.rate - low) / span_s
    top = (low + arrivals.rate) / 2 * span_s
    area = 0.0
    while True:
        area += rng.expovariate(1.0)
        if area >= top:
            yield span_s + (area - top) / arrivals.rate
        else:
            yield 2 * area / (low + math.sqrt(low**2 + 2 * slope * area))


def _spike(arrivals: Arrivals, rng: random.Random) -> Iterator[float]:
    """As above. A third is one of `duration_s`, or of as long as it needs to bring `requests` on average."""
    third_s = (arrivals.duration_s or 3.0 * (arrivals.requests or 1) / arrivals.rate / (2 + arrivals.spike)) / 3
    before, within = third_s * arrivals.rate, third_s * arrivals.rate * arrivals.spike
    area = 0.0
    while True:
        area += rng.expovariate(1.0)
        if area < before:
            yield area / arrivals.rate
        elif area < before + within:
            yield third_s + (area - before) / within * third_s
        else:
            yield 2 * third_s + (area - before - within) / arrivals.rate
