"""What a key may use, as arithmetic: days, rates, sums that do not drift, and the words of a refusal.

The rate is a leaky bucket as GCRA says it (ITU-T I.371, virtual scheduling): jobs are `interval_s` apart on average,
and a key may be ahead of that by what the bucket holds, a minute's jobs. One time is kept, when the next job would
arrive if all of them kept their distance. On Redis, lua/insert.lua and lua/common.lua do the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..core import Allowance, Usage
from ..errors import LimitExceeded, QueueFull
from ..wording import counted

DAY_S = 86400.0  # of UTC: the epoch began at midnight
USAGE_KEPT_DAYS = 3  # a job that ends later changes no day's usage
COSTS_KEPT_DAYS = 100  # where workers' time went, and what jobs took of it: more than a quarter of a year
BUCKET_S = 60.0
SLACK_S = 1e-3  # more than the rounding of a minute's arrivals, less than anybody notices
SPENT = ("device_s", "cost_usd")  # metrics that are paid for, whichever attempt took them; also in lua/
LONGEST_WAIT_S = 120.0  # for a live job to end: predictions err, and any of them may be cancelled
FREES = {
    "jobs_per_minute": "",
    "live_jobs": "the next frees when one of them ends; ",
    "device_s_per_day": "it frees at midnight; ",
    "usd_per_day": "it frees at midnight; ",
}
MOST = 9e6  # of one job, in seconds or dollars: a wild figure must not overflow a sum


def day_of(at: float) -> int:
    """The day of UTC, counted from the epoch."""
    return math.floor(at / DAY_S)


def billionths(value: float) -> int:
    """Seconds or dollars as they are summed; what is no such number counts as none."""
    return round(min(max(value, 0.0), MOST) * 1e9) if math.isfinite(value) else 0


def added_up(before: Mapping[str, float], metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a job after one more attempt: the attempt's own, and of what is paid for the sum of all."""
    sums = {name: before[name] + metrics.get(name, 0.0) for name in SPENT if name in before}
    return {**metrics, **sums}


def interval_s(jobs_per_minute: int) -> float:
    """How far apart jobs are on average."""
    return BUCKET_S / jobs_per_minute if jobs_per_minute > 0 else math.inf


def arrival_after(arrival_at: float, apart_s: float, now: float) -> float:
    """When the job after this one would be on time.

    A key that is more than two buckets ahead got there by a clock that has since gone back: it begins anew.
    """
    return (max(arrival_at, now) if arrival_at <= now + 2 * BUCKET_S else now) + apart_s


def wait_s(arrival_at: float, apart_s: float, now: float) -> float:
    """How long until the rate allows another job; 0: at once."""
    ahead_s = arrival_after(arrival_at, apart_s, now) - now - BUCKET_S
    return min(ahead_s, 2 * BUCKET_S) if ahead_s > SLACK_S else 0.0


def exceeded(allowance: Allowance, used: Usage, cost_s: float, cost_usd: float, now: float) -> LimitExceeded | None:
    """Why a job of that predicted cost does not fit beside what is used; the limit that frees last speaks first."""
    until_tomorrow_s = (day_of(now) + 1) * DAY_S - now
    rate_wait_s = max(0.0, used.next_job_at - now)
    costs = (("usd_per_day", used.cost_usd, cost_usd), ("device_s_per_day", used.device_s, cost_s))
    for field, so_far, more in costs:
        most = getattr(allowance, field)
        if most is not None and billionths(so_far) + billionths(more) > billionths(most):
            return limit_exceeded(allowance, field, until_tomorrow_s)
    if allowance.jobs_per_minute is not None and rate_wait_s > 0:
        return limit_exceeded(allowance, "jobs_per_minute", rate_wait_s)
    if allowance.live_jobs is not None and used.live_jobs >= allowance.live_jobs:
        return limit_exceeded(allowance, "live_jobs", 1.0)
    return None


def limit_exceeded(allowance: Allowance, field: str, retry_after_s: float) -> LimitExceeded:
    """The refusal that names that limit."""
    most = getattr(allowance, field)
    said = {
        "jobs_per_minute": f"you may send {counted(most, 'job')} a minute",
        "live_jobs": f"you may have {counted(most, 'job')} waiting or running at once",
        "device_s_per_day": f"this job would take you past your {most:g} device seconds a day (UTC)",
        "usd_per_day": f"this job would take you past your {most:g} US dollars a day (UTC)",
    }
    error = LimitExceeded(f"{said[field]}: {FREES[field]}try again in {math.ceil(retry_after_s)} s", field=field)
    error.retry_after_s = retry_after_s
    return error


def room_after(refused: LimitExceeded, allowance: Allowance, first_ends_in_s: float | None) -> LimitExceeded:
    """The refusal for want of room among live jobs, with what is predicted of the first that ends (None: nothing)."""
    if first_ends_in_s is None:
        return refused
    return limit_exceeded(allowance, "live_jobs", min(LONGEST_WAIT_S, max(1.0, first_ends_in_s)))


def schedule_full(free_in_s: float) -> QueueFull:
    """The refusal of a job for later, where its tenant has as many of these as it may."""
    said = "as many jobs as may be scheduled are: try again when one of them is due, or cancel one"
    error = QueueFull(said, field="run_at")
    error.retry_after_s = max(1.0, free_in_s)
    return error
