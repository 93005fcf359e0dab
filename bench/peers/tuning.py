"""The batch that serves a peer best: a small sweep on the mixed load, kept as it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from .cells import Shelf
from .size import Size
from .systems import Batch


@dataclass(frozen=True)
class Try:
    """How the mixed load fared: the share that ended in time, and seconds on average."""

    most: int
    window_s: float
    attained: float
    mean_s: float

    @property
    def batch(self) -> Batch:
        """The settings."""
        return Batch(self.most, self.window_s)


Measure = Callable[[Batch], tuple[float, float]]  # share in time, mean seconds


def tried_best(tries: Sequence[Try]) -> Try:
    """Most in time; of equals, the quickest."""
    return max(tries, key=lambda each: (each.attained, -each.mean_s))


def next_batch(size: Size, tries: Sequence[Try]) -> Batch | None:
    """What to try next: each batch size with the first window, then the best of them with the others; None: enough."""
    tried = {each.batch for each in tries}
    first = [Batch(most, size.windows_s[0]) for most in size.most]
    left = [batch for batch in first if batch not in tried]
    if not left:
        most = tried_best([each for each in tries if each.batch in first]).most
        left = [batch for window_s in size.windows_s if (batch := Batch(most, window_s)) not in tried]
    return left[0] if left else None


def tuned(system: str, size: Size, shelf: Shelf, measure: Measure) -> Batch:
    """The best, measured as far as it is not kept; where there is no choice, that is it."""
    if len(size.most) * len(size.windows_s) == 1:
        return Batch(size.most[0], size.windows_s[0])
    tries = tries_of(system, shelf)
    while batch := next_batch(size, tries):
        tries.append(Try(batch.most, batch.window_s, *measure(batch)))
        shelf.write(f"tuning/{system}", [asdict(each) for each in tries])
    return tried_best(tries).batch


def tries_of(system: str, shelf: Shelf) -> list[Try]:
    """What was tried."""
    return [Try(**each) for each in shelf.read(f"tuning/{system}") or ()]
