"""Which requests come when: drawn from a seed before anything is sent; pure.

Open loop: arrivals are a plan and never wait for answers. A generator that waits sends less just when the service is
slow, and leaves its worst moments out of the figures ("coordinated omission", Gil Tene, How NOT to Measure Latency).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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

Pattern = Literal["poisson", "burst"]


@dataclass(frozen=True)
class Mix:
    """What requests are like: steps and prompts are drawn evenly from these, image seeds too."""

    steps: tuple[int, ...]
    prompts: tuple[str, ...] = PROMPTS
    images: int = 1
    model: str | None = None


@dataclass(frozen=True)
class Arrivals:
    """`rate` requests a second on average; as many as `requests` says, or those within `duration_s`.

    poisson: gaps are exponential. burst: `burst_size` arrive at once, and bursts are Poisson at `rate / burst_size`.
    """

    pattern: Pattern
    rate: float
    requests: int | None = None
    duration_s: float | None = None
    burst_size: int = 8


@dataclass(frozen=True)
class Wanted:
    """One request of the plan; `at_s` counts from the plan's start."""

    number: int
    at_s: float
    steps: int
    prompt: str
    seed: int


def plan_of(arrivals: Arrivals, mix: Mix, seed: int) -> list[Wanted]:
    """The requests in the order of their arrival; the same for the same arguments."""
    rng = random.Random(seed)
    return [wanted_of(number, at_s, mix, rng) for number, at_s in enumerate(_times(arrivals, rng))]


def wanted_of(number: int, at_s: float, mix: Mix, rng: random.Random, steps: int | None = None) -> Wanted:
    """A request drawn from the mix."""
    drawn = rng.choice(mix.steps)
    return Wanted(number, at_s, drawn if steps is None else steps, rng.choice(mix.prompts), rng.randint(0, MAX_SEED))


def at_once(count: int, mix: Mix, seed: int) -> list[Wanted]:
    """So many requests, all at the start, with the step counts in turn: what measures the capacity."""
    rng = random.Random(seed)
    return [wanted_of(n, 0.0, mix, rng, mix.steps[n % len(mix.steps)]) for n in range(count)]


def _times(arrivals: Arrivals, rng: random.Random) -> Sequence[float]:
    times: list[float] = []
    for at_s in _endless(arrivals, rng):
        has_all = arrivals.requests is not None and len(times) >= arrivals.requests
        if has_all or (arrivals.duration_s is not None and at_s >= arrivals.duration_s):
            break
        times.append(at_s)
    return times


def _endless(arrivals: Arrivals, rng: random.Random) -> Iterator[float]:
    size = arrivals.burst_size if arrivals.pattern == "burst" else 1
    at_s = 0.0
    while True:
        yield from [at_s] * size
        at_s += rng.expovariate(arrivals.rate / size)
