"""The order over what waits, against a search through all that could be kept."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

from hypothesis import given, settings
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


@given(st.lists(anybody, max_size=20))
def test_a_deadline_takes_no_turn_from_a_higher_priority(waiting: list[One]) -> None:
    order = in_order(waiting, 5.0, lambda _: 0.5)
    line = order.all[: len(order.hurried) + len(order.others)]
    assert [one.priority for one in line] == sorted((one.priority for one in line), reverse=True)
    hurried = set(map(id, order.hurried))
    for earlier, later in pairwise(line):
        assert earlier.priority > later.priority or id(earlier) in hurried or id(later) not in hurried


def test_whom_a_deadline_must_wait_for_a_higher_priority_is_kept_waiting_too() -> None:
    patience, low = Patience(starve_s=10.0), One(due=0.0, deadline=504.0)
    high = One(due=400.0, priority=1)
    firsts = [patience.first(in_order([low, high], 500.0, lambda _: 1.0), 500.0, lambda one: one.due) for _ in range(8)]
    assert firsts == [high, high, high, low] * 2


def test_of_two_priorities_the_lower_ones_deadline_is_given_up() -> None:
    low, high = One(deadline=10.0, remaining_s=8.0), One(deadline=11.0, remaining_s=8.0, priority=1)
    assert keepable([low, high], 0.0, lambda _: 1.0) == ([high], [low])


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 120), st.booleans())
def test_a_stream_of_urgent_requests_keeps_none_waiting_past_its_own_seconds_alone(
    streams: int, each_s: int, solo_s: int, is_priority: bool
) -> None:
    """Turns of a second; as many urgent requests as there are streams wait at any time, due before it at first."""
    patience, now = Patience(starve_s=10.0), 0.0
    one, parked_at = One(due=float(solo_s)), dict[One, float]()

    def urgent() -> One:
        deadline = None if is_priority else now + streams * each_s + 4.0
        made = One(deadline, int(is_priority), now + each_s, float(each_s))
        parked_at[made] = now
        return made

    parked_at[one] = longest = 0.0

    urgents = [urgent() for _ in range(streams)]
    alone_until = max(solo_s, patience.starve_s) + streams * each_s  # those that came before it was due, done
    while now < alone_until + 60.0:
        order = in_order([one, *urgents], now, lambda _: 1.0)
        first = patience.first(order, now, parked_at.__getitem__)
        now += 1.0
        parked_at[first] = now
        first.remaining_s -= first is not one
        urgents = [each if each.remaining_s > 0 else urgent() for each in urgents]
        if now > alone_until:
            longest = max(longest, now - max(parked_at[one], alone_until))
    assert longest <= patience.starve_s + patience.every * (streams + 1)
