"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass

PARTS = ("submissions", "latency", "events", "eta", "throughput", "start")


@dataclass(frozen=True)
class Size:
    """Counts of one run; the defaults are what published figures are taken with."""

    pairs: int = 5  # interleaved A B pairs
    clients: int = 32
    submissions: int = 2000  # in each turn
    images: int = 6  # of one latency turn
    concurrent: int = 32
    steps: int = 8
    watched: int = 32  # jobs whose events are timed
    steady: int = 40  # jobs of the steady load
    starts: int = 5


QUICK = Size(pairs=1, submissions=128, images=1, concurrent=4, steps=2, watched=2, steady=4, starts=1)
