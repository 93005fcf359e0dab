"""Where a worker's time goes: every second once, by days."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import pytest

from darkroom.worker.timesheet import SUMS, Timesheet

DAY = 86400.0
BEGAN = 10 * DAY + 100.0


class Process:
    """A worker's process whose clock and engine the test moves."""

    def __init__(self) -> None:
        self.at, self.busy_s, self.outside_s, self.checking_s = 1000.0, 0.0, 0.0, 0.0
        self.sheet = Timesheet(BEGAN, 0.8, self.stats, lambda: self.at, now=BEGAN + 2.0)

    def stats(self) -> Mapping[str, Any]:
        return {"busy_s": self.busy_s, "outside_s": self.outside_s, "checking_s": self.checking_s}

    def spend(self, seconds: float, busy_s: float = 0.0, outside_s: float = 0.0) -> None:
        self.at += seconds
        self.busy_s += busy_s
        self.outside_s += outside_s

    def days(self) -> list[tuple[float, ...]]:
        """Each day's number, and its sums."""
        now = BEGAN + 2.0 + self.at - 1000.0
        return [(day["day"], *(day[name] for name in SUMS)) for day in self.sheet.days(now)]


@pytest.fixture
def process() -> Process:
    return Process()


def test_until_it_is_ready_all_but_loading_is_its_start(process: Process) -> None:
    process.spend(1.0)
    with process.sheet.loading():
        process.spend(3.0)
        assert process.days() == [(10, 6.0, 3.0, 3.0, 0.0, 0.0)]
    process.spend(2.0, busy_s=1.5)
    process.sheet.ready()
    assert process.days() == [(10, 8.0, 5.0, 3.0, 0.0, 0.0)]


def test_afterwards_its_engines_turns_count_and_the_rest_is_idle(process: Process) -> None:
    process.spend(5.0, busy_s=2.0, outside_s=0.5)
    process.sheet.ready()
    process.spend(10.0, busy_s=4.0, outside_s=1.0)
    assert process.days() == [(10, 17.0, 7.0, 0.0, 4.0, 3.0)]


def test_trying_the_first_batch_of_a_shape_belongs_to_the_start(process: Process) -> None:
    process.spend(5.0, busy_s=2.0, outside_s=0.5)
    process.sheet.ready()
    process.checking_s = 1.5
    process.spend(10.0, busy_s=4.0, outside_s=1.0)
    assert process.days() == [(10, 17.0, 8.5, 0.0, 2.5, 1.5)]


def test_loading_beside_work_is_the_works_time(process: Process) -> None:
    process.sheet.ready()
    with process.sheet.loading():
        process.spend(10.0, busy_s=6.0)
    process.spend(5.0, busy_s=1.0)
    assert process.days() == [(10, 17.0, 2.0, 4.0, 7.0, 7.0)]


def test_a_load_that_fails_took_its_time_too(process: Process) -> None:
    process.sheet.ready()
    with contextlib.suppress(OSError), process.sheet.loading():
        process.spend(3.0)
        raise OSError("gone")
    assert process.days()[0][3] == 3.0


def test_each_day_has_its_own_and_the_day_before_is_told_again(process: Process) -> None:
    process.sheet.ready()
    process.spend(DAY - 200.0, busy_s=50.0)
    first = process.days()
    process.spend(200.0, busy_s=20.0)
    assert process.days() == [*first, (11, 200.0, 0.0, 0.0, 20.0, 20.0)]
    process.spend(DAY, busy_s=1.0)
    assert process.days() == [(11, 200.0, 0.0, 0.0, 20.0, 20.0), (12, DAY, 0.0, 0.0, 1.0, 1.0)]


def test_it_says_which_process_and_what_an_hour_costs(process: Process) -> None:
    [day] = process.sheet.days(BEGAN + 3.0)
    assert (day["began_at"], day["price_per_hour_usd"]) == (BEGAN, 0.8)
