"""The arithmetic of `darkroom bench`, against values worked out by hand."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest

from darkroom.bench.bench import Asked, Report
from darkroom.bench.figures import Outcome, Spread, percentile, spread, summary_of, within
from darkroom.bench.load import Progress
from darkroom.bench.plan import Arrivals, Mix, at_once, plan_of
from darkroom.bench.report import behind, progress_line, table

SOLO = {4: 1.0, 8: 2.0}


def ended(number: int, steps: int, at_s: float, latency_s: float, **said: object) -> Outcome:
    return Outcome(number, steps, at_s, at_s, at_s + 0.5, at_s + latency_s, images=1, **said)  # type: ignore[arg-type]


# Latencies as multiples of solo: 1.0, 1.125, 1.75, 2.0, 3.5; and one that was refused.
OUTCOMES = [
    ended(0, 4, 0.0, 1.0, device_s=1.0, cost_usd=0.002),
    ended(1, 4, 1.0, 1.125, device_s=1.0, cost_usd=0.002),
    ended(2, 8, 2.0, 3.5, device_s=2.0, cost_usd=0.004),
    ended(3, 8, 3.0, 4.0, device_s=2.0, cost_usd=0.004),
    ended(4, 4, 6.5, 3.5, device_s=1.0, cost_usd=0.002),
    Outcome(5, 8, 7.0, 7.02, None, 7.03, "queue_full"),
]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.05, 15.0), (0.3, 20.0), (0.4, 20.0), (0.5, 35.0), (0.9, 50.0), (1.0, 50.0)]
)
def test_a_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([35.0, 20.0, 50.0, 15.0, 40.0], share) == expected


def test_a_percentile_of_many_is_where_it_belongs() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share / 100) for share in range(1, 101)] == values
    assert percentile([7.0], 0.01) == percentile([7.0], 0.99) == 7.0


def test_a_spread_of_nothing_has_no_values() -> None:
    assert spread([]) == Spread(0, None, None, None, None, None)
    assert spread([3.0, 1.0]) == Spread(2, 2.0, 1.0, 3.0, 3.0, 3.0)


@pytest.mark.parametrize(("factor", "count"), [(0.9, 0), (1.0, 1), (1.2, 2), (1.5, 2), (2.0, 4), (3.0, 4), (4.0, 5)])
def test_targets_are_multiples_of_the_latency_alone_of_the_same_steps(factor: float, count: int) -> None:
    assert within(OUTCOMES, SOLO, factor) == count


def test_a_run_in_figures() -> None:
    found = summary_of(OUTCOMES, SOLO)
    assert (found.requests, found.succeeded, found.images, found.elapsed_s) == (6, 5, 5, 10.0)
    assert found.slo == {"1.2": 2 / 6, "1.5": 2 / 6, "2": 4 / 6, "3": 4 / 6}
    assert (found.goodput_per_s, found.throughput_per_s, found.images_per_s) == (0.4, 0.5, 0.5)
    assert (found.latency_s.p50, found.latency_s.p90, found.latency_s.max) == (3.5, 4.0, 4.0)
    assert found.latency_s.mean == pytest.approx(13.125 / 5)
    assert found.latency_s_by_steps[4].p50 == 1.125
    assert found.latency_s_by_steps[8].count == 2
    assert found.first_step_s.p99 == pytest.approx(0.5)
    assert found.errors == {"queue_full": 1}
    assert (found.device_s, found.device_s_per_image) == (7.0, 1.4)
    assert found.cost_usd_per_image == pytest.approx(0.014 / 5)
    assert found.lag_s.max == pytest.approx(0.02)
    assert not found.is_behind


def test_a_cost_an_image_is_of_the_images_whose_cost_is_known() -> None:
    known = [ended(0, 4, 0.0, 1.0, device_s=1.0, cost_usd=0.002), ended(1, 4, 1.0, 1.0, device_s=3.0)]
    found = summary_of([*known, ended(2, 4, 2.0, 1.0)], SOLO)
    assert (found.images, found.cost_usd_per_image, found.device_s_per_image) == (3, 0.002, 2.0)


def test_latency_counts_from_when_it_was_to_arrive() -> None:
    late = Outcome(0, 4, at_s=1.0, sent_s=2.5, ended_s=3.0)
    assert late.latency_s == 2.0
    found = summary_of([late], SOLO)
    assert found.is_behind
    assert found.latency_s.max == 2.0


def test_what_all_failed_has_no_latency_and_costs_nothing_an_image() -> None:
    found = summary_of([Outcome(0, 4, 0.0, 0.0, ended_s=0.1, code="unavailable")], SOLO)
    assert (found.latency_s.p50, found.cost_usd_per_image, found.slo["3"]) == (None, None, 0.0)


def test_poisson_arrivals_have_their_rate_and_exponential_gaps() -> None:
    plan = plan_of(Arrivals("poisson", 5.0, requests=4000), Mix((4, 8, 20)), seed=1)
    gaps = [b.at_s - a.at_s for a, b in pairwise(plan)]
    assert statistics.fmean(gaps) == pytest.approx(0.2, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(0.2, rel=0.1)  # of an exponential: its mean
    assert {wanted.steps for wanted in plan} == {4, 8, 20}
    assert plan[0].at_s == 0.0


def test_bursts_arrive_together_and_keep_the_rate() -> None:
    plan = plan_of(Arrivals("burst", 5.0, requests=4000, burst_size=8), Mix((4,)), seed=1)
    moments = sorted({wanted.at_s for wanted in plan})
    assert len(moments) == 500
    assert plan[-1].at_s == pytest.approx(4000 / 5.0, rel=0.15)


def test_a_plan_for_a_time_stays_in_it_and_is_the_same_again() -> None:
    arrivals = Arrivals("poisson", 10.0, duration_s=5.0)
    plan = plan_of(arrivals, Mix((4, 8)), seed=3)
    assert 30 < len(plan) < 70
    assert plan[-1].at_s < 5.0
    assert plan == plan_of(arrivals, Mix((4, 8)), seed=3)
    assert plan != plan_of(arrivals, Mix((4, 8)), seed=4)


def test_what_measures_the_capacity_holds_every_step_count() -> None:
    plan = at_once(6, Mix((4, 8, 20)), seed=0)
    assert [(wanted.at_s, wanted.steps) for wanted in plan] == [(0.0, n) for n in (4, 8, 20, 4, 8, 20)]


def test_the_table_says_every_figure() -> None:
    asked = Asked(Arrivals("burst", 1.0, requests=6), Mix((4, 8)), 0.7, 0)
    report = Report("http://there", asked, 0.5, 0.7, {4: [1.0], 8: [2.0]}, summary_of(OUTCOMES, SOLO), OUTCOMES)
    said = table(report)
    for text in (
        "burst",
        "0.500",
        "capacity",
        "4 steps",
        "within 1.2x alone",
        "66.7%",
        "goodput",
        "1 queue_full",
        "USD",
    ):
        assert text in said
    assert behind(report) is None
    assert report.as_json()["summary"]["latency_s_by_steps"]["8"]["count"] == 2  # type: ignore[index]


def test_the_progress_line_says_how_far_it_is() -> None:
    assert progress_line(Progress(9, sent=5, ended=3, failed=1, elapsed_s=2.04)) == (
        "   2.0 s  5 of 9 sent, 3 ended, 2 in flight, 1 failed"
    )
