"""The arithmetic of `darkroom bench`, against values worked out by hand."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest

from darkroom.bench.figures import Outcome, Spread, goodput_of, percentile, spread, summary_of, within
from darkroom.bench.load import Progress
from darkroom.bench.plan import Arrivals, Mix, at_once, one_of_each, plan_of
from darkroom.bench.report import progress_cells

SOLO = {"4 steps": 1.0, "8 steps": 2.0}


def ended(number: int, steps: int, at_s: float, latency_s: float, **said: object) -> Outcome:
    return Outcome(number, f"{steps} steps", at_s, at_s, at_s + 0.5, at_s + latency_s, images=1, **said)  # type: ignore[arg-type]


# Latencies as multiples of solo: 1.0, 1.125, 1.75, 2.0, 3.5; and one that was refused.
OUTCOMES = [
    ended(0, 4, 0.0, 1.0, device_s=1.0, cost_usd=0.002),
    ended(1, 4, 1.0, 1.125, device_s=1.0, cost_usd=0.002),
    ended(2, 8, 2.0, 3.5, device_s=2.0, cost_usd=0.004),
    ended(3, 8, 3.0, 4.0, device_s=2.0, cost_usd=0.004),
    ended(4, 4, 6.5, 3.5, device_s=1.0, cost_usd=0.002),
    Outcome(5, "8 steps", 7.0, 7.02, None, 7.03, "queue_full"),
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
    assert spread([3.0, 1.0]) == Spread(2, 2.0, 1.0, 3.0, None, 3.0)


def test_fewer_than_a_hundred_values_have_no_p99() -> None:
    assert spread([float(n) for n in range(99)]).p99 is None
    assert spread([float(n) for n in range(100)]).p99 == 98.0
    assert (spread([1.0, 5.0]).worst, spread([]).worst) == (5.0, 0.0)


@pytest.mark.parametrize(("factor", "count"), [(0.9, 0), (1.0, 1), (1.2, 2), (1.5, 2), (2.0, 4), (3.0, 4), (4.0, 5)])
def test_targets_are_multiples_of_the_latency_alone_of_the_same_steps(factor: float, count: int) -> None:
    assert within(OUTCOMES, SOLO, factor) == count


def test_a_run_in_figures() -> None:
    found = summary_of(OUTCOMES, SOLO)
    assert (found.requests, found.succeeded, found.images, found.elapsed_s) == (6, 5, 5, 10.0)
    assert found.slo == {"1.2": 2 / 6, "1.5": 2 / 6, "2": 4 / 6, "3": 4 / 6}
    assert (found.in_time_per_s, found.throughput_per_s, found.images_per_s) == (0.4, 0.5, 0.5)
    assert (found.latency_s.p50, found.latency_s.p90, found.latency_s.max) == (3.5, 4.0, 4.0)
    assert found.latency_s.mean == pytest.approx(13.125 / 5)
    four, eight = found.kinds["4 steps"], found.kinds["8 steps"]
    assert (four.requests, four.solo_s, four.latency_s.p50) == (3, 1.0, 1.125)
    assert (eight.requests, eight.latency_s.count) == (3, 2)
    assert (four.slo["1.2"], four.slo["2"], eight.slo["1.2"], eight.slo["2"]) == (2 / 3, 2 / 3, 0.0, 2 / 3)
    assert found.first_step_s.p90 == pytest.approx(0.5)
    assert found.errors == {"queue_full": 1}
    assert (found.device_s, found.device_s_per_image) == (7.0, 1.4)
    assert found.cost_usd_per_image == pytest.approx(0.014 / 5)
    assert found.machine_usd_per_image is None
    assert found.lag_s.max == pytest.approx(0.02)
    assert not found.is_behind


def test_a_cost_an_image_is_of_the_images_whose_cost_is_known() -> None:
    known = [ended(0, 4, 0.0, 1.0, device_s=1.0, cost_usd=0.002), ended(1, 4, 1.0, 1.0, device_s=3.0)]
    found = summary_of([*known, ended(2, 4, 2.0, 1.0)], SOLO)
    assert (found.images, found.cost_usd_per_image, found.device_s_per_image) == (3, 0.002, 2.0)


def test_latency_counts_from_when_it_was_to_arrive() -> None:
    late = Outcome(0, "4 steps", at_s=1.0, sent_s=2.5, ended_s=3.0)
    assert late.latency_s == 2.0
    found = summary_of([late], SOLO)
    assert found.is_behind
    assert found.latency_s.max == 2.0


def test_what_all_failed_has_no_latency_and_costs_nothing_an_image() -> None:
    found = summary_of([Outcome(0, "4 steps", 0.0, 0.0, ended_s=0.1, code="unavailable")], SOLO)
    assert (found.latency_s.p50, found.cost_usd_per_image, found.slo["3"]) == (None, None, 0.0)


def test_poisson_arrivals_have_their_rate_and_exponential_gaps() -> None:
    plan = plan_of(Arrivals("poisson", 5.0, requests=4000), Mix((4, 8, 20)), seed=1)
    gaps = [b.at_s - a.at_s for a, b in pairwise(plan)]
    assert statistics.fmean(gaps) == pytest.approx(0.2, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(0.2, rel=0.1)  # of an exponential: its mean
    assert {wanted.steps for wanted in plan} == {4, 8, 20}
    assert plan[0].at_s > 0.0


def test_bursts_arrive_together_and_keep_the_rate() -> None:
    plan = plan_of(Arrivals("burst", 5.0, requests=4000, burst_size=8), Mix((4,)), seed=1)
    moments = sorted({wanted.at_s for wanted in plan})
    assert len(moments) == 500
    assert plan[-1].at_s == pytest.approx(4000 / 5.0, rel=0.15)


def test_the_first_burst_waits_for_its_gap_too() -> None:
    came = [len(plan_of(Arrivals("burst", 5.0, duration_s=16.0), Mix((4,)), seed)) / 16.0 for seed in range(400)]
    assert statistics.fmean(came) == pytest.approx(5.0, rel=0.05)  # a burst at the start for nothing makes it 5.5


def test_a_spike_has_its_times_the_rate_in_the_middle_third_alone() -> None:
    plan = plan_of(Arrivals("spike", 10.0, duration_s=300.0, spike=10.0), Mix((4,)), seed=1)
    thirds = [sum(start <= wanted.at_s < start + 100.0 for wanted in plan) for start in (0.0, 100.0, 200.0)]
    assert thirds == [pytest.approx(1000, rel=0.1), pytest.approx(10_000, rel=0.05), pytest.approx(1000, rel=0.1)]
    assert sum(thirds) == len(plan)


def test_a_spike_of_so_many_requests_has_room_for_them() -> None:
    plan = plan_of(Arrivals("spike", 10.0, requests=12_000, spike=10.0), Mix((4,)), seed=1)
    assert len(plan) == 12_000
    assert plan[-1].at_s == pytest.approx(300.0, rel=0.05)
    assert [a.at_s for a in plan] == sorted(a.at_s for a in plan)


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


def test_the_live_table_has_the_latencies_so_far() -> None:
    cells = progress_cells(Progress(None, sent=5, ended=3, failed=1, elapsed_s=2.0, latencies=[1.0, 3.0]))
    assert (cells["sent"], cells["in flight"]) == ("5", "2")
    assert cells["a second"] == "1.00"  # what was refused is no throughput
    assert (cells["p50"], cells["p90"], cells["p99"]) == ("1.00 s", "3.00 s", "-")
    assert progress_cells(Progress(9))["p50"] == "-"


def test_a_machine_s_cost_an_image_counts_its_idle_time() -> None:
    found = summary_of([ended(0, 4, 0.0, 1.0), ended(1, 4, 9.0, 1.0)], SOLO, price_per_hour_usd=3.6)
    assert found.machine_usd_per_image == pytest.approx(10 * 0.001 / 2)


@pytest.mark.parametrize(
    ("tried", "rate", "is_bound"),
    [
        ([(2.0, 0.95), (1.0, 1.0), (3.0, 0.5)], 2.0, False),
        ([(1.0, 0.95)], 1.0, True),
        ([(1.0, 0.5), (2.0, 0.95)], None, False),  # luck at a higher rate is none
    ],
)
def test_goodput_is_the_highest_rate_up_to_which_all_kept_the_share(
    tried: list[tuple[float, float]], rate: float | None, is_bound: bool
) -> None:
    found = goodput_of(tried, 0.9)
    assert (found.rate, found.is_bound) == (rate, is_bound)


def test_a_ramp_rises_from_its_share_to_its_rate() -> None:
    plan = plan_of(Arrivals("ramp", 10.0, duration_s=1000.0, ramp_from=0.2), Mix((4,)), seed=1)
    first, last = (sum(low <= each.at_s < low + 100 for each in plan) for low in (0, 900))
    assert len(plan) == pytest.approx(6000, rel=0.05)  # 2 rising to 10: 6 on average
    assert first == pytest.approx(240, rel=0.2)  # 2.4 a second in the first tenth
    assert last == pytest.approx(960, rel=0.1)
    assert [each.at_s for each in plan] == sorted(each.at_s for each in plan)


def test_a_ramp_of_so_many_requests_ends_near_its_full_rate() -> None:
    plan = plan_of(Arrivals("ramp", 5.0, requests=2000), Mix((4,)), seed=1)
    assert len(plan) == 2000
    assert plan[-1].at_s == pytest.approx(2 * 2000 / 5.0, rel=0.1)


def test_a_mix_has_one_kind_for_whatever_takes_as_long_alone() -> None:
    mix = Mix((4, 8, 4), guidance=(1.0, 5.0, 7.0), sizes=((64, 64),), images=2)
    assert [each.kind for each in one_of_each(mix)] == [
        "4 steps, 2 images, 64x64, guided",  # what comes most is first
        "4 steps, 2 images, 64x64, not guided",
        "8 steps, 2 images, 64x64, guided",
        "8 steps, 2 images, 64x64, not guided",
    ]
    assert {each.kind for each in plan_of(Arrivals("poisson", 9.0, 50), mix, 0)} == {
        each.kind for each in one_of_each(mix)
    }
