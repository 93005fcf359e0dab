"""The simulation: one load for all policies; deadlines kept, and tails where batching does not pay."""

from __future__ import annotations

import pytest

from bench.engine.figure import percentile
from bench.schedule import loads
from bench.schedule.device import BUNDLED, H200, Device
from bench.schedule.policies import POLICIES
from bench.schedule.simulate import simulate


def asks(kind: loads.Kind, device: Device, load: float, count: int = 120) -> list[loads.Ask]:
    return loads.steady(kind, device, load, count, seed=4)


@pytest.mark.parametrize("policy", POLICIES)
def test_without_deadlines_every_request_ends_and_none_before_its_seconds_alone(policy: str) -> None:
    came = asks(loads.mixed_sizes, H200, 0.9)
    late_s = simulate(came, H200, POLICIES[policy](H200)).latency_s
    assert set(late_s) == {ask.number for ask in came}
    assert all(late_s[ask.number] >= ask.solo_s(H200) - 1e-9 for ask in came)


@pytest.mark.parametrize("load", [0.9, 1.5, 2.5])
@pytest.mark.parametrize("slo", [1.2, 2.0])
@pytest.mark.parametrize(
    ("kind", "device"),
    [
        (loads.mixed_steps(512, 1), H200),
        (loads.mixed_steps(1024, 1), H200),
        (loads.mixed_steps(256, 2), BUNDLED),
        (loads.mixed_sizes, H200),
    ],
    ids=["steep", "flat", "bundled", "sizes"],
)
def test_no_other_policy_keeps_more_deadlines(kind: loads.Kind, device: Device, slo: float, load: float) -> None:
    came = asks(kind, device, load)
    kept = {name: len(simulate(came, device, make(device), slo).latency_s) for name, make in POLICIES.items()}
    assert kept["ours"] == max(kept.values())


@pytest.mark.parametrize("load", [0.5, 0.9, 1.5])
def test_where_batching_does_not_pay_the_tail_is_no_worse_than_one_after_another(load: float) -> None:
    """In units of a request's seconds alone; in seconds by a twentieth at the most, for short ones may overtake."""
    came = asks(loads.mixed_steps(1024, 1), H200, load, 400)
    in_solos, in_seconds = {}, {}
    for name in ("ours", "first come"):
        late_s = simulate(came, H200, POLICIES[name](H200)).latency_s
        in_solos[name] = percentile([late_s[ask.number] / ask.solo_s(H200) for ask in came], 0.99)
        in_seconds[name] = percentile([late_s[ask.number] for ask in came], 0.99)
    assert in_solos["ours"] <= in_solos["first come"]
    assert in_seconds["ours"] <= 1.05 * in_seconds["first come"]


def test_the_production_load_peaks_at_nine_times_its_mean() -> None:
    came = loads.by_the_hour(loads.production, H200, 0.1, 20_000, seed=1)
    hour_s = came[-1].arrived / loads.HOURS
    hours = [0] * (loads.HOURS + 1)
    for ask in came:
        hours[int(ask.arrived / hour_s)] += 1
    assert 7 < max(hours) * loads.HOURS / len(came) < 11
    assert 0.88 < sum(ask.steps == 30 for ask in came) / len(came) < 0.94
