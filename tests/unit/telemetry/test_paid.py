"""What workers were paid for as Prometheus sees it: counters by pool that only rise, from the store."""

from __future__ import annotations

from darkroom.core import WorkerTime
from darkroom.telemetry.paid import Paid


def time(worker: str = "w", alive_s: float = 0.0, busy_s: float = 0.0, pool: str = "spot", day: int = 1) -> WorkerTime:
    return WorkerTime(worker, day, 5.0, alive_s, busy_s=busy_s, price_per_hour_usd=3600.0, pool=pool)


def samples(paid: Paid) -> dict[str, float]:
    """Each sample by its pool and part."""
    found = [sample for metric in paid.counters() for sample in metric.samples]
    return {"/".join(sample.labels.values()): sample.value for sample in found}


def test_what_is_new_since_the_first_look_counts() -> None:
    paid = Paid()
    paid.look([time(alive_s=100.0, busy_s=50.0)], is_counting=True)
    assert set(samples(paid).values()) == {0.0}
    paid.look([time(alive_s=110.0, busy_s=54.0), time("new", 5.0, 1.0)], is_counting=True)
    assert samples(paid) == {"spot": 15.0, "spot/start": 0.0, "spot/load": 0.0, "spot/busy": 5.0, "spot/idle": 10.0}


def test_days_that_are_told_no_more_take_nothing_back() -> None:
    paid = Paid()
    paid.look([], is_counting=True)
    paid.look([time(alive_s=7.0)], is_counting=True)
    paid.look([time(alive_s=2.0, day=2)], is_counting=True)
    assert samples(paid)["spot"] == 9.0


def test_pools_are_apart_and_only_the_leader_counts() -> None:
    paid = Paid()
    paid.look([], is_counting=False)
    paid.look([time(alive_s=7.0)], is_counting=False)
    paid.look([time(alive_s=8.0), time("b", 3.0, pool="")], is_counting=True)
    assert (samples(paid)["spot"], samples(paid)[""]) == (1.0, 3.0)
