"""What policies came to in a simulation: figures of each run, and their table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from .nouns import Pool
from .seasons import HOUR_S
from .simulation import Job, Run

TIMES_SOLO = 2.0  # a request is to end within so many times its seconds alone, and a cold start
HEADS = ("policy", "wait mean", "p50", "p95", "p99", "in time", "cost", "per 1000 images", "busy", "starts", "most")


@dataclass(frozen=True)
class Figures:
    """One policy's run; costs are US dollars.

    Waits: seconds from arrival to start. `attained`: the share of requests that ended within twice their seconds alone
    and a cold start. `busy`: the share of paid worker time with a job.
    """

    policy: str
    requests: int
    wait_mean_s: float
    wait_p50_s: float
    wait_p95_s: float
    wait_p99_s: float
    attained: float
    cost_usd: float
    cost_per_image_usd: float
    busy: float
    paid_h: float
    cold_starts: int
    most_workers: int


def figures_of(policy: str, run: Run, pools: Sequence[Pool]) -> Figures:
    """The figures of a run in which all requests ended; the cold start is that of the fastest pool."""
    waits = sorted((job.started_at or 0.0) - job.request.arrival_s for job in run.jobs)
    cold_s = min(pool.ready_s for pool in pools)
    paid = [(worker, (worker.gone_at or run.ended_at) - worker.member.since) for worker in run.workers]
    paid_s, busy_s = sum(seconds for _, seconds in paid), sum(worker.busy_s for worker in run.workers)
    cost = sum(worker.pool.price_per_hour_usd * seconds / HOUR_S for worker, seconds in paid)
    return Figures(
        policy=policy,
        requests=len(run.jobs),
        wait_mean_s=sum(waits) / len(waits),
        wait_p50_s=percentile(waits, 50),
        wait_p95_s=percentile(waits, 95),
        wait_p99_s=percentile(waits, 99),
        attained=sum(is_in_time(job, cold_s) for job in run.jobs) / len(run.jobs),
        cost_usd=cost,
        cost_per_image_usd=cost / sum(job.request.images for job in run.jobs),
        busy=busy_s / paid_s if paid_s else 0.0,
        paid_h=paid_s / HOUR_S,
        cold_starts=len(run.workers),
        most_workers=max((sample.workers for sample in run.samples), default=0),
    )


def is_in_time(job: Job, cold_s: float) -> bool:
    """Whether it kept the promise."""
    return (job.ended_at or math.inf) - job.request.arrival_s <= promise_s(job.request.exec_s, cold_s) + 1e-6


def promise_s(exec_s: float, cold_s: float) -> float:
    """Seconds from arrival to end that a request is promised."""
    return TIMES_SOLO * exec_s + cold_s


def percentile(ordered: Sequence[float], percent: int) -> float:
    """By nearest rank, of values in order."""
    return ordered[max(0, math.ceil(Fraction(percent, 100) * len(ordered)) - 1)]


def caption(f: Figures) -> str:
    """What a plot of the run says beside the policy's name: wait, attainment, cost, use."""
    _, wait, _, p95, _, in_time, cost, _, busy, *_ = _cells(f)
    return f"wait {wait}, p95 {p95}   {in_time} in time   {cost}   {busy} busy"


def table(figures: Sequence[Figures]) -> str:
    """A line for each policy, columns aligned."""
    rows = [HEADS, *(_cells(each) for each in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *cells = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    return "  ".join([name.strip().ljust(widths[0]), *cells])


def _cells(f: Figures) -> tuple[str, ...]:
    waits = (f"{seconds:.0f} s" for seconds in (f.wait_mean_s, f.wait_p50_s, f.wait_p95_s, f.wait_p99_s))
    money = (f"${f.cost_usd:,.2f}", f"${1000 * f.cost_per_image_usd:,.2f}")
    shares = f"{f.attained:.1%}", f"{f.busy:.1%}"
    return f.policy, *waits, shares[0], *money, shares[1], str(f.cold_starts), str(f.most_workers)
