"""What workers were paid for and what for, from what the store keeps by days of UTC; pure.

    paid (alive) = start + load + between + jobs + uncharged + idle

- `jobs`: device seconds that jobs were charged with; in a shared batch each has its share of the rows.
- `uncharged`: inside forwards, and charged to no job: of attempts that still run, attempts whose worker died.
- `between`: the engine's turns outside of forwards: solvers, and the Python of pipelines.
- `start`: from the process's begin until it was ready, with the first picture that each model is tried on, and the
  first batch of each shape, which runs against single calls.
- `load`: loading models while nothing ran. `idle`: the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..core import Charge, WorkerTime

HOUR_S = 3600.0
NO_POOL, ELSEWHERE = "(no pool)", "(elsewhere)"  # of workers that are in none; of jobs that another Darkroom ran
PARTS = ("jobs", "uncharged", "between", "load", "start", "idle")


class By(StrEnum):
    """What a row of the answer stands for."""

    TENANT = "tenant"
    MODEL = "model"
    POOL = "pool"
    DAY = "day"


@dataclass
class Sum:
    """Seconds and US dollars by what they went to; `paid_*` are the workers', the other totals those of jobs."""

    jobs: int = 0
    images: int = 0
    device_s: float = 0.0
    cost_usd: float = 0.0
    paid_s: float = 0.0
    paid_usd: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    usd: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    def charge(self, took: Charge, *, is_elsewhere: bool) -> None:
        """Count what jobs took; of a device elsewhere, no worker's time."""
        self.jobs += took.jobs
        self.images += took.images
        self.device_s += took.device_s
        self.cost_usd += took.cost_usd
        if not is_elsewhere:
            self._add("jobs", took.device_s, took.cost_usd)
            self._add("uncharged", -took.device_s, -took.cost_usd)

    def pay(self, time: WorkerTime) -> None:
        """Count a worker's day."""
        price = time.price_per_hour_usd / HOUR_S
        self.paid_s += time.alive_s
        self.paid_usd += time.alive_s * price
        idle_s = time.alive_s - time.start_s - time.load_s - time.busy_s
        spent = {"uncharged": time.forward_s, "between": time.busy_s - time.forward_s}
        spent |= {"load": time.load_s, "start": time.start_s, "idle": idle_s}
        for part, seconds in spent.items():
            self._add(part, seconds, seconds * price)

    def _add(self, part: str, seconds: float, usd: float) -> None:
        self.seconds[part] += seconds
        self.usd[part] += usd

    @property
    def of_jobs(self) -> dict[str, Any]:
        """The jobs' part as JSON says it."""
        each = self.cost_usd / self.images if self.images else None
        return {
            "jobs": self.jobs,
            "images": self.images,
            "device_s": round(self.device_s, 3),
            "cost_usd": round(self.cost_usd, 6),
            "cost_per_image": None if each is None else round(each, 8),
            "cost_per_1000_images": None if each is None else round(1000 * each, 5),
        }

    @property
    def of_workers(self) -> dict[str, Any]:
        """The workers' part as JSON says it."""
        each = self.paid_usd / self.images if self.images else None
        return {
            "paid_s": round(self.paid_s, 3),
            "paid_usd": round(self.paid_usd, 6),
            "paid_per_image": None if each is None else round(each, 8),
            "idle_share": round(self.seconds["idle"] / self.paid_s, 4) if self.paid_s else None,
            "parts": [
                {"part": part, "seconds": round(self.seconds[part], 3), "usd": round(self.usd[part], 6)}
                for part in PARTS
            ],
        }


NOT_PAID: Mapping[str, Any] = {
    "paid_s": None,
    "paid_usd": None,
    "paid_per_image": None,
    "idle_share": None,
    "parts": [],
}


def told(
    times: Sequence[WorkerTime], charges: Sequence[Charge], by: By, day_said: Callable[[int], str]
) -> dict[str, Any]:
    """The answer of `GET /v1/fleet/cost` without its times: `rows`, those that cost most first (days in their order).

    Idle time belongs to pools and days, to no tenant and no model. `day_said` writes a day (since the epoch).
    """
    pools = pools_by_worker(times)
    total, rows = Sum(), dict[str, Sum]()
    for took in charges:
        name = {
            By.TENANT: took.tenant,
            By.MODEL: took.model,
            By.POOL: pools.get(took.worker, ELSEWHERE),
            By.DAY: day_said(took.day),
        }[by]
        for each in (total, rows.setdefault(name, Sum())):
            each.charge(took, is_elsewhere=took.worker not in pools)
    for time in times:
        total.pay(time)
        if by in (By.POOL, By.DAY):
            rows.setdefault(time.pool or NO_POOL if by == By.POOL else day_said(time.day), Sum()).pay(time)
    return {
        "by": by.value,
        "rows": [_row(name, row, is_paid=by in (By.POOL, By.DAY)) for name, row in _ranked(rows, by)],
        "total": _row("total", total, is_paid=True),
    }


def _row(name: str, row: Sum, *, is_paid: bool) -> dict[str, Any]:
    return {"name": name, **row.of_jobs, **(row.of_workers if is_paid else NOT_PAID)}


def pools_by_worker(times: Iterable[WorkerTime]) -> Mapping[str, str]:
    """The pool that each worker was in last."""
    return {time.worker: time.pool or NO_POOL for time in times}


def _ranked(rows: Mapping[str, Sum], by: By) -> list[tuple[str, Sum]]:
    if by == By.DAY:
        return sorted(rows.items())
    return sorted(rows.items(), key=lambda row: (-row[1].paid_usd, -row[1].cost_usd, -row[1].device_s, row[0]))
