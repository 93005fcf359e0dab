"""The plots of a report: what each shows, as SVG with its legend; pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .figures import FACTORS, GOOD_SHARES, Outcome
from .occupancy import Batches
from .record import Report, Run
from .solo import Solo
from .svg import SLOTS, Plot, Point, Scale, Series, percent_scale, scale_of, thinned

CURVE_POINTS = 400
DOTS = 2500
FLAT = 190  # pixels high
MARK_ROOM = 26  # pixels between names of targets
ALL = "all"

T = TypeVar("T")


@dataclass(frozen=True)
class Figure:
    """A plot with its title, what it shows in a sentence, and its legend: class and name."""

    title: str
    about: str
    svg: str
    legend: Sequence[tuple[str, str]] = ()


def latency_curve(named: Mapping[str, Sequence[Outcome]]) -> Figure | None:
    """The share of requests that had ended after so many seconds, a line for each name."""
    found = [
        Series(name, _curve(sorted(each.latency_s for each in outcomes if each.has_succeeded), len(outcomes)), slot)
        for slot, name, outcomes in _slotted(named)
    ]
    about = "The share of all requests that had succeeded after so long. A line that ends below 100 % lost the rest."
    return _curves("Latency", about, found, "seconds", ())


def multiples_curve(named: Mapping[str, tuple[Sequence[Outcome], Mapping[str, Solo]]]) -> Figure | None:
    """The same in multiples of each kind's latency alone, with the targets."""
    found = []
    for slot, name, (outcomes, solo) in _slotted(named):
        times = sorted(each.latency_s / solo[each.kind].typical_s for each in outcomes if each.has_succeeded)
        found.append(Series(name, _curve(times, len(outcomes)), slot))
    about = (
        "The same, each request against what its kind takes alone: where a curve crosses a target is its attainment."
    )
    return _curves("Against the latency alone", about, found, "times the latency alone", FACTORS)


def timeline(outcomes: Sequence[Outcome], slots: Mapping[str, int]) -> Figure:
    """Each request at its arrival, as high as it took long; what failed lies on the ground."""
    shown = _sampled(outcomes)
    done = [each for each in shown if each.has_succeeded]
    failed = [each for each in shown if not each.has_succeeded]
    y = scale_of([each.latency_s for each in done], "seconds to the end", may_log=True)
    plot = Plot(scale_of([each.at_s for each in shown], "arrival, seconds from the start"), y, "latency by arrival")
    parts, legend, short = [], [], short_names(list(slots))
    for name, slot in [*slots.items(), ("other kinds", None)]:
        here = [each for each in done if slots.get(each.kind) == slot]
        if here:
            points = [(each.at_s, each.latency_s) for each in here]
            series = Series(
                short.get(name, name), points, slot, [f"{each.kind}: {each.latency_s:.2f} s" for each in here]
            )
            parts.append(plot.dots(series))
            legend.append((series.colour, series.name))
    if failed:
        hints = [f"{each.code}, {each.kind}" for each in failed]
        parts.append(plot.crosses(Series("failed", [(each.at_s, y.low) for each in failed], None, hints)))
        legend.append(("bad", "failed"))
    left = f" {len(shown)} of {len(outcomes)} are drawn." if len(shown) < len(outcomes) else ""
    return Figure("Timeline", f"A dot for each request.{left}", plot.draw(*parts), legend)


def in_flight(outcomes: Sequence[Outcome]) -> Figure:
    """How many requests were on their way."""
    changes: Counter[float] = Counter()
    for each in outcomes:
        changes[each.sent_s] += 1
        changes[each.sent_s if each.ended_s is None else each.ended_s] -= 1
    points: list[Point] = [(0.0, 0.0)]
    for at_s, change in sorted(changes.items()):
        points += [(at_s, points[-1][1]), (at_s, points[-1][1] + change)]
    kept = thinned(points, 2 * DOTS)
    x = scale_of([point[0] for point in kept], "seconds from the start")
    plot = Plot(x, scale_of([point[1] for point in points], "requests"), "requests in flight")
    return Figure("In flight", "Sent and not ended.", plot.draw(plot.area(Series("in flight", kept, 0))))


