"""A report as tables for people; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .figures import FOR_P99, GOOD_FACTOR, Goodput, Spread, Summary, spread
from .load import Progress
from .record import Report, Run

BEHIND = "the generator fell behind its plan, by {lag:.3f} s: the latencies hold its own delay; give it a free core"
KINDS_TOLD = 12


def table(report: Report) -> str:
    """Every figure of one run, a line each; of several a line for each run."""
    lines = list(_lines(report))
    width = max(len(line.label) for line in lines) + 2
    return "\n".join(f"{line.label:{width}}{line.said}" if line.label else line.said for line in lines)


def progress_cells(progress: Progress) -> dict[str, str]:
    """How far the load is, for a table with a head, and the latencies so far; `a second` is of what succeeded."""
    found, elapsed_s = spread(progress.latencies), progress.elapsed_s
    latencies = {"p50": found.p50, "p90": found.p90, "p99": found.p99}
    return {
        "time": f"{elapsed_s:.1f} s",
        "sent": f"{progress.sent}" + ("" if progress.planned is None else f" of {progress.planned}"),
        "in flight": str(progress.sent - progress.ended),
        "ended": str(progress.ended),
        "failed": str(progress.failed),
        "a second": f"{(progress.ended - progress.failed) / elapsed_s:.2f}" if elapsed_s else "-",
        **{name: "-" if value is None else f"{value:.2f} s" for name, value in latencies.items()},
    }


def behind(report: Report) -> str | None:
    """A warning, where the generator was too slow for its plan."""
    late = [run.summary.lag_s.worst for run in report.runs if run.summary.is_behind]
    return BEHIND.format(lag=max(late)) if late else None


def name_of(report: Report, run: Run) -> str:
    """What kind of load a run was, in a few words."""
    if report.pattern == "crowd":
        return f"{report.asked.get('users')} users"
    if run.rate is None:
        return report.pattern
    loads = report.asked.get("loads") or []
    share = f", {run.rate / report.capacity:.2f} of the capacity" if report.capacity and loads else ""
    to = {"ramp": "rising to", "spike": f"with {report.asked.get('spike', 0):g} times in the middle of"}.get(
        report.pattern, "at"
    )
    realised = report.realised(run)
    came = "" if realised is None else f" ({realised:.3f} came)"
    return f"{report.pattern} arrivals {to} {run.rate:.3f} a second{came}{share}"


def goodput_said(goodput: Goodput) -> str:
    """A goodput in words."""
    if not goodput.is_known:
        return f"-: it takes {FOR_P99} requests"
    if goodput.rate is None:
        return "below the lowest rate that was tried"
    bound = ", the highest that was tried" if goodput.is_bound else ""
    return f"{goodput.rate:.3f} requests a second{bound}"


class _Line(NamedTuple):
    """What it is about and its figures; without a label it stands over all columns."""

    label: str
    said: str


def _lines(report: Report) -> Iterator[_Line]:
    yield _Line("", f"{report.dialect} API at {report.url}")
    if report.capacity is not None:
        yield _Line("capacity", f"{report.capacity:8.3f} requests a second")
    if len(report.runs) == 1:
        yield from _whole(report, report.runs[0])
    else:
        yield from _sweep(report)
    for goodput in report.goodput:
        what = f", within {GOOD_FACTOR:g}x alone" if goodput.is_known else ""
        yield _Line(f"goodput at {goodput.share:.0%}", f"  {goodput_said(goodput)}{what}")


def _sweep(report: Report) -> Iterator[_Line]:
    heads = (
        "came",
        "p50",
        "p90",
        "p99",
        *(f"<={factor}x" for factor in report.runs[0].summary.slo),
        "images/s",
        "errors",
    )
    yield _Line(f"{report.pattern}, requests a second", "".join(f"{head:>9}" for head in heads))
    for run in report.runs:
        s = run.summary
        latency = "".join(_figure(value, 3, 9) for value in (s.latency_s.p50, s.latency_s.p90, s.latency_s.p99))
        share = f" ({run.rate / report.capacity:.2f})" if report.capacity and run.rate else ""
        slo = "".join(f"{kept:9.1%}" for kept in s.slo.values())
        last = f"{s.images_per_s:9.3f}{s.requests - s.succeeded:9}"
        yield _Line(f"{run.rate or 0:.3f}{share}", f"{_figure(report.realised(run), 3, 9)}{latency}{slo}{last}")


def _whole(report: Report, run: Run) -> Iterator[_Line]:
    summary = run.summary
    yield _Line("", f"{name_of(report, run)}: {summary.requests} requests over {summary.elapsed_s:.1f} s")
    targets = "".join(f"{f'<={factor}x':>8}" for factor in summary.slo)
    yield _Line("seconds", f"{'p50':>8}{'p90':>8}{'p99':>8}{'max':>8}{'alone':>8}{targets}")
    yield _Line("latency", f"{_spread(summary.latency_s)}{'':8}{_shares(summary.slo)}")
    yield from _kinds(report, summary)
    yield _Line("delay to first step", _spread(summary.first_step_s))
    for factor, share in summary.slo.items():
        yield _Line(f"within {factor}x alone", f"{share:8.1%}")
    yield _Line("in time", f"{summary.in_time_per_s:8.3f} requests a second within {GOOD_FACTOR:g}x alone")
    yield _Line("throughput", f"{summary.throughput_per_s:8.3f} requests, {summary.images_per_s:.3f} images a second")
    errors = ", ".join(f"{count} {code}" for code, count in summary.errors.items())
    yield _Line("errors", f"{summary.requests - summary.succeeded:8}{f' ({errors})' if errors else ''}")
    if run.batches is not None:
        yield _Line("rows of a batch", f"{run.batches.mean_rows:8.2f} on average")
    device_s = _figure(summary.device_s).strip()
    yield _Line("device", f"{_figure(summary.device_s_per_image)} s an image, {device_s} s in all")
    yield _Line("cost", f"{_figure(summary.cost_usd_per_image, 6)} USD an image")
    if summary.machine_usd_per_image is not None:
        yield _Line("machine", f"{_figure(summary.machine_usd_per_image, 6)} USD an image, idle or not")


def _kinds(report: Report, summary: Summary) -> Iterator[_Line]:
    told = sorted(summary.kinds, key=lambda kind: -summary.kinds[kind].requests)[:KINDS_TOLD]
    for kind, found in summary.kinds.items():
        if kind in told:
            alone = f"{'~' if report.solo[kind].is_estimate else ''}{found.solo_s:.3f}"
            yield _Line(f"  {kind}", f"{_spread(found.latency_s)}{alone:>8}{_shares(found.slo)}")
    if len(summary.kinds) > KINDS_TOLD:
        yield _Line("", f"  and {len(summary.kinds) - KINDS_TOLD} kinds that came less often")


def _spread(spread: Spread) -> str:
    return "".join(_figure(value) for value in (spread.p50, spread.p90, spread.p99, spread.max))


def _shares(slo: Mapping[str, float]) -> str:
    return "".join(f"{share:8.1%}" for share in slo.values())


def _figure(value: float | None, places: int = 3, width: int = 8) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{places}f}"
