"""What the profile learns, over drawn curves."""

from __future__ import annotations

from pathlib import Path

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


def test_saved_curves_come_back(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    profile = learned({2: 1.0, 4: 1.2, 8: 2.6, 16: 5.2})
    profile.lower_limit(KEY, 16)
    profile.save(path)
    again = Profile(32)
    again.load(path, {repr(KEY): KEY})
    assert again.table() == profile.table()
    assert again.cap(KEY) == profile.cap(KEY)
