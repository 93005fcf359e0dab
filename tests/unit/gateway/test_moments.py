"""Times at the edge."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.errors import BadInput
from darkroom.gateway.moments import parse_moment, rfc3339


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("2030-01-31T12:00:00Z", 1896091200.0),
        ("2030-01-31T13:00:00+01:00", 1896091200.0),
        ("2030-01-31T12:00:00.250Z", 1896091200.25),
        ("1896091200", 1896091200.0),
        ("1896091200.5", 1896091200.5),
        (1896091200, 1896091200.0),
        (0, 0.0),
    ],
)
def test_both_forms_mean_the_same_moment(said: float | str, seconds: float) -> None:
    assert parse_moment(said, "run_at") == seconds


@pytest.mark.parametrize(
    "said",
    [
        *("", "soon", "2030-01-31T12:00:00", "2030-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00"),
        *("-1", "1e9", "nan", "٣", "9" * 40),
        *(-1, 1e300, float("nan"), float("inf")),
    ],
)
def test_what_is_no_moment_is_refused_by_its_field(said: float | str) -> None:
    with pytest.raises(BadInput, match="RFC 3339") as caught:
        parse_moment(said, "run_at")
    assert caught.value.field == "run_at"


@given(st.integers(0, 253402300799000).map(lambda ms: ms / 1000))
def test_what_is_said_is_understood_again(seconds: float) -> None:
    said = rfc3339(seconds)
    assert said is not None
    assert abs(parse_moment(said, "at") - seconds) < 0.002


@given(st.text(max_size=40))
def test_no_text_does_anything_but_mean_a_moment_or_be_refused(text: str) -> None:
    with contextlib.suppress(BadInput):
        assert parse_moment(text, "since") >= 0


def test_what_has_not_happened_has_no_time() -> None:
    assert rfc3339(None) is None
