"""Seconds per forward by (module, shape, rows), learned as the engine runs; no torch.

Batching does not always pay. The cap on rows comes from the measured curve: the smallest row count within a few per
cent of the best seconds per row, once twice as many rows have been tried; until then the curve is explored upwards.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

SAMPLES = 9  # medians over so many forwards: one stalled forward must not move a cap
TRUSTED = 3  # forwards at a row count before its seconds are believed
LOOK_AGAIN = 100  # one cap in so many is twice as high, to measure anew what lies past it
WORTH = 1.03  # more rows must lower seconds per row by this factor to be worth their latency


@dataclass
class Curve:
    """Recent seconds per row count, and the hard limit that running out of memory has set."""

    seconds: dict[int, deque[float]] = field(default_factory=dict)
    limit: int | None = None
    asked: int = 0

    def add(self, rows: int, seconds: float) -> None:
        if rows not in self.seconds:  # the first forward of a shape is cold
            self.seconds[rows] = deque(maxlen=SAMPLES)
            return
        self.seconds[rows].append(seconds)

    def trusted(self) -> dict[int, float]:
        """Median seconds of each row count seen often enough."""
        return {rows: median(s) for rows, s in sorted(self.seconds.items()) if len(s) >= TRUSTED}


class Profile:
    """What forwards cost, by any hashable key; `ceiling` bounds every cap (rows)."""

    def __init__(self, ceiling: int) -> None:
        assert ceiling >= 1
        self.ceiling = ceiling
        self._curves: dict[Hashable, Curve] = {}

    def record(self, key: Hashable, rows: int, seconds: float) -> None:
        """Learn that a forward of `rows` rows took `seconds`."""
        self._curves.setdefault(key, Curve()).add(rows, seconds)

    def lower_limit(self, key: Hashable, rows: int) -> None:
        """Never again more than `rows` rows at `key`: more ran out of memory."""
        curve = self._curves.setdefault(key, Curve())
        curve.limit = max(1, min(rows, curve.limit or rows))

    def limit(self, key: Hashable) -> int:
        """The most rows that are allowed and did not run out of memory."""
        curve = self._curves.get(key)
        return min(self.ceiling, curve.limit or self.ceiling) if curve else self.ceiling

    def cap(self, key: Hashable) -> int:
        """The most rows worth putting into one forward."""
        curve, bound = self._curves.get(key), self.limit(key)
        if curve is None:
            return bound
        worthwhile = max(1, min(bound, _worthwhile_rows(curve.trusted(), bound)))
        curve.asked += 1
        # what was measured in a bad moment must not hold for ever
        return min(bound, 2 * worthwhile) if curve.asked % LOOK_AGAIN == 0 else worthwhile

    def seconds(self, key: Hashable, rows: int) -> float | None:
        """Predicted seconds of a forward of `rows` rows; None when nothing is known."""
        curve = self._curves.get(key)
        known = curve.trusted() if curve else {}
        return _interpolate(known, rows) if known else None

    def table(self) -> dict[str, dict[int, float]]:
        """The curves in words, for reports: key -> rows -> median seconds."""
        return {repr(key): curve.trusted() for key, curve in self._curves.items()}

    def save(self, path: Path) -> None:
        """Write the learned curves as JSON, whole or not at all."""
        rows = [[repr(k), c.limit, {str(r): list(s) for r, s in c.seconds.items()}] for k, c in self._curves.items()]
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(rows))
        temporary.replace(path)

    def load(self, path: Path, keys: dict[str, Hashable]) -> None:
        """Take up saved curves for those of `keys` (by their repr) that the file knows."""
        for name, limit, seconds in json.loads(path.read_text()):
            if name in keys:
                samples = {int(r): deque(s, maxlen=SAMPLES) for r, s in seconds.items()}
                self._curves[keys[name]] = Curve(samples, limit)


def _worthwhile_rows(known: dict[int, float], bound: int) -> int:
    if not known:
        return bound
    best = min(seconds / rows for rows, seconds in known.items())
    enough = min(rows for rows, seconds in known.items() if seconds / rows <= best * WORTH)
    tried = max(known)
    return enough if tried >= min(2 * enough, bound) else bound


def _interpolate(known: dict[int, float], rows: int) -> float:
    below = max((r for r in known if r <= rows), default=None)
    above = min((r for r in known if r >= rows), default=None)
    if below is None:
        return known[min(known)]
    if above is None:
        return known[below] * rows / below
    if below == above:
        return known[below]
    share = (rows - below) / (above - below)
    return known[below] + share * (known[above] - known[below])