def batch_bars(named: Mapping[str, Batches]) -> Figure:
    """How many rows the forwards had."""
    shares = [(name, each, sum(each.rows.values())) for name, each in named.items()]
    most = max(max(each.rows) for each in named.values())
    tallest = max(count / total for _, each, total in shares for count in each.rows.values())
    x = Scale(0.4, most + 0.6, "rows of a forward", said=lambda value: f"{value:.0f}" if value == int(value) else "")
    y = Scale(0.0, min(1.0, tallest * 1.05), "share of forwards", said=lambda share: f"{share:.0%}")
    plot, breadth = Plot(x, y, "rows of a forward", FLAT), 0.8 / len(shares)
    parts = []
    for slot, (name, each, total) in enumerate(shares):
        shift = (slot - (len(shares) - 1) / 2) * breadth
        points = [(rows + shift, count / total) for rows, count in each.rows.items()]
        hints = [f"{name}: {count} forwards with {rows} rows" for rows, count in each.rows.items()]
        parts.append(plot.bars(Series(name, points, slot, hints), breadth * 0.92))
    means = "; ".join(f"{name + ': ' if len(named) > 1 else ''}{each.mean_rows:.2f}" for name, each in named.items())
    about = f"Rows of the denoiser's forwards. A guided image has two. Mean {means}."
    return Figure("Batch occupancy", about, plot.draw(*parts), _legend(named) if len(named) > 1 else ())


def batch_timeline(batches: Batches) -> Figure:
    """Mean rows of a forward, second by second."""
    points = [(sample.at_s, sample.rows / sample.forwards) for sample in batches.samples]
    hints = [f"{sample.forwards} forwards, {sample.rows} rows" for sample in batches.samples]
    x = scale_of([point[0] for point in points], "seconds from the start")
    plot = Plot(x, scale_of([point[1] for point in points], "rows of a forward"), "batch occupancy over time", FLAT)
    series = Series("rows of a forward", points, 0, hints)
    about = "The mean of what workers told of, about each second."
    return Figure("Batches over time", about, plot.draw(plot.line(series), plot.dots(series)))


def sweep(report: Report) -> Figure:
    """Attainment over the rate, a line for each target."""
    rates = [report.realised(run) or run.rate or 0.0 for run in report.runs]
    x = scale_of(rates, "requests a second that arrived")
    plot = Plot(x, percent_scale("in time"), "attainment by rate")
    parts = [plot.level(share, f"{share:.0%}") for share in GOOD_SHARES[:1]]
    legend = []
    for slot, factor in enumerate(f"{each:g}" for each in FACTORS):
        points = sorted((rate, run.summary.slo[factor]) for rate, run in zip(rates, report.runs, strict=True))
        hints = [f"{rate:.3f} a second: {share:.1%} within {factor}x" for rate, share in points]
        series = Series(f"within {factor}x", points, slot, hints)
        parts += [plot.line(series), plot.dots(series, 3.5)]
        legend.append((series.colour, series.name))
    if report.capacity is not None and report.capacity <= x.high:
        parts.append(plot.upright(report.capacity, "capacity"))
    return Figure(
        "Attainment by rate",
        "How many kept each target, in times their latency alone, at each rate.",
        plot.draw(*parts),
        legend,
    )


def latency_by_rate(report: Report) -> Figure:
    """Percentiles of the latency over the rate."""
    spreads = [(report.realised(run) or run.rate or 0.0, run.summary.latency_s) for run in report.runs]
    known = [value for _, each in spreads for value in (each.p50, each.p99) if value is not None]
    x = scale_of([rate for rate, _ in spreads], "requests a second that arrived")
    plot = Plot(x, scale_of(known, "seconds", may_log=True), "latency by rate")
    parts, legend = [], []
    for slot, name in enumerate(("p50", "p90", "p99")):
        found = sorted((rate, getattr(each, name)) for rate, each in spreads if getattr(each, name) is not None)
        hints = [f"{rate:.3f} a second: {name} {value:.2f} s" for rate, value in found]
        series = Series(name, found, slot, hints)
        if found:
            parts += [plot.line(series), plot.dots(series, 3.5)]
            legend.append((series.colour, name))
    return Figure("Latency by rate", "Percentiles of what succeeded.", plot.draw(*parts), legend)


