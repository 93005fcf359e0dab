"""Which parked calls run together next: a pure decision over plain values, no torch, no clock of its own.

The most urgent call's key runs (`urgency.py` says who is urgent), filled up with calls of the same key as far as its
row cap allows and as no deadline in the batch is lost by the company. A denoiser runs right behind its ControlNet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from .urgency import Order, Patience, Rankable, in_order


class Waiting(Rankable, Protocol):
    """What the batcher needs to know of a parked call."""

    @property
    def key(self) -> Hashable: ...
    @property
    def rows(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def parked_at(self) -> float: ...
    @property
    def follows_control(self) -> bool: ...
    @property
    def is_begun(self) -> bool:
        """Whether its request has done a denoising step."""
        ...


W = TypeVar("W", bound=Waiting)
Seconds = Callable[[Waiting, int], float | None]


def _unknown(_: Waiting, __: int) -> None:
    return None


@dataclass
class Batcher:
    """Decides per tick; `cap` answers the most rows worth one forward of a call like this one.

    `seconds` forecasts a forward like a call's at so many rows, None where nothing is known. `starve_s`: a call that
    urgency kept waiting so long gets one tick in four.
    """

    cap: Callable[[Waiting], int]
    batching: bool = True
    seconds: Seconds = _unknown
    starve_s: float = 10.0
    has_just_decoded: bool = False
    patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        self.patience = Patience(self.starve_s)

    def next_batch(self, waiting: Sequence[W], now: float) -> list[W]:
        """The calls of the next forward; empty only when nothing waits."""
        candidates = self._in_turn(waiting)
        if not candidates:
            return []
        order = in_order(candidates, now, self._shares(candidates, now))
        behind = [call for call in candidates if call.follows_control]
        first = min(behind, key=_parked_at) if behind else self.patience.first(order, now, _parked_at)
        batch = self._fill(first, order, now)
        self.has_just_decoded = first.kind == "decode"
        return batch

    def _in_turn(self, waiting: Sequence[W]) -> Sequence[W]:
        """No two decodes in a row while other calls wait: those who end together would hold up all others."""
        others = [call for call in waiting if call.kind != "decode"] if self.has_just_decoded else []
        return others or waiting

    def _fill(self, first: W, order: Order[W], now: float) -> list[W]:
        batch, rows = [first], first.rows
        cap = self.cap(first) if self.batching else 0
        hurried = set(map(id, order.hurried))
        most_s = self._bearable_s(first, now) if id(first) in hurried else math.inf
        for call in _company(first, order):
            if rows + call.rows <= cap and (self.seconds(first, rows + call.rows) or 0.0) <= most_s:
                batch.append(call)
                rows += call.rows
                if id(call) in hurried:
                    most_s = min(most_s, self._bearable_s(call, now))
        return batch

    def _bearable_s(self, call: W, now: float) -> float:
        """Seconds of a forward at which a hurried call is in time if all that it still needs slows down alike."""
        alone_s = self.seconds(call, call.rows)
        if alone_s is None or not call.remaining_s:
            return math.inf
        assert call.deadline is not None
        return max(1.0, (call.deadline - now) / call.remaining_s) * alone_s

    def _shares(self, waiting: Sequence[W], now: float) -> Callable[[W], float]:
        """Which part of its seconds alone a hurried call costs in the company that it can bear."""
        rows: dict[Hashable, int] = {}
        for call in waiting:
            if call.deadline is not None:
                rows[call.key] = rows.get(call.key, 0) + call.rows

        def share(call: W) -> float:
            alone_s, most_s = self.seconds(call, call.rows), self._bearable_s(call, now)
            most = min(rows[call.key], self.cap(call)) if self.batching and alone_s else 0
            counts = range(2 * call.rows, most + 1, call.rows)
            forwards = [(self.seconds(call, count) or math.inf, count // call.rows) for count in counts]
            return min((s / places / alone_s for s, places in forwards if s <= most_s and alone_s), default=1.0)

        return share


def _company(first: W, order: Order[W]) -> list[W]:
    """Others of its key: of each priority the hurried, then who has not begun, so that nobody's first step waits."""
    line = [*((call, 0) for call in order.hurried), *((call, 1 + call.is_begun) for call in order.others)]
    line.sort(key=lambda pair: (-pair[0].priority, pair[1]))
    ranked = [*(call for call, _ in line), *order.given_up]
    return [call for call in ranked if call is not first and call.key == first.key]


def _parked_at(call: Waiting) -> float:
    return call.parked_at
