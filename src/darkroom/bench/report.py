"""A report as a table for people; pure."""

from __future__ import annotations

from collections.abc import Iterator

from .bench import Report
from .figures import GOOD_FACTOR, Spread
from .load import Progress

BEHIND = (
    "the generator fell behind its plan, by {lag:.3f} s at p99: the latencies hold its own delay; give it a free core"
)


def table(report: Report) -> str:
    """Every figure, one line each."""
    return "\n".join(_lines(report))


def progress_line(progress: Progress) -> str:
    """How far the load is, in one line."""
    live = progress.sent - progress.ended
    said = f"{progress.sent} of {progress.planned} sent, {progress.ended} ended, {live} in flight"
    failed = f", {progress.failed} failed" if progress.failed else ""
    return f"{progress.elapsed_s:6.1f} s  {said}{failed}"


def behind(report: Report) -> str | None:
    """A warning, where the generator was too slow for its plan."""
    summary = report.summary
    return BEHIND.format(lag=summary.lag_s.p99) if summary.is_behind else None


def _lines(report: Report) -> Iterator[str]:
    summary, arrivals = report.summary, report.asked.arrivals
    yield f"{arrivals.pattern} arrivals at {report.rate:.3f} a second, {summary.requests} requests over " + (
        f"{summary.elapsed_s:.1f} s at {report.url}"
    )
    if report.capacity is not None:
        yield f"{'capacity':22}{report.capacity:8.3f} requests a second"
    yield f"{'seconds':22}{'p50':>8}{'p90':>8}{'p99':>8}{'max':>8}{'alone':>8}"
    yield _row("latency", summary.latency_s)
    for steps, spread in summary.latency_s_by_steps.items():
        yield f"{_row(f'  {steps} steps', spread)}{report.solo[steps]:8.3f}"
    yield _row("delay to first step", summary.first_step_s)
    for factor, share in summary.slo.items():
        yield f"{f'within {factor}x alone':22}{share:8.1%}"
    yield f"{'goodput':22}{summary.goodput_per_s:8.3f} requests a second within {GOOD_FACTOR:g}x alone"
    yield f"{'throughput':22}{summary.throughput_per_s:8.3f} requests, {summary.images_per_s:.3f} images a second"
    errors = ", ".join(f"{count} {code}" for code, count in summary.errors.items())
    yield f"{'errors':22}{summary.requests - summary.succeeded:8}{f' ({errors})' if errors else ''}"
    yield f"{'device':22}{_figure(summary.device_s_per_image)} s an image, {_figure(summary.device_s).strip()} s in all"
    yield f"{'cost':22}{_figure(summary.cost_usd_per_image, 6)} USD an image"


def _row(name: str, spread: Spread) -> str:
    return f"{name:22}" + "".join(_figure(value) for value in (spread.p50, spread.p90, spread.p99, spread.max))


def _figure(value: float | None, places: int = 3) -> str:
    return f"{'-':>8}" if value is None else f"{value:8.{places}f}"