def slots_of(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """A colour for each of the commonest kinds."""
    common = [kind for kind, _ in Counter(each.kind for each in outcomes).most_common(SLOTS)]
    return {kind: slot for slot, kind in enumerate(sorted(common, key=by_number))}


def by_number(kind: str) -> list[tuple[int, str]]:
    """To sort kinds by the numbers in their names: 4 steps, 8 steps, 20 steps."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"([0-9]+)", kind) if part]


def kinds_named(run: Run, slots: Mapping[str, int]) -> dict[str, list[Outcome]]:
    """The outcomes of each kind that has a colour, in that order, by short names; where they are several, all too."""
    short = short_names(list(slots))
    found = {short[kind]: [each for each in run.outcomes if each.kind == kind] for kind in slots}
    return {**found, ALL: list(run.outcomes)} if len(found) > 1 else found


def short_names(kinds: Sequence[str]) -> dict[str, str]:
    """Kinds without what all of them say."""
    parts = [kind.split(", ") for kind in kinds]
    common = set.intersection(*(set(each) for each in parts)) if len(parts) > 1 else set()
    return {
        kind: ", ".join(part for part in each if part not in common) or kind
        for kind, each in zip(kinds, parts, strict=True)
    }


def _curve(values: Sequence[float], of: int) -> list[Point]:
    """Nearest-rank shares; they rise to what succeeded of all."""
    return thinned([(value, (place + 1) / of) for place, value in enumerate(values)], CURVE_POINTS)


def _curves(title: str, about: str, found: Sequence[Series], name: str, marks: Sequence[float]) -> Figure | None:
    drawn = [series for series in found if series.points]
    if not drawn:
        return None
    values = [point[0] for series in drawn for point in series.points]
    plot = Plot(scale_of([*values, *marks], name, may_log=True), percent_scale("of requests"), f"{title}, cumulative")
    lines = [plot.line(Series(each.name, _stepped(each.points, plot), each.slot)) for each in drawn]
    uprights = [plot.upright(mark, f"{mark:g}x" if mark in _told(marks, plot) else "") for mark in marks]
    return Figure(title, about, plot.draw(*uprights, *lines), [(each.colour, each.name) for each in drawn])


def _told(marks: Sequence[float], plot: Plot) -> list[float]:
    """Those whose names have room, the greatest first."""
    told: list[float] = []
    for mark in sorted(marks, reverse=True):
        if not told or plot.at((told[-1], 0.0))[0] - plot.at((mark, 0.0))[0] > MARK_ROOM:
            told.append(mark)
    return told


def _slotted(named: Mapping[str, T]) -> list[tuple[int | None, str, T]]:
    """With the slot of each; all together are grey."""
    return [(None if name == ALL else slot, name, each) for slot, (name, each) in enumerate(named.items())]


def _stepped(points: Sequence[Point], plot: Plot) -> list[Point]:
    """As stairs: between two values nothing more had ended."""
    stairs: list[Point] = [(points[0][0], plot.y.low)]
    for value, share in points:
        stairs += [(value, stairs[-1][1]), (value, share)]
    return [*stairs, (plot.x.high, stairs[-1][1])]


def _sampled(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """All of them or evenly chosen ones, and whatever failed up to as many."""
    every = max(1, -(-len(outcomes) // DOTS))
    failed = [each for each in outcomes if not each.has_succeeded]
    return [*[each for each in outcomes if each.has_succeeded][::every], *failed[:: max(1, len(failed) // DOTS)]]


def _legend(named: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(f"s{slot % SLOTS}", name) for slot, name in enumerate(named)]
