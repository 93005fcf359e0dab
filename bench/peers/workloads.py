"""What is sent: the design's workloads, scaled to the model that ships; drawn from a seed, the same for every system.

No two requests of a plan have the same prompt, so that no cache of anybody's helps.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, product
from typing import TypeVar

from darkroom.bench.plan import Mix, Size, Wanted
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

FAST = Mix((FAST_STEPS,), PROMPTS, guidance=(FAST_GUIDANCE,), sizes=(SQUARE,))
SPIKE = 10.0

Value = TypeVar("Value")


@dataclass(frozen=True)
class Part:
    """A load of a workload: `load` is its share of the serial capacity, None of those who all come at once."""

    load: float | None
    plan: Sequence[Wanted]


def parts(workload: str, count: Counts, alone: Mapping[str, float], repeat: int) -> list[Part]:
    """All of a workload's loads; `alone` is seconds of each kind. Summed, they are that share of the plan's span."""
    if workload == "W6":
        return [Part(None, at_once(count.crowd, repeat))]
    if workload == "W5":
        return [Part(mean_load(count.spike_load), _spiking(count, alone, repeat))]
    if workload == "W3":
        return [Part(load, _sized(load, n, alone, seed_of(load, repeat))) for load, n in count.sized]
    return [Part(load, mixed_load(load, n, alone, seed_of(load, repeat))) for load, n in count.mixed]


def seed_of(load: float, repeat: int) -> int:
    """Each load of each repeat has its own requests."""
    return 1000 * (repeat + 1) + round(100 * load)


def mean_load(spike_load: float) -> float:
    """Of all three thirds of a spike."""
    return spike_load * (2 + SPIKE) / 3


def mixed_load(load: float, requests: int, alone: Mapping[str, float], seed: int) -> list[Wanted]:
    """So many requests of W2 at that share of the serial capacity, each kind as often as any other."""
    return _spaced(_mixed(requests, seed), load, alone, seed)


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


def _mixed(requests: int, seed: int) -> list[Wanted]:
    """All at the start, in random order. Steps are dealt, not drawn: of few draws the work differs by a third."""
    rng = random.Random(f"kinds {seed}")
    dealt = zip(_dealt(STEPS, requests, rng), _dealt(GUIDANCE, requests, rng), strict=True)
    plan = zip(all_at_once(requests, FAST, seed), dealt, strict=True)
    return _distinct([replace(wanted, steps=steps, guidance=guidance) for wanted, (steps, guidance) in plan], seed)


def _spiking(count: Counts, alone: Mapping[str, float], repeat: int) -> list[Wanted]:
    """A twelfth of the requests in the first and the last third of the time, the others in the middle one."""
    plan = _mixed(count.spike, repeat)
    third_s = _work_s(plan, alone) / mean_load(count.spike_load) / 3
    aside, rng = round(count.spike / (2 + SPIKE)), random.Random(f"spike {repeat}")
    counts = (aside, count.spike - 2 * aside, aside)
    times = [(third + rng.random()) * third_s for third, n in enumerate(counts) for _ in range(n)]
    return _at(plan, [*sorted(times)[:-1], 3 * third_s])  # the last one ends the time that the load is reckoned over


def _sized(load: float, requests: int, alone: Mapping[str, float], seed: int) -> list[Wanted]:
    """With sizes, each of which has its steps."""
    plan = _distinct(all_at_once(requests, FAST, seed), seed)
    upto = [round(sum(list(SIZED.values())[: place + 1]) * requests / 100) for place in range(len(SIZED))]
    kinds = [kind for kind, low, high in zip(SIZED, [0, *upto], upto, strict=False) for _ in range(high - low)]
    random.Random(f"sizes {seed}").shuffle(kinds)
    asked = zip(plan, kinds, strict=True)
    sized = [replace(wanted, size=size, steps=steps, guidance=GUIDANCE[1]) for wanted, (size, steps) in asked]
    return _spaced(sized, load, alone, seed)


def _dealt(values: Sequence[Value], count: int, rng: random.Random) -> list[Value]:
    """Each as often as any other, one more or less."""
    dealt = [values[place % len(values)] for place in range(count)]
    rng.shuffle(dealt)
    return dealt


def _spaced(plan: Sequence[Wanted], load: float, alone: Mapping[str, float], seed: int) -> list[Wanted]:
    """With the gaps of Poisson arrivals, stretched so that the work over the span is the load, not about the load."""
    rng = random.Random(f"gaps {seed}")
    times = list(accumulate(rng.expovariate(1.0) for _ in plan))
    stretch = _work_s(plan, alone) / load / times[-1]
    return _at(plan, [at_s * stretch for at_s in times])


def _work_s(plan: Sequence[Wanted], alone: Mapping[str, float]) -> float:
    return sum(alone[wanted.kind] for wanted in plan)


def _at(plan: Sequence[Wanted], times: Sequence[float]) -> list[Wanted]:
    return [replace(wanted, at_s=at_s) for wanted, at_s in zip(plan, times, strict=True)]


def _distinct(plan: Sequence[Wanted], seed: int) -> list[Wanted]:
    rng = random.Random(f"prompts {seed}")
    prompts = rng.sample(PROMPTS, len(PROMPTS))
    return [replace(wanted, prompt=f"{prompts[n % len(prompts)]}, {seed} {n}") for n, wanted in enumerate(plan)]
