"""Forecasts of work by the hour."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.fleet.seasons import DAY, HOUR_S, MOST_LEVEL, WEEK, Seasons

NOON = 20_000 * DAY * HOUR_S + 12 * HOUR_S  # of some day


def daily(loads: dict[int, float], days: int, until: float = NOON) -> dict[float, float]:
    """Arrivals before `until`: erlangs by hour of the day, the same each day."""
    last = int(until // HOUR_S)
    hours = range(last - days * DAY, last)
    return {hour * HOUR_S: loads[hour % DAY] * HOUR_S for hour in hours if hour % DAY in loads}


def test_without_history_nothing_is_foreseen() -> None:
    assert Seasons({}, NOON).erlangs(NOON) == 0.0


def test_of_the_first_day_nothing_repeats_yet() -> None:
    arrivals = {NOON - HOUR_S: 5000.0, NOON: 100.0}
    assert Seasons(arrivals, NOON + 60).erlangs(NOON + HOUR_S) == 0.0


@pytest.mark.parametrize("days", [3, 10, 21])
def test_a_day_that_repeats_is_foreseen_hour_by_hour(days: int) -> None:
    loads = {9: 1.0, 10: 2.5, 11: 0.5, 13: 3.0, 20: 0.25}
    seasons = Seasons(daily(loads, days), NOON)
    for hour, load in loads.items():
        ahead = (hour - 12) % DAY
        assert seasons.erlangs(NOON + ahead * HOUR_S + 1800) == pytest.approx(load, rel=1e-6)
    assert seasons.erlangs(NOON + 4 * HOUR_S) == 0.0


def test_the_hour_of_the_week_counts_beside_the_hour_of_the_day() -> None:
    mondays = {NOON - week * WEEK * HOUR_S: 2.0 * HOUR_S for week in range(1, 4)}
    monday, tuesday = (
        Seasons(mondays, NOON - 1 + day * DAY * HOUR_S).erlangs(NOON + day * DAY * HOUR_S) for day in (0, 1)
    )
    assert monday > 2 * tuesday > 0


def test_hours_that_are_busier_than_foreseen_raise_what_is_to_come() -> None:
    arrivals = daily(dict.fromkeys(range(DAY), 1.0), 10)
    usual = Seasons(arrivals, NOON).erlangs(NOON)
    busier = {start: work_s * (3 if start >= NOON - 3 * HOUR_S else 1) for start, work_s in arrivals.items()}
    quieter = {start: work_s * (0 if start >= NOON - 3 * HOUR_S else 1) for start, work_s in arrivals.items()}
    assert Seasons(quieter, NOON).erlangs(NOON) < 0.3 * usual
    assert 2 * usual < Seasons(busier, NOON).erlangs(NOON) <= 3 * usual


def test_the_hour_that_runs_counts_by_its_part() -> None:
    arrivals = daily(dict.fromkeys(range(DAY), 1.0), 10)
    halfway = {**arrivals, NOON: 0.5 * HOUR_S}
    assert Seasons(halfway, NOON + 0.5 * HOUR_S).erlangs(NOON + 0.6 * HOUR_S) == pytest.approx(1.0, rel=1e-6)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.integers(0, 700), st.floats(0, 40_000), max_size=120), st.integers(0, 3 * DAY))
def test_forecasts_are_never_negative_nor_beyond_what_came_times_the_level(back: dict[int, float], ahead: int) -> None:
    arrivals = {NOON - hours * HOUR_S: work_s for hours, work_s in back.items()}
    found = Seasons(arrivals, NOON + 900).erlangs(NOON + ahead * HOUR_S)
    assert 0.0 <= found <= MOST_LEVEL * max(arrivals.values(), default=0.0) / HOUR_S + 1e-9
