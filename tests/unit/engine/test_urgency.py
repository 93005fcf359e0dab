"""The order over what waits, against a search through all that could be kept."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from darkroom.engine.urgency import BELIEVED, Patience, in_order, keepable


@dataclass(eq=False)
class One:
    deadline: float | None = None
    priority: int = 0
    due: float = 0.0
    remaining_s: float = 0.0


hurried = st.builds(One, deadline=st.integers(0, 20).map(float), remaining_s=st.integers(0, 12).map(float))
anybody = st.builds(
    One,
    deadline=st.none() | st.floats(0, 50),
    priority=st.integers(-2, 2),
    due=st.floats(0, 50),
    remaining_s=st.floats(0, 30),
)


def are_in_time(kept: tuple[One, ...] | list[One]) -> bool:
    total = 0.0
    for one in sorted(kept, key=lambda one: one.deadline or 0.0):
        total += BELIEVED * one.remaining_s
        if total > (one.deadline or 0.0) + 1e-9:
            return False
    return True


@given(st.lists(hurried, max_size=7))
def test_as_many_deadlines_are_kept_as_can_be(waiting: list[One]) -> None:
    kept, given_up = keepable(waiting, 0.0, lambda _: 1.0)
    most = max(n for n in range(len(waiting) + 1) if any(are_in_time(some) for some in combinations(waiting, n)))
    assert are_in_time(kept)
    assert len(kept) == most
    assert sorted(map(id, [*kept, *given_up])) == sorted(map(id, waiting))


@given(st.lists(anybody, max_size=20))
def test_the_order_holds_everything_once(waiting: list[One]) -> None:
    assert sorted(map(id, in_order(waiting, 5.0, lambda _: 0.5).all)) == sorted(map(id, waiting))


def test_in_a_backlog_nobody_counts_as_kept_waiting() -> None:
    patience = Patience(starve_s=10.0)
    line = [One(due=float(place)) for place in range(9)]
    firsts = {id(patience.first(in_order(line, 500.0, lambda _: 1.0), 500.0, lambda one: one.due)) for _ in range(20)}
    assert firsts == {id(line[0])}


def test_whom_priority_keeps_waiting_gets_one_turn_in_four() -> None:
    patience, low, high = Patience(starve_s=10.0), One(due=0.0), One(due=400.0, priority=1)
    firsts = [
        patience.first(in_order([low, high], 500.0, lambda _: 1.0), 500.0, lambda one: one.due) for _ in range(12)
    ]
    assert firsts == [high, high, high, low] * 3
