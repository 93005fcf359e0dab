"""What workers were paid for as Prometheus sees it: counters by pool that only rise, from the store."""

from __future__ import annotations

from darkroom.core import WorkerTime
from darkroom.telemetry.paid import Paid

BEGAN_AT = 10.0


def time(worker: str = "w", alive_s: float = 0.0, busy_s: float = 0.0, pool: str = "spot", day: int = 1) -> WorkerTime:
    return WorkerTime(worker, day, 5.0, alive_s, busy_s=busy_s, price_per_hour_usd=3600.0, pool=pool)


def opened() -> Paid:
    """Of a gateway that began after these workers."""
    return Paid(BEGAN_AT)


def samples(paid: Paid) -> dict[str, float]:
    """Each sample by its pool and part."""
    found = [sample for metric in paid.counters() for sample in metric.samples]
    return {"/".join(sample.labels.values()): sample.value for sample in found}


def test_of_workers_that_began_after_the_gateway_all_counts_from_the_first_look_on() -> None:
    paid, young = Paid(BEGAN_AT), WorkerTime("w", 1, BEGAN_AT + 1, 20.0, start_s=6.0, load_s=3.0, busy_s=4.0)
    paid.look([young], is_counting=True)
    assert samples(paid) == {"": 0.0, "/start": 6.0, "/load": 3.0, "/busy": 4.0, "/idle": 7.0}
    paid.look([young], is_counting=True)
    assert samples(paid)["/start"] == 6.0


def test_a_gateway_that_starts_again_does_not_tell_again_what_its_earlier_life_told() -> None:
    first, again = Paid(1.0), Paid(BEGAN_AT)
    first.look([time(alive_s=100.0)], is_counting=True)
    again.look([time(alive_s=100.0)], is_counting=True)
    again.look([time(alive_s=103.0)], is_counting=True)
    assert (samples(first)["spot"], samples(again)["spot"]) == (100.0, 3.0)


def test_of_older_workers_what_is_new_since_the_first_look_counts() -> None:
    paid = opened()
    paid.look([time(alive_s=100.0, busy_s=50.0)], is_counting=True)
    assert set(samples(paid).values()) == {0.0}
    paid.look([time(alive_s=110.0, busy_s=54.0), time("new", 5.0, 1.0)], is_counting=True)
    assert samples(paid) == {"spot": 15.0, "spot/start": 0.0, "spot/load": 0.0, "spot/busy": 5.0, "spot/idle": 10.0}


def test_days_that_are_told_no_more_take_nothing_back() -> None:
    paid = opened()
    paid.look([], is_counting=True)
    paid.look([time(alive_s=7.0)], is_counting=True)
    paid.look([time(alive_s=2.0, day=2)], is_counting=True)
    assert samples(paid)["spot"] == 9.0


def test_pools_are_apart_and_only_the_leader_counts() -> None:
    paid = opened()
    paid.look([], is_counting=False)
    paid.look([time(alive_s=7.0)], is_counting=False)
    paid.look([time(alive_s=8.0), time("b", 3.0, pool="")], is_counting=True)
    assert (samples(paid)["spot"], samples(paid)[""]) == (1.0, 3.0)


def test_a_gateway_that_is_first_looked_at_once_it_leads_tells_nothing_that_the_leader_before_it_told() -> None:
    first, second, led_at = Paid(1.0), Paid(2.0), 300.0
    first.look([time(alive_s=100.0)], is_counting=True)
    after = [time(alive_s=130.0), WorkerTime("new", 1, led_at + 1, 20.0, price_per_hour_usd=3600.0, pool="spot")]
    second.look(after, is_counting=True, others_led_at=led_at)
    assert (samples(first)["spot"], samples(second)["spot"]) == (100.0, 20.0)
    second.look([time(alive_s=133.0), after[1]], is_counting=True, others_led_at=led_at)
    assert samples(second)["spot"] == 23.0
