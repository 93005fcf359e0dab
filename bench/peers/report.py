"""The rows as tables, for the terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.engine.figure import Figure
from bench.engine.report import shown
from darkroom.bench.figures import FOR_P99, GOOD_FACTOR, Goodput, Spread

from .cells import Found
from .judged import Row
from .tuning import Try

NONE = "-"


@dataclass(frozen=True)
class Table:
    """Cells under their heads."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Aligned columns."""
        lines = [self.heads, *self.rows]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.heads))]
        told = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
        return f"{self.title}\n" + "\n".join(line.rstrip() for line in told)

    def markdown(self) -> str:
        """For a page."""
        lines = [self.heads, ["---"] * len(self.heads), *self.rows]
        return f"{self.title}:\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def systems_table(rows: Sequence[Row], names: Mapping[str, str], batches: Mapping[str, str], capacity: float) -> Table:
    """A row for each system. Goodput is in requests a second, and in shares of the serial capacity."""
    heads = (
        "system",
        "batch",
        "W2 goodput",
        "p50 at 0.9",
        "p99 at 0.9",
        f"W3 within {GOOD_FACTOR:g}x (one run)",
        f"W5 within {GOOD_FACTOR:g}x (one run)",
        "W6 served (one run)",
        "W6 last",
        "W6 a second",
        "failed",
    )
    cells = [(names[row.system], batches.get(row.system, NONE), *_cells(row, capacity)) for row in rows]
    return Table("Systems", heads, cells)


def ladder_table(rows: Sequence[Row], names: Mapping[str, str]) -> Table:
    """How many of W2 were in time at each load."""
    loads = sorted({rung.load for row in rows for rung in row.rungs})
    told = []
    for row in rows:
        kept = {rung.load: f"{rung.attained:.0%} of {len(rung.outcomes)}{_span(rung.each)}" for rung in row.rungs}
        told.append((names[row.system], *(kept.get(load, NONE) for load in loads)))
    title = f"W2, how many ended within {GOOD_FACTOR:g}x alone, by load in shares of the serial capacity"
    return Table(title, ("system", *(f"{load:g}" for load in loads)), told)


def targets_table(found: Iterable[tuple[Figure, str]]) -> Table:
    """What was to be reached."""
    rows = []
    for figure, said in found:
        marks = [NONE if mark is None else shown(mark, figure.unit) for mark in (figure.floor, figure.aim)]
        rows.append((figure.name, shown(figure.value, figure.unit), said, *marks, _verdict(figure)))
    return Table("Targets", ("target", "measured", "", "floor", "aim", ""), rows)


def tuning_table(found: Mapping[str, Sequence[Try]]) -> Table:
    """The sweep: how many of the mixed load were in time with which batch, and the mean latency."""
    tried = list(dict.fromkeys(each.batch for tries in found.values() for each in tries))
    rows = []
    for system, tries in found.items():
        told = {each.batch: f"{each.attained:.0%}, {each.mean_s:.1f} s{_disqualified(each)}" for each in tries}
        rows.append((system, *(told.get(batch, NONE) for batch in tried)))
    title = f"The sweep, how many ended within {GOOD_FACTOR:g}x alone and the mean latency, by batch"
    return Table(title, ("system", *map(str, tried)), rows)


def crowd_table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """Muse's: seconds until the last of so many users was served, and the median wait."""
    users = list(dict.fromkeys(each["users"] for measured in found.values() for each in measured))
    rows = []
    for setting, measured in found.items():
        told = {each["users"]: _crowd(each) for each in measured}
        rows.append((setting, *(told.get(count, NONE) for count in users)))
    title = "Darkroom, seconds until the last of so many users at once was served (median wait)"
    return Table(title, ("setting", *(f"{count} users" for count in users)), rows)


def goodput_said(goodput: Goodput | None, lowest: float | None, capacity: float) -> str:
    """In requests a second, and in shares of the serial capacity."""
    if goodput is None or lowest is None:
        return NONE
    rate = lowest if goodput.rate is None else goodput.rate
    bound = "below " if goodput.rate is None else "at least " if goodput.is_bound else ""
    return f"{bound}{rate:.2f} ({rate / capacity:.2f}x)"


def failures(found: Iterable[Found], names: Mapping[str, str]) -> list[str]:
    """Who could not be measured on what, and why, a line each."""
    failed: dict[tuple[str, str], list[str]] = {}
    for each in found:
        if each.failure is not None:
            failed.setdefault((each.cell.system, each.failure), []).append(each.cell.workload)
    return [
        f"{names[system]} was not measured on {', '.join(dict.fromkeys(workloads))}: {why}"
        for (system, why), workloads in failed.items()
    ]


def _cells(row: Row, capacity: float) -> Sequence[str]:
    if row.failure is not None and row.goodput is None and row.crowd is None:
        return ("not measured", *[NONE] * 8)
    return (
        goodput_said(row.goodput, row.lowest_rate, capacity) + _goodputs(row, capacity),
        _seconds(row.tail and row.tail.p50),
        _tail(row.tail) + _tails(row),
        _share(row.sized and row.sized.attained),
        _share(row.spike_attained),
        NONE if row.crowd is None else f"{row.served} of {row.crowd}",
        _seconds(row.crowd_s),
        NONE if row.throughput is None else f"{row.throughput:.2f}",
        str(row.failed),
    )


def _span(shares: Sequence[float]) -> str:
    """The worst and the best repeat."""
    return f", {min(shares):.0%} to {max(shares):.0%}" if len(shares) > 1 else ", one run"


def _goodputs(row: Row, capacity: float) -> str:
    """Of the worst and the best repeat; 0: not even the lowest load."""
    found = sorted((each.rate or 0.0) / capacity for each in row.goodputs)
    if not found:
        return ""
    return f", {found[0]:.2f}x to {found[-1]:.2f}x" if len(found) > 1 else ", one run"


def _tails(row: Row) -> str:
    if not row.tails:
        return ""
    return f", {_seconds(min(row.tails))} to {_seconds(max(row.tails))}" if len(row.tails) > 1 else ", one run"


def _tail(tail: Spread | None) -> str:
    """Of fewer than a hundred the greatest, which says so."""
    if tail is None:
        return NONE
    return _seconds(tail.worst) + ("" if tail.count >= FOR_P99 else f" (worst of {tail.count})")


def _crowd(said: Mapping[str, Any]) -> str:
    if not said["served"]:
        return "none served"
    lost = "" if said["served"] == said["users"] else f", {said['served']} served"
    return f"{said['total_s']:.1f} ({said['p50_s']:.1f}){lost}"


def _disqualified(tried: Try) -> str:
    return f", out: {tried.failed} failed" if tried.failed else ""


def _verdict(figure: Figure) -> str:
    return {"NOT REACHED": "**not reached**"}.get(figure.verdict, figure.verdict)


def _seconds(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.2f} s" if math.isfinite(value) else "never: failed"


def _share(value: float | None) -> str:
    return NONE if value is None else f"{value:.0%}"
