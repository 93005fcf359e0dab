"""What a worker takes on: pure decisions, over everything that may come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from darkroom.worker.claiming import (
    LONGEST_PAUSE_S,
    MOST_AT_ONCE,
    MOST_IN_FLIGHT,
    Wanted,
    Work,
    ahead_s,
    how_many,
    let_s,
    pause_s,
    unfinishable,
)

SECONDS = st.floats(min_value=0, max_value=1e5, allow_nan=False)
SOME_SECONDS = st.floats(min_value=1e-3, max_value=1e5, allow_nan=False)
COUNTS = st.integers(0, 2 * MOST_IN_FLIGHT)
WORK = st.builds(Work, st.integers(1, MOST_IN_FLIGHT), SECONDS, COUNTS, COUNTS, st.booleans())


@given(WORK, SOME_SECONDS, SOME_SECONDS)
def test_a_worker_never_claims_more_than_it_can_hold(work: Work, claim_ahead_s: float, typical_s: float) -> None:
    wanted = how_many(work, claim_ahead_s, typical_s).jobs
    assert 0 <= wanted <= min(MOST_AT_ONCE, work.fits, work.in_flight)
    assert work.in_flight + wanted <= MOST_IN_FLIGHT


@given(SOME_SECONDS, SOME_SECONDS)
def test_a_worker_with_nothing_to_do_always_claims(claim_ahead_s: float, typical_s: float) -> None:
    assert how_many(Work(0, 0.0), claim_ahead_s, typical_s).jobs >= 1


@given(WORK, SOME_SECONDS, SOME_SECONDS)
def test_while_enough_is_at_hand_only_what_finds_free_rows_is_claimed(
    work: Work, claim_ahead_s: float, typical_s: float
) -> None:
    wanted = how_many(work, claim_ahead_s, typical_s)
    if work.fits == 0 or work.has_suspect:
        assert wanted.jobs == 0
    elif work.ahead_s >= claim_ahead_s:
        assert wanted.must_join or not wanted.jobs
        assert wanted.jobs <= work.joining
    else:
        assert not wanted.must_join or not wanted.jobs


@given(st.integers(1, MOST_IN_FLIGHT - 1), SECONDS, SOME_SECONDS, SOME_SECONDS)
def test_what_is_claimed_goes_past_the_bound_by_one_job_at_most(
    in_flight: int, at_hand_s: float, claim_ahead_s: float, typical_s: float
) -> None:
    wanted = how_many(Work(in_flight, at_hand_s), claim_ahead_s, typical_s).jobs
    if wanted:
        assert at_hand_s + (wanted - 1) * typical_s <= claim_ahead_s * (1 + 1e-9)


@given(st.integers(1, MOST_IN_FLIGHT - 1), SECONDS, SECONDS, SOME_SECONDS, SOME_SECONDS)
def test_more_work_at_hand_never_means_a_larger_claim(
    in_flight: int, less_s: float, more_s: float, claim_ahead_s: float, typical_s: float
) -> None:
    less_s, more_s = sorted((less_s, more_s))
    with_less = how_many(Work(in_flight, less_s), claim_ahead_s, typical_s).jobs
    assert how_many(Work(in_flight, more_s), claim_ahead_s, typical_s).jobs <= with_less


def test_nothing_goes_to_a_worker_that_has_a_suspect() -> None:
    assert how_many(Work(1, 0.0, has_suspect=True), 10.0, 1.0).jobs == 0


def test_short_jobs_are_claimed_in_numbers_and_long_ones_singly() -> None:
    assert how_many(Work(8, 2.0), 10.0, 1.0) == Wanted(8)
    assert how_many(Work(8, 2.0), 10.0, 60.0) == Wanted(1)


def test_of_a_few_that_come_together_one_worker_takes_no_more_than_it_has() -> None:
    in_flight = [0]
    while in_flight[-1] < 32:
        in_flight.append(in_flight[-1] + how_many(Work(in_flight[-1], 0.0), 10.0, 0.1).jobs)
    assert in_flight == [0, 1, 2, 4, 8, 16, 32]


def test_a_long_job_does_not_keep_out_what_finds_free_rows_beside_it() -> None:
    assert how_many(Work(4, 60.0, joining=3), 10.0, 60.0) == Wanted(3, must_join=True)
    assert how_many(Work(4, 60.0, joining=3, fits=2), 10.0, 60.0) == Wanted(2, must_join=True)


def test_work_that_nothing_like_was_seen_of_counts_as_the_door_judged_it() -> None:
    assert ahead_s(0.0, submitted=4.0, unsubmitted=1.0) == 5.0
    assert ahead_s(2.5, submitted=4.0, unsubmitted=1.0) == 3.5


def test_who_has_less_at_hand_claims_first_and_nobody_lets_others_go_for_long() -> None:
    waits = [let_s(in_flight) for in_flight in range(129)]
    assert waits[0] == 0
    assert waits[:5] == sorted(set(waits[:5]))  # each later than who has one fewer
    assert waits == sorted(waits)
    assert waits[-1] <= 0.05  # a step of a small model


def test_only_what_cannot_be_done_in_time_goes_back_before_a_drain() -> None:
    left_s = {"short": 1.0, "just": 20.0, "long": 21.0, "not begun": float("inf")}
    assert unfinishable(left_s, 20.0) == ["long", "not begun"]


@given(st.integers(1, 100), SOME_SECONDS, st.floats(0, 1))
def test_pauses_between_attempts_have_a_bound(attempt: int, first_s: float, chance: float) -> None:
    assert 0 < pause_s(attempt, first_s, chance) <= LONGEST_PAUSE_S


@given(st.floats(0, 1))
def test_pauses_double_with_each_attempt_whatever_the_spread(chance: float) -> None:
    first, second, third = (pause_s(attempt, 1.0, chance) for attempt in (1, 2, 3))
    assert second == 2 * first
    assert third == 4 * first


def test_pauses_are_spread_over_half_of_their_length() -> None:
    assert pause_s(3, 1.0, 0.0) == 2.0
    assert pause_s(3, 1.0, 1.0) == 4.0
