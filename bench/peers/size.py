"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

WORKLOADS = ("W2", "W3", "W5", "W6")
TAIL_LOAD = 0.9  # of the serial capacity, at which p50 and p99 are told

Ladder = tuple[tuple[float, int], ...]  # loads, from the lowest, and how many requests are sent at each


@dataclass(frozen=True)
class Size:
    """Counts of one run; the defaults are what published figures are taken with, in 90 minutes on two cores.

    Loads are shares of the serial capacity: what plain diffusers does one after another.
    """

    threads: int = 2  # and cores: of all instances of a model together
    warm: int = 8  # requests at once, of each size, before anything counts
    repeats: int = 2  # of W2, on which the targets stand; the others take what time is left
    # W2, of which all repeats count together: a p99 takes a hundred. The lowest rungs take longest and have fewest.
    mixed: Ladder = (
        *((0.15, 10), (0.3, 10), (0.45, 20), (0.6, 20), (TAIL_LOAD, 50)),
        *((1.2, 20), (1.6, 20), (2.2, 20), (3.0, 20)),
    )
    sized: Ladder = ((TAIL_LOAD, 20),)  # W3
    spike_load: float = 0.2  # W5: before and after; ten times that in the middle third
    spike: int = 60
    crowd: int = 300  # W6
    users: tuple[int, ...] = (30, 100, 300)  # of Muse's table, one request each
    workers: tuple[int, ...] = (1, 2)
    most: tuple[int, ...] = (1, 4, 12)  # batch sizes that are tried, with the first window
    windows_s: tuple[float, ...] = (0.05, 0.25)  # the others are tried with the best of these
    tune: tuple[float, int] = (TAIL_LOAD, 30)  # no requests: no sweep


QUICK = Size(
    warm=2,
    repeats=1,
    mixed=((TAIL_LOAD, 5),),
    sized=((TAIL_LOAD, 5),),
    spike=12,
    crowd=12,
    users=(4, 12),
    workers=(1,),
    most=(8,),
    windows_s=(0.05,),
    tune=(TAIL_LOAD, 0),
)


def once(size: Size) -> Size:
    """What is measured of exports: the load of which the tail is told, and the crowd."""
    mixed = tuple(rung for rung in size.mixed if rung[0] == TAIL_LOAD)
    return replace(size, repeats=1, mixed=mixed)
