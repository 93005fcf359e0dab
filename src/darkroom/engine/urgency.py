"""Who goes first: an order over what waits, for parked calls and for requests that have not begun; no torch.

Of each priority, the highest first: the *hurried*, whose deadline is near and can still be met, the nearest deadline
first; then *the others*, by when they would be done if each had run alone from the start: so that none is overtaken by
what comes later than that. Last come those that are *given up*: by the forecast they miss their deadline whatever is
done, and what they take would make others miss theirs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

HURRY_S = 5.0  # with more slack than this, and than the work that is left, a deadline does not hurry yet
BELIEVED = 0.9  # of a forecast: one that is a tenth too high must not give up what could be in time


class Rankable(Protocol):
    """What is asked of whatever waits; times are the clock's of `now`."""

    @property
    def deadline(self) -> float | None: ...
    @property
    def priority(self) -> int: ...
    @property
    def due(self) -> float:
        """When it would be done if it had run alone since it came; when it came, where that is not known."""
        ...

    @property
    def remaining_s(self) -> float:
        """Seconds that it still takes alone; 0.0 where nothing is known."""
        ...


R = TypeVar("R", bound=Rankable)


@dataclass(frozen=True)
class Order(Generic[R]):
    """Each part in its order."""

    hurried: list[R]
    others: list[R]
    given_up: list[R]

    @property
    def all(self) -> list[R]:
        """A deadline goes before those of its own and of lower priorities; sorting keeps the order within each part."""
        line = [*((one, False) for one in self.hurried), *((one, True) for one in self.others)]
        line.sort(key=lambda pair: (-pair[0].priority, pair[1]))
        return [*(one for one, _ in line), *self.given_up]


def in_order(waiting: Sequence[R], now: float, share: Callable[[R], float]) -> Order[R]:
    """Everything that waits; `share` says which part of its seconds alone one costs the device in its company."""
    hurried = [one for one in waiting if _hurries(one, now)]
    kept, given_up = keepable(hurried, now, share) if hurried else ([], [])
    others = [one for one in waiting if not _hurries(one, now)] if hurried else list(waiting)
    others.sort(key=lambda one: (-one.priority, one.due))
    given_up.sort(key=lambda one: (-one.priority, one.due))
    return Order(kept, others, given_up)


def keepable(hurried: Sequence[R], now: float, share: Callable[[R], float]) -> tuple[list[R], list[R]]:
    """As many as can be in time, the nearest deadline first, and the rest.

    By priority, and in order of deadlines; whenever the work so far would be late, that of the lowest priority that
    costs most is left out: of equal priorities on one machine the fewest (J. M. Moore, Management Science 15, 1968).
    """
    kept: list[tuple[int, float, int, R]] = []
    given_up: list[R] = []
    total_s = 0.0
    for place, one in enumerate(sorted(hurried, key=_in_class)):
        left_s, needed_s = _deadline(one) - now, BELIEVED * one.remaining_s
        if needed_s > left_s:
            given_up.append(one)
            continue
        cost_s = needed_s * share(one)
        total_s += cost_s
        heapq.heappush(kept, (one.priority, -cost_s, place, one))
        if total_s > left_s:
            _, minus_s, _, dearest = heapq.heappop(kept)
            total_s += minus_s
            given_up.append(dearest)
    return sorted((one for *_, one in kept), key=_in_class), given_up


@dataclass
class Patience:
    """Keeps urgency from starving anybody: of `every` turns one goes to whom urgency has kept waiting for `starve_s`.

    Those due first are the head of any line without urgency, so in a mere backlog nobody counts as kept waiting. And so
    nobody is kept waiting for ever: what comes after one is due is due after it.
    """

    starve_s: float
    every: int = 4
    turns: int = 0

    def first(self, order: Order[R], now: float, waits_since: Callable[[R], float]) -> R:
        """Whose turn it is."""
        head = order.all[0]
        self.turns += 1
        if self.turns < self.every:
            return head
        overtaken = [*order.others, *(one for one in order.hurried if one.priority < head.priority)]
        starved = [one for one in overtaken if one.due <= head.due and now - waits_since(one) >= self.starve_s]
        if not starved:
            return head
        self.turns = 0
        return min(starved, key=waits_since)


def _hurries(one: Rankable, now: float) -> bool:
    return one.deadline is not None and one.deadline - now - one.remaining_s <= max(HURRY_S, one.remaining_s)


def _deadline(one: Rankable) -> float:
    assert one.deadline is not None
    return one.deadline


def _in_class(one: Rankable) -> tuple[int, float]:
    return (-one.priority, _deadline(one))
