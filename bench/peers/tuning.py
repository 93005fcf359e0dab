"""The batch that serves a peer best: a small sweep on the mixed load, kept as it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, replace

from .cells import Shelf
from .size import Size
from .systems import Batch, splits


@dataclass(frozen=True)
class Try:
    """How the mixed load fared: the share that ended in time, and seconds on average."""

    most: int
    window_s: float
    instances: int
    threads: int
    attained: float
    mean_s: float
    failed: int = 0  # requests: of such settings none is taken

    @property
    def batch(self) -> Batch:
        """The settings."""
        return Batch(self.most, self.window_s, self.instances, self.threads)


class NothingHolds(Exception):
    """With every setting requests failed."""


Measure = Callable[[Batch], tuple[float, float, int]]  # share in time, mean seconds, requests that failed


def tried_best(tries: Sequence[Try]) -> Try:
    """None failed, most in time; of equals, the quickest."""
    return max(tries, key=lambda each: (not each.failed, each.attained, -each.mean_s))


def next_batch(size: Size, tries: Sequence[Try], *, is_gathering: bool = False) -> Batch | None:
    """What to try next; None: enough. Each batch size with the first window, the best of them with the other windows,
    and the best of all with the other instances and threads. Darkroom gathers by itself: for it these alone."""
    (instances, threads), *others = splits(size.threads)
    sizes = [(0, 0.0)] if is_gathering else [(most, size.windows_s[0]) for most in size.most]
    first = [Batch(most, window_s, instances, threads) for most, window_s in sizes]
    left = _left(first, tries)
    if not left and not is_gathering:
        best = tried_best([each for each in tries if each.batch in first]).batch
        windows = size.windows_s if best.most > 1 else ()  # one waits for nobody
        left = _left([replace(best, window_s=window_s) for window_s in windows], tries)
    if not left:
        best = tried_best([each for each in tries if (each.instances, each.threads) == (instances, threads)]).batch
        left = _left([replace(best, instances=n, threads=each) for n, each in others], tries)
    return left[0] if left else None


def tuned(system: str, size: Size, shelf: Shelf, measure: Measure, *, is_gathering: bool = False) -> Batch:
    """The best, measured as far as it is not kept. Raises `NothingHolds`."""
    if not size.tune[1]:
        [(instances, threads), *_] = splits(size.threads)
        most, window_s = (0, 0.0) if is_gathering else (max(size.most), size.windows_s[0])
        return Batch(most, window_s, instances, threads)
    tries = tries_of(system, shelf)
    while batch := next_batch(size, tries, is_gathering=is_gathering):
        tries.append(Try(*astuple(batch), *measure(batch)))
        shelf.write(f"tuning/{system}", [asdict(each) for each in tries])
    best = tried_best(tries)
    if best.failed:
        raise NothingHolds(f"with every setting of the sweep requests failed, {best.failed} with {best.batch}")
    return best.batch


def _left(wanted: Sequence[Batch], tries: Sequence[Try]) -> list[Batch]:
    tried = {each.batch for each in tries}
    return [batch for batch in wanted if batch not in tried]


def tries_of(system: str, shelf: Shelf) -> list[Try]:
    """What was tried."""
    return [Try(**each) for each in shelf.read(f"tuning/{system}") or ()]
