"""One measured number and what it is held against."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """`floor` must be reached for the figure to hold, `aim` is where it should be; both None: told, not judged."""

    part: str
    name: str
    value: float
    unit: str = ""
    floor: float | None = None
    aim: float | None = None
    is_more_better: bool = True
    is_tie_enough: bool = True

    @property
    def verdict(self) -> str:
        """Aim reached, floor reached, not reached; empty where nothing is asked."""
        if self.aim is not None and self._reaches(self.aim):
            return "aim reached"
        if self.floor is None:
            return "" if self.aim is None else "below the aim"
        return "floor reached" if self._reaches(self.floor) else "NOT REACHED"

    def _reaches(self, mark: float) -> bool:
        if self.value == mark:
            return self.is_tie_enough
        return self.value > mark if self.is_more_better else self.value < mark


def percentile(values: list[float], share: float) -> float:
    """Nearest rank: a value that was measured, never one between two."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
