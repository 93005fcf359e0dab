"""Muse's own table: more and more users who all come at once, with batching on and off, for one and two workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from darkroom.bench.figures import Outcome, spread
from darkroom.bench.plan import Wanted

from .size import Size
from .workloads import at_once


@dataclass(frozen=True)
class Setting:
    """How Darkroom is started."""

    workers: int
    is_batching: bool

    @property
    def name(self) -> str:
        """Of its file."""
        return f"muse/{self.workers}-{'on' if self.is_batching else 'off'}"

    @property
    def said(self) -> str:
        """For people."""
        count = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        return f"{count}, batching {'on' if self.is_batching else 'off'}"


def settings(size: Size) -> list[Setting]:
    """All of them."""
    return [Setting(workers, is_batching) for workers, is_batching in product(size.workers, (False, True))]


def is_measured(said: object) -> bool:
    """What failed says why, and is tried again."""
    return isinstance(said, list)


def measured(size: Size, send: Callable[[Sequence[Wanted]], list[Outcome]]) -> list[dict[str, Any]]:
    """For each count of users: how many were served, the seconds until the last, and how long one waits."""
    found = []
    for users in size.users:
        outcomes = send(at_once(users, seed=users))
        done = [each.latency_s for each in outcomes if each.has_succeeded]
        waits = spread(done)
        found.append(
            {"users": users, "served": len(done), "total_s": waits.max, "p50_s": waits.p50, "p90_s": waits.p90}
        )
    return found
