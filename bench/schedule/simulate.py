"""One policy over one load on a simulated clock: forwards take what the device's curve says, all else takes no time."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .device import Device
from .loads import Ask


@dataclass(eq=False)
class Running:
    """A request in flight and the call it waits with, as the batcher sees it."""

    ask: Ask
    device: Device
    deadline: float | None = None
    error: float = 1.0  # the forecast of what is left, over the truth
    done: int = 0
    parked_at: float = 0.0
    priority: int = 0
    follows_control: bool = False

    @property
    def kind(self) -> str:
        return "denoise" if self.done < self.ask.steps else "decode"

    @property
    def rows(self) -> int:
        return self.ask.rows if self.kind == "denoise" else self.ask.images

    @property
    def key(self) -> Hashable:
        return (self.kind, self.ask.model, self.ask.size)

    @property
    def due(self) -> float:
        return self.ask.arrived + self.error * self.ask.solo_s(self.device)

    @property
    def is_begun(self) -> bool:
        return self.done > 0

    @property
    def remaining_s(self) -> float:
        """Seconds alone that it still takes."""
        steps = max(0, self.ask.steps - self.done)
        denoise_s = steps * self.device.seconds(self.ask.size, "denoise", self.ask.rows)
        return self.error * (denoise_s + self.device.seconds(self.ask.size, "decode", self.ask.images))

    @property
    def is_done(self) -> bool:
        return self.done > self.ask.steps


class Policy(Protocol):
    """Which of the requests in flight run together next; called once for each forward."""

    def next_batch(self, waiting: Sequence[Running], now: float) -> list[Running]: ...


@dataclass
class Outcome:
    """Seconds from arrival to image by request; those that a deadline ended are missing."""

    latency_s: dict[int, float] = field(default_factory=dict)
    forwards: int = 0


def simulate(
    asks: Sequence[Ask], device: Device, policy: Policy, slo: float | None = None, noise: float = 0.0
) -> Outcome:
    """Run them all; with `slo` each has a deadline of so many times its seconds alone and ends when it passes."""
    outcome, waiting, now = Outcome(), list[Running](), 0.0
    coming = [_running(ask, device, slo, noise) for ask in reversed(asks)]
    while coming or waiting:
        while coming and coming[-1].ask.arrived <= now:
            waiting.append(coming.pop())
        waiting = [one for one in waiting if one.deadline is None or now < one.deadline]
        if not waiting:
            now = max(now, coming[-1].ask.arrived) if coming else now
            continue
        batch = policy.next_batch(waiting, now)
        assert batch, "requests wait and none runs"
        now += device.seconds(batch[0].ask.size, batch[0].kind, sum(one.rows for one in batch))
        outcome.forwards += 1
        _advance(batch, now, outcome)
        waiting = [one for one in waiting if not one.is_done]
    return outcome


def _running(ask: Ask, device: Device, slo: float | None, noise: float) -> Running:
    deadline = None if slo is None else ask.arrived + slo * ask.solo_s(device)
    error = random.Random(ask.number).uniform(1 - noise, 1 + noise)
    return Running(ask, device, deadline, error, parked_at=ask.arrived)


def _advance(batch: Sequence[Running], now: float, outcome: Outcome) -> None:
    for one in batch:
        one.done += 1
        one.parked_at = now
        if one.is_done and (one.deadline is None or now <= one.deadline):
            outcome.latency_s[one.ask.number] = now - one.ask.arrived
