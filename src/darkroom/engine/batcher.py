"""Which parked calls run together next: a pure decision over plain values, no torch, no clock of its own.

The most urgent call's key runs, filled up with calls of the same key. Urgent means, in this order: starved (waited
past `starve_s`; of these the one that parked first), right behind its ControlNet, little slack to its deadline, high
priority, parked long. A call that has just run parks anew and is young, so keys that wait get their turn.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

SLACK_S = 5.0  # deadlines farther away than this do not jump the queue


class Waiting(Protocol):
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
    def deadline(self) -> float | None: ...
    @property
    def priority(self) -> int: ...
    @property
    def follows_control(self) -> bool: ...


W = TypeVar("W", bound=Waiting)


@dataclass
class Batcher:
    """Decides per tick; `cap` answers the most rows worth one forward of a call like this one.

    `decode_every`: while denoising waits, at most one tick in so many decodes; more than 2 leaves images that only
    lack their decode waiting under load. `starve_s`: a call that waited so long goes first, whatever else is urgent.
    """

    cap: Callable[[Waiting], int]
    batching: bool = True
    decode_every: int = 2
    starve_s: float = 10.0
    ticks_since_decode: int = 0

    def next_batch(self, waiting: Sequence[W], now: float) -> list[W]:
        """The calls of the next forward, most urgent first; empty only when nothing waits."""
        candidates = self._in_turn(waiting, now)
        if not candidates:
            return []
        ranked = sorted(candidates, key=lambda call: self.urgency(call, now))
        batch = self._fill(ranked)
        self.ticks_since_decode = 0 if batch[0].kind == "decode" else self.ticks_since_decode + 1
        return batch

    def urgency(self, call: Waiting, now: float) -> tuple[bool, bool, float, int, float]:
        """A sort key, least first."""
        if now - call.parked_at >= self.starve_s:  # the oldest of them, or one that is urgent for ever keeps others out
            return (False, False, 0.0, 0, call.parked_at)
        slack = SLACK_S if call.deadline is None else min(SLACK_S, call.deadline - now)
        return (True, not call.follows_control, slack, -call.priority, call.parked_at)

    def _in_turn(self, waiting: Sequence[W], now: float) -> Sequence[W]:
        """Leave decodes out until their turn, so that they neither stall the loop nor starve."""
        others = [call for call in waiting if call.kind != "decode"]
        if not others or len(others) == len(waiting):
            return waiting
        is_starved = any(call.kind == "decode" and now - call.parked_at >= self.starve_s for call in waiting)
        if self.ticks_since_decode + 1 >= (2 if is_starved else self.decode_every):
            return [call for call in waiting if call.kind == "decode"]
        return others

    def _fill(self, ranked: list[W]) -> list[W]:
        first = ranked[0]
        cap = self.cap(first) if self.batching else 0
        batch, rows = [first], first.rows
        for call in ranked[1:]:
            if call.key == first.key and rows + call.rows <= cap:
                batch.append(call)
                rows += call.rows
        return batch
