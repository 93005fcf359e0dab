"""What a run's outcomes add up to; pure.

Percentiles are by nearest rank: the smallest measured value that at least that share of the values does not exceed. So
each is a value that was measured, and nothing is interpolated; of fewer than 100 values there is no p99. Shares are of
all requests: what failed met no target.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

FACTORS = (1.2, 1.5, 2.0, 3.0)
GOOD_FACTOR = 2.0  # what ended within so many times its latency alone was in time
GOOD_SHARES = (0.9, 0.99)
FOR_P99 = 100  # values that it takes to tell the slowest of a hundred from the slowest of all
BEHIND_S = 0.1
BEHIND_SHARE = 0.1  # of the quickest latency alone


@dataclass(frozen=True)
class Outcome:
    """What became of one request; moments are seconds from the plan's start, None where it did not come to that.

    `kind` is what requests with the same latency alone have in common. `at_s` is when it was to arrive, `sent_s` when
    it was really sent. `first_step_s` is its first `progress` event, of a step that is done; `ended_s` when all of its
    pictures were here, or when it failed.
    `code` is None where it succeeded.
    """

    number: int
    kind: str
    at_s: float
    sent_s: float
    first_step_s: float | None = None
    ended_s: float | None = None
    code: str | None = None
    images: int = 0
    device_s: float | None = None
    cost_usd: float | None = None
    tenant: str = ""

    @property
    def has_succeeded(self) -> bool:
        """Whether its images are there."""
        return self.code is None

    @property
    def latency_s(self) -> float:
        """From when it was to arrive, not from when it was sent: what a user would have waited."""
        assert self.ended_s is not None
        return self.ended_s - self.at_s


@dataclass(frozen=True)
class Spread:
    """How values lie; None where there are none, and `p99` of fewer than 100."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None

    @property
    def worst(self) -> float:
        """The p99, of fewer than 100 the greatest; 0 where there are none."""
        return self.p99 if self.p99 is not None else self.max or 0.0


@dataclass(frozen=True)
class KindSummary:
    """The requests of one kind: how many, their latency alone in seconds, and the shares that kept each target."""

    requests: int
    solo_s: float
    latency_s: Spread
    slo: Mapping[str, float]


@dataclass(frozen=True)
class Summary:
    """A run in figures. `slo` has, for each factor, the share of requests that ended within so many times solo.

    `machine_usd_per_image` is what a machine of a given price an hour cost while the run went on, idle or not.
    """

    requests: int
    succeeded: int
    images: int
    elapsed_s: float
    latency_s: Spread
    kinds: Mapping[str, KindSummary]
    first_step_s: Spread
    slo: Mapping[str, float]
    in_time_per_s: float
    throughput_per_s: float
    images_per_s: float
    errors: Mapping[str, int]
    device_s: float | None
    device_s_per_image: float | None
    cost_usd: float | None
    cost_usd_per_image: float | None
    machine_usd_per_image: float | None
    lag_s: Spread
    is_behind: bool


@dataclass(frozen=True)
class Goodput:
    """The highest rate tried at which at least `share` of the requests ended in time, as at every lower rate tried.

    `rate` is in requests a second, None where not even the lowest did. `is_bound`: all rates did, so it may be higher.
    Where `is_known` is false there were too few requests for that share.
    """

    share: float
    rate: float | None
    is_bound: bool
    is_known: bool = True


def percentile(values: Iterable[float], share: float) -> float:
    """The nearest-rank percentile; `share` is above 0 and at most 1. There must be values."""
    ordered = sorted(values)
    assert ordered, "a percentile of nothing"
    assert 0 < share <= 1
    # One part in a thousand million less, for 0.29 * 100 is 29.000000000000004.
    return ordered[max(1, math.ceil(share * len(ordered) - 1e-9)) - 1]


def spread(values: Iterable[float]) -> Spread:
    """Mean, percentiles and greatest."""
    found = list(values)
    if not found:
        return Spread(0, None, None, None, None, None)
    p50, p90, p99 = (percentile(found, share) for share in (0.5, 0.9, 0.99))
    return Spread(len(found), statistics.fmean(found), p50, p90, p99 if len(found) >= FOR_P99 else None, max(found))


def within(outcomes: Sequence[Outcome], solo: Mapping[str, float], factor: float) -> int:
    """How many succeeded within `factor` times the latency of their kind alone."""
    return sum(each.has_succeeded and each.latency_s <= factor * solo[each.kind] for each in outcomes)


def attained(outcomes: Sequence[Outcome], solo: Mapping[str, float]) -> dict[str, float]:
    """For each factor the share of the outcomes, of which there must be some, that kept to it."""
    return {f"{factor:g}": within(outcomes, solo, factor) / len(outcomes) for factor in FACTORS}


def goodput_of(tried: Iterable[tuple[float, float]], share: float) -> Goodput:
    """Of pairs of a rate and the share of its requests that ended in time."""
    good, is_bound = None, True
    for rate, kept in sorted(tried):
        if kept < share:
            is_bound = False
            break
        good = rate
    return Goodput(share, good, is_bound)


def summary_of(
    outcomes: Sequence[Outcome], solo: Mapping[str, float], price_per_hour_usd: float | None = None
) -> Summary:
    """The run's figures; `solo` is the latency in seconds, alone, of each kind. There must be outcomes.

    Rates are over the time from the plan's start to the last end.
    """
    done = [each for each in outcomes if each.has_succeeded]
    elapsed_s = max(each.ended_s if each.ended_s is not None else each.sent_s for each in outcomes)
    over_s = max(elapsed_s, 1e-9)
    images = sum(each.images for each in done)
    device_s, cost_usd = _sum(each.device_s for each in outcomes), _sum(each.cost_usd for each in outcomes)
    paid_usd = None if price_per_hour_usd is None else price_per_hour_usd * elapsed_s / 3600
    lag_s = spread(each.sent_s - each.at_s for each in outcomes)
    return Summary(
        requests=len(outcomes),
        succeeded=len(done),
        images=images,
        elapsed_s=elapsed_s,
        latency_s=spread(each.latency_s for each in done),
        kinds=_by_kind(outcomes, solo),
        first_step_s=spread(each.first_step_s - each.at_s for each in outcomes if each.first_step_s is not None),
        slo=attained(outcomes, solo),
        in_time_per_s=within(outcomes, solo, GOOD_FACTOR) / over_s,
        throughput_per_s=len(done) / over_s,
        images_per_s=images / over_s,
        errors=dict(Counter(each.code for each in outcomes if each.code is not None).most_common()),
        device_s=device_s,
        device_s_per_image=_each(device_s, sum(each.images for each in done if each.device_s is not None)),
        cost_usd=cost_usd,
        cost_usd_per_image=_each(cost_usd, sum(each.images for each in done if each.cost_usd is not None)),
        machine_usd_per_image=_each(paid_usd, images),
        lag_s=lag_s,
        is_behind=lag_s.worst > min(BEHIND_S, BEHIND_SHARE * min(solo.values())),
    )


def as_json(summary: Summary) -> dict[str, object]:
    """For a file."""
    return asdict(summary)


def _by_kind(outcomes: Sequence[Outcome], solo: Mapping[str, float]) -> dict[str, KindSummary]:
    found = {}
    for kind in solo:
        here = [each for each in outcomes if each.kind == kind]
        if here:
            latency_s = spread(each.latency_s for each in here if each.has_succeeded)
            found[kind] = KindSummary(len(here), solo[kind], latency_s, attained(here, solo))
    return found


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _each(total: float | None, count: int) -> float | None:
    return None if total is None or count == 0 else total / count
