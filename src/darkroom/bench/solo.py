"""How long requests take alone: measured for the kinds that come most, fitted for the others; pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .dialects import OTHER_SIZE
from .plan import Wanted

MEASURED_KINDS = 12  # at three requests each; a trace has hundreds


@dataclass(frozen=True)
class Solo:
    """The latency alone of a kind, in seconds: the median of `each`, or an estimate where that is empty."""

    typical_s: float
    each: tuple[float, ...] = ()

    @property
    def is_estimate(self) -> bool:
        """Whether it was not measured."""
        return not self.each


def measured(latencies: Sequence[float]) -> Solo:
    """Of latencies alone, of which there must be one."""
    return Solo(statistics.median(latencies), tuple(latencies))


def kinds_in(plan: Iterable[Wanted]) -> list[Wanted]:
    """One request of each kind, those of the commonest first."""
    first: dict[str, Wanted] = {}
    counts: Counter[str] = Counter()
    for wanted in plan:
        first.setdefault(wanted.kind, wanted)
        counts[wanted.kind] += 1
    return [first[kind] for kind, _ in counts.most_common()]


def spread_over(kinds: Sequence[Wanted], most: int) -> list[Wanted]:
    """So many of the kinds, the commonest of which come first: half of them the commonest, half from the others evenly
    by their work, the least and the most among them; so that a line through them ends where the kinds do."""
    if len(kinds) <= most:
        return list(kinds)
    common = list(kinds[: most // 2])
    others = sorted(kinds[most // 2 :], key=work_of)
    left = most - len(common)
    places = {round(place * (len(others) - 1) / max(1, left - 1)) for place in range(left)}
    return common + [others[place] for place in sorted(places)]


def to_warm(kinds: Sequence[Wanted], chosen: Sequence[Wanted]) -> list[Wanted]:
    """Those that are chosen, and one of each model that is not among them."""
    found = list(chosen)
    for wanted in kinds:
        if all(wanted.model != each.model for each in found):
            found.append(wanted)
    return found


def with_estimates(kinds: Sequence[Wanted], known: Mapping[str, Solo]) -> dict[str, Solo]:
    """What is known, and for every other kind a line through what is known of its model, or of all: seconds over work,
    as `work_of` counts it. Something must be known."""
    found = dict(known)
    for wanted in kinds:
        if wanted.kind not in found:
            same = [each for each in kinds if each.kind in known and each.model == wanted.model]
            points = [(work_of(each), known[each.kind].typical_s) for each in same or kinds if each.kind in known]
            found[wanted.kind] = Solo(_on_line(points, work_of(wanted)))
    return found


def work_of(wanted: Wanted) -> float:
    """Steps times images times pixels, in those of 512x512; twice that where it is guided, for each step is then one
    with the prompt and one without."""
    width, height = wanted.size or OTHER_SIZE
    rows = 2 if wanted.guidance is not None and wanted.guidance > 1 else 1
    return rows * wanted.steps * wanted.images * width * height / (OTHER_SIZE[0] * OTHER_SIZE[1])


def _on_line(points: Sequence[tuple[float, float]], work: float) -> float:
    """By least squares; in proportion where the points give no rising line with something at its start."""
    works, seconds = [point[0] for point in points], [point[1] for point in points]
    if len(set(works)) > 1:
        slope, start = statistics.linear_regression(works, seconds)
        if slope > 0 and start >= 0:
            return start + slope * work
    return sum(seconds) / sum(works) * work
