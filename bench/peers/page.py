"""The tables and plots as one HTML page, in the clothes of `darkroom bench --html`; pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from darkroom.bench.figures import GOOD_SHARES
from darkroom.bench.page import document, gallery, table
from darkroom.bench.plots import Figure
from darkroom.bench.svg import SLOTS, Plot, Series, percent_scale, scale_of

from .judged import Row, Rung
from .report import Table

TITLE = "Darkroom and other servers on the same work"


def page(about: Sequence[str], tables: Sequence[Table], rows: Sequence[Row], names: Mapping[str, str]) -> str:
    """All of it."""
    return document(TITLE, _parts(about, tables, rows, names))


def _parts(
    about: Sequence[str], tables: Sequence[Table], rows: Sequence[Row], names: Mapping[str, str]
) -> Iterator[str]:
    yield f"<h1>{escape(TITLE)}</h1>"
    yield from (f'<p class="soft">{escape(line.replace("`", ""))}</p>' for line in about if line)
    for each in tables:
        yield f"<h2>{escape(each.title)}</h2>"
        yield table(each.heads, [[cell.strip("*") for cell in row] for row in each.rows])
    measured = [row for row in rows if row.rungs]
    if measured:
        yield gallery([_attainment(measured, names), _latency(measured, names)])


def _attainment(rows: Sequence[Row], names: Mapping[str, str]) -> Figure:
    x = scale_of([rung.load for row in rows for rung in row.rungs], "load, in shares of the serial capacity")
    plot = Plot(x, percent_scale("of requests"), "attainment by load")
    about = "W2: how many ended within twice their latency alone."
    lines = _lines(plot, rows, names, lambda rung: rung.attained)
    return Figure("Attainment by load", about, plot.draw(plot.level(GOOD_SHARES[0], "90%"), *lines[0]), lines[1])


def _latency(rows: Sequence[Row], names: Mapping[str, str]) -> Figure:
    means = [_mean_s(rung) for row in rows for rung in row.rungs]
    x = scale_of([rung.load for row in rows for rung in row.rungs], "load, in shares of the serial capacity")
    plot = Plot(x, scale_of(means, "seconds", may_log=True), "latency by load")
    lines = _lines(plot, rows, names, _mean_s)
    return Figure("Latency by load", "W2: seconds on average, of what succeeded.", plot.draw(*lines[0]), lines[1])


def _lines(
    plot: Plot, rows: Sequence[Row], names: Mapping[str, str], value: Callable[[Rung], float]
) -> tuple[list[str], list[tuple[str, str]]]:
    """A line with dots for each system, and the legend. There are as many systems as colours, and grey."""
    drawn, legend = [], []
    for place, row in enumerate(rows):
        points = [(rung.load, value(rung)) for rung in row.rungs]
        hints = [f"{names[row.system]} at {load:g}: {found:.2f}" for load, found in points]
        series = Series(names[row.system], points, place if place < SLOTS else None, hints)
        drawn += [plot.line(series), plot.dots(series, 3.5)]
        legend.append((series.colour, series.name))
    return drawn, legend


def _mean_s(rung: Rung) -> float:
    return statistics.fmean(done) if (done := [e.latency_s for e in rung.outcomes if e.has_succeeded]) else 0.0
