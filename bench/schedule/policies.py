"""The engine's batcher and what it is held against. All learn the same caps on rows from the same curve."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from darkroom.engine.batcher import Batcher, Waiting
from darkroom.engine.profile import TRUSTED, Profile

from .device import Device
from .simulate import Policy, Running

CEILING = 32
DECODE_ROWS = 2  # as the engine has it
TRIED = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def ours(device: Device) -> Policy:
    """The engine's batcher with the engine's profile, which knows the curve."""
    profile, cap = _learned(device)
    known = functools.cache(profile.seconds)
    return Batcher(cap, seconds=lambda call, rows: known(_shape(call), rows))


def first_come(_: Device) -> Policy:
    """One request at a time, first come first served."""
    return FirstCome()


def keyed_rounds(device: Device) -> Policy:
    """Batches of requests that are alike in model, size, guidance and adapter; keys take turns."""
    return Keyed(_learned(device)[1], takes_turns=True)


def keyed_fifo(device: Device) -> Policy:
    """The same, but the oldest request's key always runs."""
    return Keyed(_learned(device)[1], takes_turns=False)


POLICIES: dict[str, Callable[[Device], Policy]] = {
    "ours": ours,
    "first come": first_come,
    "keyed rounds": keyed_rounds,
    "keyed fifo": keyed_fifo,
}


class FirstCome:
    """The oldest request, alone, until it is done."""

    def next_batch(self, waiting: Sequence[Running], now: float) -> list[Running]:
        return [min(waiting, key=lambda one: one.ask.arrived)]


@dataclass
class Keyed:
    """Batches within a key, in order of arrival; `takes_turns` goes round the keys, else the oldest request's runs."""

    cap: Callable[[Waiting], int]
    takes_turns: bool
    turns: OrderedDict[Hashable, None] = field(default_factory=OrderedDict)

    def next_batch(self, waiting: Sequence[Running], now: float) -> list[Running]:
        by_key: dict[Hashable, list[Running]] = {}
        for one in sorted(waiting, key=lambda one: one.ask.arrived):
            by_key.setdefault((one.key, one.ask.guidance, one.ask.adapter), []).append(one)
        alike = by_key[self._turn(by_key)]
        batch, rows = alike[:1], alike[0].rows
        for one in alike[1:]:
            if rows + one.rows <= self.cap(one):
                batch.append(one)
                rows += one.rows
        return batch

    def _turn(self, by_key: dict[Hashable, list[Running]]) -> Hashable:
        if not self.takes_turns:
            return next(iter(by_key))
        for key in by_key:
            self.turns.setdefault(key)
        key = next(key for key in self.turns if key in by_key)
        self.turns.move_to_end(key)
        return key


def _shape(call: Waiting) -> Hashable:
    assert isinstance(call, Running)
    return (call.kind, call.ask.size)


def _learned(device: Device) -> tuple[Profile, Callable[[Waiting], int]]:
    profile = Profile(CEILING)
    for size in device.step_s:
        for kind, tried in (("denoise", TRIED), ("decode", (1, 2))):
            for rows in tried:
                for _ in range(TRUSTED + 1):  # the first forward of a shape is not believed
                    profile.record((kind, size), rows, device.seconds(size, kind, rows))
    usual = {(kind, size): profile.usual((kind, size)) for size in device.step_s for kind in ("denoise", "decode")}
    return profile, lambda call: DECODE_ROWS if call.kind == "decode" else usual[_shape(call)]
