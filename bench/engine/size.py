"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PARTS = ("curve", "gain", "join", "arrivals", "parity", "adapters", "slo", "reproducible")


@dataclass(frozen=True)
class Lora:
    """The batch of different adapters: SD 1.5's widths at 128x128 pixels, for on a CPU 512x512 take minutes."""

    rows: int = 32
    rank: int = 16
    side: int = 16  # of the latents
    widths: tuple[int, ...] = (320, 640, 1280, 1280)


@dataclass(frozen=True)
class Size:
    """Counts of one run; the defaults are what published figures are taken with."""

    pairs: int = 5  # interleaved A B pairs, and repeats of every load of arrivals
    requests: int = 32  # of the mixed load
    steps: tuple[int, int] = (4, 30)  # fewest and most of the mixed load
    curve_rows: tuple[int, ...] = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
    probes: int = 12  # requests whose first step is waited for, at each load
    company: tuple[int, ...] = (4, 12, 32)  # others in flight meanwhile; the last are more than one forward takes
    arrivals: int = 30  # requests of one open-loop run
    arrival_steps: tuple[int, ...] = (4, 8, 12, 20)
    loads: tuple[float, ...] = (0.5, 0.9, 1.5)  # of what plain diffusers can do one at a time
    reproducible: int = 8  # requests whose bytes are compared alone and together
    window_s: float = 0.5  # how long the windowed batcher waits for equal requests
    lora: Lora = Lora()

    @classmethod
    def of(cls, counts: dict[str, Any]) -> Size:
        """From JSON, where tuples are lists."""
        given = _tuples(counts)
        if isinstance(given.get("lora"), dict):
            given["lora"] = Lora(**_tuples(given["lora"]))
        return cls(**given)


def _tuples(counts: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in counts.items()}


QUICK = Size(
    pairs=1,
    requests=6,
    steps=(2, 6),
    curve_rows=(2, 4, 8, 16),
    probes=2,
    company=(3,),
    arrivals=4,
    arrival_steps=(2, 3),
    loads=(1.5,),
    reproducible=2,
    lora=Lora(rows=3, rank=2, side=8, widths=(32, 32, 64, 64)),
)
