"""The requests: the mixed load, and the fewer kinds that the open-loop runs are made of."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

SOLVERS = ("ddim", "euler", "dpm++2m")
SIZES = ((192, 192), (320, 192), (256, 256))
HOURS = ("dawn", "day", "sunset", "night", "a storm")
PLACES = ("over mountains", "over a lake", "behind snowy peaks", "above green hills", "by the sea", "over a calm sea")
THINGS = ("two pine trees", "a small house", "a lighthouse", "a sailboat", "a full moon", "a few clouds", "palms")


@dataclass(frozen=True)
class Request:
    """One image asked for."""

    number: int
    prompt: str
    steps: int
    guidance: float
    solver: str
    seed: int
    size: tuple[int, int] | None = None  # width and height; None is the model's own

    @property
    def call(self) -> dict[str, Any]:
        """Keyword arguments of the pipeline's call, without the generator."""
        size = {"width": self.size[0], "height": self.size[1]} if self.size else {}
        return {
            "prompt": self.prompt,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "output_type": "np",
            **size,
        }


def mixed(count: int, steps: tuple[int, int], turn: int) -> list[Request]:
    """The same steps, guidance values and solvers at every turn, but new prompts: no cache may help a later turn."""
    kinds = random.Random(0)
    lengths = _spread(count, *steps)
    kinds.shuffle(lengths)
    guidances = [round(2 + 7 * place / max(1, count - 1), 2) for place in range(count)]
    kinds.shuffle(guidances)
    prompts = _prompts(count, turn)
    return [
        Request(k, prompts[k], lengths[k], guidances[k], SOLVERS[k % len(SOLVERS)], 1000 * turn + k)
        for k in range(count)
    ]


def arriving(count: int, steps: tuple[int, ...], turn: int) -> list[Request]:
    """One solver and one guidance value: plain diffusers can put only such requests, of equal steps, into one call."""
    chance = random.Random(turn)
    lengths = [steps[k % len(steps)] for k in range(count)]
    chance.shuffle(lengths)
    prompts = _prompts(count, turn)
    return [Request(k, prompts[k], lengths[k], 5.0, "ddim", 1000 * turn + k) for k in range(count)]


def arriving_sizes(count: int, steps: tuple[int, ...], turn: int) -> list[Request]:
    """W3 scaled to the model that ships: sizes differ, and each has its own number of steps."""
    chance = random.Random(f"sizes {turn}")
    kinds = [
        chance.choice([(size, steps[place % len(steps)]) for place, size in enumerate(SIZES)]) for _ in range(count)
    ]
    prompts = _prompts(count, turn)
    return [Request(k, prompts[k], kinds[k][1], 5.0, "ddim", 1000 * turn + k, kinds[k][0]) for k in range(count)]


def poisson_times(count: int, per_second: float, turn: int) -> list[float]:
    """Arrival times in seconds from the start of a run; the first request arrives at 0."""
    chance = random.Random(f"arrivals {turn}")
    times = [0.0]
    while len(times) < count:
        times.append(times[-1] + chance.expovariate(per_second))
    return times


def _spread(count: int, fewest: int, most: int) -> list[int]:
    return [round(fewest + (most - fewest) * place / max(1, count - 1)) for place in range(count)]


def _prompts(count: int, turn: int) -> list[str]:
    chance = random.Random(f"prompts {turn}")
    pick = chance.choice
    return [f"{pick(HOURS)} {pick(PLACES)}, {pick(THINGS)} and {pick(THINGS)}, {turn} {k}" for k in range(count)]
