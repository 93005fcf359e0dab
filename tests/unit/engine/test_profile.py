"""What the profile learns, over drawn curves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.engine.profile import TRUSTED, Profile

KEY = ("unet", (4, 16, 16), 0)


def learned(curve: dict[int, float], ceiling: int = 32) -> Profile:
    profile = Profile(ceiling)
    for rows, seconds in curve.items():
        for _ in range(TRUSTED + 1):
            profile.record(KEY, rows, seconds)
    return profile


def test_an_unknown_key_may_fill_up_to_the_ceiling() -> None:
    assert Profile(32).cap(KEY) == 32


def test_a_flat_curve_stops_batching() -> None:
    assert learned({1: 1.0, 2: 2.0, 4: 4.0}).cap(KEY) == 1


def test_a_curve_that_keeps_paying_has_no_cap_but_the_ceiling() -> None:
    assert learned({2: 1.0, 4: 1.2, 8: 1.6, 16: 2.4, 32: 4.0}).cap(KEY) == 32


def test_the_cap_is_where_more_rows_stop_paying() -> None:
    assert learned({2: 1.0, 4: 1.2, 8: 2.38, 16: 4.75}).cap(KEY) == 4


def test_a_best_at_the_edge_of_what_was_tried_is_explored_further() -> None:
    assert learned({2: 1.0, 4: 1.2}).cap(KEY) == 32


def test_running_out_of_memory_lowers_the_cap_for_good() -> None:
    profile = learned({2: 1.0, 4: 1.2, 8: 1.4})
    profile.lower_limit(KEY, 4)
    profile.lower_limit(KEY, 16)
    assert profile.cap(KEY) == 4


@given(st.dictionaries(st.integers(1, 64), st.floats(1e-4, 10), max_size=8), st.integers(1, 64))
def test_a_cap_is_always_between_one_and_the_ceiling(curve: dict[int, float], ceiling: int) -> None:
    assert 1 <= learned(curve, ceiling).cap(KEY) <= ceiling


@given(st.dictionaries(st.integers(1, 64), st.floats(1e-4, 10), min_size=1), st.integers(1, 128))
def test_predictions_are_positive_and_meet_what_was_measured(curve: dict[int, float], rows: int) -> None:
    profile = learned(curve)
    assert (profile.seconds(KEY, rows) or 0) > 0
    for known, seconds in curve.items():
        assert profile.seconds(KEY, known) == pytest.approx(seconds)


def test_one_stalled_forward_does_not_move_the_median() -> None:
    profile = learned({4: 1.0})
    profile.record(KEY, 4, 100.0)
    assert profile.seconds(KEY, 4) == 1.0


def test_nothing_known_predicts_nothing() -> None:
    assert Profile(8).seconds(KEY, 4) is None


def test_what_one_profile_knows_another_takes_up() -> None:
    profile = learned({2: 1.0, 4: 1.2, 8: 2.6, 16: 5.2})
    again = Profile(32)
    again.take_up(profile.samples())
    assert again.cap(KEY) == profile.cap(KEY) == 4
    assert again.table() == profile.table()


def test_its_own_forwards_tell_more_than_what_was_taken_up() -> None:
    profile = learned({4: 1.0})
    profile.take_up(learned({4: 9.0}).samples())
    assert profile.seconds(KEY, 4) == 1.0


def test_what_was_taken_up_and_never_asked_for_is_handed_on() -> None:
    middle = Profile(32)
    middle.take_up(learned({4: 1.0}).samples())
    last = Profile(32)
    last.take_up(middle.samples())
    assert last.seconds(KEY, 4) == 1.0


def test_what_ran_out_of_memory_is_tried_again_by_the_next_process() -> None:
    profile = learned({2: 1.0, 4: 1.2, 8: 1.4})
    profile.lower_limit(KEY, 4)
    again = Profile(8)
    again.take_up(profile.samples())
    assert (profile.cap(KEY), again.cap(KEY)) == (4, 8)


@given(st.dictionaries(st.integers(1, 64), st.floats(1e-4, 10), min_size=2), st.integers(1, 64), st.integers(1, 64))
def test_a_forward_of_more_rows_is_never_predicted_at_more_than_its_share(
    curve: dict[int, float], rows: int, more: int
) -> None:
    """Beyond what was measured: between as long as the nearest and in proportion to it."""
    profile, most = learned(curve), max(curve)
    beyond = most + more
    predicted = profile.seconds(KEY, beyond) or 0
    assert curve[most] * 0.999 <= predicted <= curve[most] * beyond / most * 1.001
