"""How full the forwards of our workers were while a load ran, from what they count themselves."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ..client.asking import Asking
from ..errors import DarkroomError

EVERY_S = 1.0  # as often as a worker that is looked at reports
TAIL_S = 1.2  # its last batches are told after they ended

Counts = Mapping[str, Mapping[int, int]]  # by worker: rows -> forwards since its start


@dataclass(frozen=True)
class Sample:
    """What was told within the second before `at_s`: so many forwards of the denoiser, with so many rows in all."""

    at_s: float
    forwards: int
    rows: int


@dataclass(frozen=True)
class Batches:
    """The forwards of a run's denoisers: how many of each row count, and over time."""

    rows: Mapping[int, int] = field(default_factory=dict)
    samples: Sequence[Sample] = ()

    @property
    def mean_rows(self) -> float:
        """Rows of a forward."""
        return sum(rows * count for rows, count in self.rows.items()) / max(1, sum(self.rows.values()))


@dataclass
class Watch:
    """What is being counted; None of it where the service does not tell."""

    began: float
    last: Counts | None
    total: Counter[int] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)

    def note(self, counts: Counts | None, at: float) -> None:
        """The latest counts, at a moment of the monotonic clock."""
        if counts is None or self.last is None:
            return
        new = added(self.last, counts)
        self.last = {**self.last, **counts}
        self.total.update(new)
        if new:
            self.samples.append(Sample(at - self.began, new.total(), sum(rows * n for rows, n in new.items())))

    @property
    def batches(self) -> Batches | None:
        """What it came to."""
        return Batches(dict(sorted(self.total.items())), tuple(self.samples)) if self.total else None


def added(before: Counts, after: Counts) -> Counter[int]:
    """The forwards that came between; a worker that has fewer than before has been started anew."""
    found: Counter[int] = Counter()
    for worker, counts in after.items():
        then = before.get(worker, {})
        if sum(then.values()) > sum(counts.values()):
            then = {}
        found.update({rows: n - then.get(rows, 0) for rows, n in counts.items() if n > then.get(rows, 0)})
    return found


async def counts_of(asking: Asking | None) -> Counts | None:
    """What each worker has counted; asked so, they tell every second from then on. None where that is not to be had."""
    if asking is None:
        return None
    try:
        said = await asking.json("GET", "/workers", params={"ticks": "true"})
        return {
            str(worker["id"]): {int(rows): int(n) for rows, n in worker["facts"].get("batches", {}).items()}
            for worker in said["data"]
        }
    except (DarkroomError, KeyError, TypeError, ValueError, AttributeError):  # others, and those who are no operators
        return None


@asynccontextmanager
async def watching(asking: Asking | None) -> AsyncGenerator[Watch]:
    """Count while the body runs; what came of it is there afterwards."""
    watch = Watch(time.monotonic(), await counts_of(asking))
    watch.began = time.monotonic()

    async def look_on() -> None:
        while watch.last is not None:
            await asyncio.sleep(EVERY_S)
            watch.note(await counts_of(asking), time.monotonic())

    looking = asyncio.create_task(look_on())
    try:
        yield watch
    finally:
        looking.cancel()
        await asyncio.wait([looking])
    if watch.last is not None:
        await asyncio.sleep(TAIL_S)
        watch.note(await counts_of(asking), time.monotonic())
