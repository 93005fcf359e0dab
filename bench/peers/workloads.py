"""What is sent: the design's workloads, scaled to the model that ships; drawn from a seed, the same for every system.

No two requests of a plan have the same prompt, so that no cache of anybody's helps.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from darkroom.bench.plan import Arrivals, Mix, Size, Wanted, plan_of
from darkroom.bench.plan import at_once as all_at_once

from .size import Size as Counts

HOURS = ("dawn", "a clear day", "sunset", "night", "a storm", "mist")
PLACES = ("over mountains", "over a lake", "behind snowy peaks", "above green hills", "by the sea", "over a calm bay")
THINGS = ("two pine trees", "a small house", "a lighthouse", "a sailboat", "a full moon", "a few clouds", "palms")
PROMPTS = tuple(f"{hour} {place}, {one} and {two}" for hour, place, one, two in product(HOURS, PLACES, THINGS, THINGS))

SQUARE: Size = (256, 256)
STEPS = (4, 8, 12, 20, 30)
GUIDANCE = (3.0, 5.0, 7.5)
# 512, 768, 1024 and 1536 pixels in 15, 25, 45 and 15 % with 20, 25, 25 and 35 steps, as sizes that the model has.
SIZED: dict[tuple[Size, int], int] = {
    ((192, 192), 10): 15,
    ((320, 192), 12): 25,
    ((256, 256), 12): 45,
    ((192, 320), 18): 15,
}
FAST_STEPS, FAST_GUIDANCE = 4, 4.0  # what everybody of a crowd asks for: the same, which is every batcher's best case

MIXED = Mix(STEPS, PROMPTS, guidance=GUIDANCE, sizes=(SQUARE,))
FAST = Mix((FAST_STEPS,), PROMPTS, guidance=(FAST_GUIDANCE,), sizes=(SQUARE,))
SPIKE = 10.0


@dataclass(frozen=True)
class Part:
    """A load of a workload: `load` is its share of the serial capacity, None of those who all come at once."""

    load: float | None
    plan: Sequence[Wanted]


def parts(workload: str, count: Counts, capacity: float, repeat: int) -> list[Part]:
    """All of a workload's loads; `capacity` is serial, in requests a second, of that workload's requests."""
    if workload == "W6":
        return [Part(None, at_once(count.crowd, repeat))]
    if workload == "W5":
        return [Part(count.spike_load, _spiking(count, capacity, repeat))]
    if workload == "W3":
        return [Part(load, _sized(load * capacity, n, seed_of(load, repeat))) for load, n in count.sized]
    return [Part(load, mixed_load(load * capacity, n, seed_of(load, repeat))) for load, n in count.mixed]


def seed_of(load: float, repeat: int) -> int:
    """Each load of each repeat has its own requests."""
    return 1000 * (repeat + 1) + round(100 * load)


def mixed_load(rate: float, requests: int, seed: int) -> list[Wanted]:
    """So many requests of W2, so many a second."""
    return _distinct(plan_of(Arrivals("poisson", rate, requests), MIXED, seed), seed)


def at_once(users: int, seed: int) -> list[Wanted]:
    """So many users, who press the button together."""
    return _distinct(all_at_once(users, FAST, seed), seed)


def kinds(workload: str) -> dict[Wanted, float]:
    """A request of each kind that takes as long alone, and its share of a workload's requests."""
    first = Wanted(0, 0.0, 0, PROMPTS[0], 0, size=SQUARE, guidance=GUIDANCE[1])
    if workload == "W3":
        return {replace(first, steps=steps, size=size): share / 100 for (size, steps), share in SIZED.items()}
    steps = (FAST_STEPS,) if workload == "W6" else STEPS
    return {replace(first, steps=each): 1 / len(steps) for each in steps}


def _spiking(count: Counts, capacity: float, repeat: int) -> list[Wanted]:
    arrivals = Arrivals("spike", count.spike_load * capacity, count.spike, spike=SPIKE)
    return _distinct(plan_of(arrivals, MIXED, repeat), repeat)


def _sized(rate: float, requests: int, seed: int) -> list[Wanted]:
    """With sizes, each of which has its steps."""
    plan = _distinct(plan_of(Arrivals("poisson", rate, requests), FAST, seed), seed)
    drawn = random.Random(f"sizes {seed}").choices(list(SIZED), list(SIZED.values()), k=requests)
    asked = zip(plan, drawn, strict=True)
    return [replace(wanted, size=size, steps=steps, guidance=GUIDANCE[1]) for wanted, (size, steps) in asked]


def _distinct(plan: Sequence[Wanted], seed: int) -> list[Wanted]:
    rng = random.Random(f"prompts {seed}")
    prompts = rng.sample(PROMPTS, len(PROMPTS))
    return [replace(wanted, prompt=f"{prompts[n % len(prompts)]}, {seed} {n}") for n, wanted in enumerate(plan)]
