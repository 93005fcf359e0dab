"""Seconds per forward by (module, shape, rows), learned as the engine runs; no torch.

Batching does not always pay. The cap on rows comes from the measured curve: the smallest row count within a few per
cent of the best seconds per row, once twice as many rows have been tried; until then the curve is explored upwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from statistics import median

SAMPLES = 9  # medians over so many forwards: one stalled forward must not move a cap
TRUSTED = 3  # forwards at a row count before its seconds are believed
LOOK_AGAIN = 100  # one cap in so many is twice as high, to measure anew what lies past it
WORTH = 1.03  # more rows must lower seconds per row by this factor to be worth their latency

Samples = Mapping[str, Mapping[int, list[float]]]  # a key's repr -> rows -> seconds of its last forwards


@dataclass
class Curve:
    """Recent seconds per row count, and the hard limit that running out of memory has set."""

    seconds: dict[int, deque[float]] = field(default_factory=dict)
    limit: int | None = None
    asked: int = 0
    medians: dict[int, float] | None = None  # until the next forward

    def add(self, rows: int, seconds: float) -> None:
        if rows not in self.seconds:  # the first forward of a shape is cold
            self.seconds[rows] = deque(maxlen=SAMPLES)
            return
        self.seconds[rows].append(seconds)
        self.medians = None

    def trusted(self) -> dict[int, float]:
        """Median seconds of each row count seen often enough."""
        known = self.medians
        if known is None:
            known = {rows: median(s) for rows, s in sorted(self.seconds.items()) if len(s) >= TRUSTED}
            self.medians = known
        return known


class Profile:
    """What forwards cost, by any hashable key; `ceiling` bounds every cap (rows)."""

    def __init__(self, ceiling: int) -> None:
        assert ceiling >= 1
        self.ceiling = ceiling
        self._curves: dict[Hashable, Curve] = {}
        self._saved: Samples = {}

    def record(self, key: Hashable, rows: int, seconds: float) -> None:
        """Learn that a forward of `rows` rows took `seconds`."""
        self._curve(key).add(rows, seconds)

    def lower_limit(self, key: Hashable, rows: int) -> None:
        """Never again more than `rows` rows at `key`: more ran out of memory."""
        curve = self._curve(key)
        curve.limit = max(1, min(rows, curve.limit or rows))

    def limit(self, key: Hashable) -> int:
        """The most rows that are allowed and did not run out of memory."""
        return min(self.ceiling, self._curve(key).limit or self.ceiling)

    def cap(self, key: Hashable) -> int:
        """The most rows to put into the next forward."""
        curve, usual = self._curve(key), self.usual(key)
        curve.asked += 1
        # what was measured in a bad moment must not hold for ever
        return min(self.limit(key), 2 * usual) if curve.asked % LOOK_AGAIN == 0 else usual

    def usual(self, key: Hashable) -> int:
        """The most rows worth putting into one forward."""
        bound = self.limit(key)
        return max(1, min(bound, _worthwhile_rows(self._curve(key).trusted(), bound)))

    def proven(self, key: Hashable) -> int:
        """Of those the rows that measurements speak for: up to twice as many as were tried."""
        tried = max(self._curve(key).trusted(), default=0)
        return min(self.usual(key), 2 * max(1, tried))

    def seconds(self, key: Hashable, rows: int) -> float | None:
        """Predicted seconds of a forward of `rows` rows; None when nothing is known."""
        known = self._curve(key).trusted()
        return _interpolate(known, rows) if known else None

    def table(self) -> dict[str, dict[int, float]]:
        """The curves in words, for reports: key -> rows -> median seconds."""
        return {repr(key): curve.trusted() for key, curve in self._curves.copy().items()}

    def samples(self) -> Samples:
        """Everything measured, and what was taken up and not asked for since.

        Limits are left out: what ran out of memory here may have room elsewhere, and trying again costs one forward.
        """
        own = {repr(key): _samples_of(curve) for key, curve in self._curves.copy().items()}
        return {**self._saved, **{name: samples for name, samples in own.items() if samples}}

    def take_up(self, samples: Samples) -> None:
        """Believe these for keys that nothing is known of yet."""
        self._saved = {**self._saved, **samples}

    def _curve(self, key: Hashable) -> Curve:
        curve = self._curves.get(key)
        if curve is None:
            saved = self._saved.get(repr(key), {})
            seconds = {rows: deque(samples, maxlen=SAMPLES) for rows, samples in saved.items()}
            curve = self._curves.setdefault(key, Curve(seconds))
        return curve


def _samples_of(curve: Curve) -> dict[int, list[float]]:
    return {rows: list(seconds) for rows, seconds in curve.seconds.copy().items() if seconds}


def _worthwhile_rows(known: dict[int, float], bound: int) -> int:
    if not known:
        return bound
    best = min(seconds / rows for rows, seconds in known.items())
    enough = min(rows for rows, seconds in known.items() if seconds / rows <= best * WORTH)
    tried = max(known)
    return enough if tried >= min(2 * enough, bound) else bound


def _interpolate(known: dict[int, float], rows: int) -> float:
    """On the line between the two nearest measured row counts; beyond them between flat and proportional."""
    if rows in known:
        return known[rows]
    fewer, more = [count for count in known if count < rows], [count for count in known if count > rows]
    if fewer and more:
        return _on_line(known, max(fewer), min(more), rows)
    nearest, farthest = sorted((min(known), max(known)), key=lambda count: abs(count - rows))
    flat, proportional = known[nearest], known[nearest] * rows / nearest
    if nearest == farthest:
        return (flat + proportional) / 2
    bounds = sorted((flat, proportional))
    return min(max(_on_line(known, nearest, farthest, rows), bounds[0]), bounds[1])


def _on_line(known: dict[int, float], one: int, other: int, rows: int) -> float:
    return known[one] + (rows - one) * (known[other] - known[one]) / (other - one)
