"""A report, or two side by side, as one HTML file that needs nothing else: own SVG, light and dark; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from html import escape
from importlib.resources import files

from .compare import Compared, alone_of, change_said, compared, compared_alone, differences, pairs_of, said
from .figures import GOOD_FACTOR, Summary
from .plots import (
    Figure,
    batch_bars,
    batch_timeline,
    by_number,
    in_flight,
    kinds_named,
    latency_by_rate,
    latency_curve,
    multiples_curve,
    slots_of,
    sweep,
    timeline,
)
from .record import Report, Run
from .report import behind, goodput_said, name_of

TARGETS = "1.2", "1.5", "2", "3"
KINDS_TOLD = 24


def page(report: Report) -> str:
    """One report."""
    return document(f"Benchmark of {report.url}", _report(report))


def page_of_two(names: tuple[str, str], first: Report, second: Report) -> str:
    """Two reports, run by run."""
    return document(f"{names[0]} and {names[1]}", _two(names, first, second))


@cache
def _style() -> str:
    return files(__package__).joinpath("page.css").read_text(encoding="utf-8")


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page of such parts."""
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    return f"{head}{view}<style>{_style()}</style><main>{''.join(parts)}</main></html>\n"


def _report(report: Report) -> Iterator[str]:
    yield f"<h1>Benchmark of {escape(report.url)}</h1>"
    yield f'<p class="soft">{escape(_about(report))}</p>'
    for goodput in report.goodput:
        label = f"Goodput at {goodput.share:.0%}"
        told = goodput_said(goodput) if goodput.is_known else "–"
        yield f'<p class="note">{label}, within {GOOD_FACTOR:g}x alone: <b>{escape(told)}</b></p>'
    if len(report.runs) > 1:
        yield gallery([sweep(report), latency_by_rate(report)])
        yield _sweep_table(report)
    for run in report.runs:
        title = f"<h2>{escape(_capital(name_of(report, run)))}</h2>"
        whole = (
            _tiles(run.summary)
            + gallery(_plots(report, run))
            + _kinds_table(report, run.summary)
            + _errors(run.summary)
        )
        is_one = len(report.runs) == 1
        yield title + whole if is_one else f"<details><summary>{title}</summary>{whole}</details>"
    late = behind(report)
    notes = [*report.notes, *([late] if late else [])]
    yield from (f'<p class="note">{escape(_capital(note))}.</p>' for note in notes)


def _about(report: Report) -> str:
    capacity = "" if report.capacity is None else f", capacity {report.capacity:.3f} requests a second"
    return (
        f"{report.dialect} API, {report.began_at.replace('T', ' ')}{capacity}. Latency counts from the planned arrival."
    )


def _tiles(summary: Summary) -> str:
    spread = summary.latency_s
    cost = summary.cost_usd_per_image
    told = [
        (_seconds(spread.p50), "median latency"),
        (_seconds(spread.p90), "p90 latency"),
        (_seconds(spread.p99), "p99 latency"),
        (f"{summary.slo[f'{GOOD_FACTOR:g}']:.1%}", f"within {GOOD_FACTOR:g}x alone"),
        (_seconds(summary.first_step_s.p50), "to the first step, median"),
        (f"{summary.images_per_s:.2f}", "images a second"),
        (f"{summary.requests - summary.succeeded} of {summary.requests}", "failed"),
        (f"${cost:.5f}" if cost else "–", "an image, as jobs say" if cost else "an image: jobs say no price"),
    ]
    if summary.machine_usd_per_image is not None:
        told.append((f"${summary.machine_usd_per_image:.5f}", "an image, of the machine's price"))
    tiles = "".join(f'<div class="tile"><b>{value}</b><small>{escape(name)}</small></div>' for value, name in told)
    return f'<div class="tiles">{tiles}</div>'


def _plots(report: Report, run: Run) -> Iterator[Figure | None]:
    slots = slots_of(run.outcomes)
    kinds = kinds_named(run, slots)
    yield latency_curve(kinds)
    yield multiples_curve({kind: (outcomes, report.solo) for kind, outcomes in kinds.items()})
    yield timeline(run.outcomes, slots)
    yield in_flight(run.outcomes)
    if run.batches is not None:
        yield batch_bars({"forwards": run.batches})
        yield batch_timeline(run.batches) if run.batches.samples else None


def gallery(figures: Iterable[Figure | None]) -> str:
    """Plots side by side."""
    return f'<div class="plots">{"".join(_figure(figure) for figure in figures if figure is not None)}</div>'


def _figure(figure: Figure) -> str:
    legend = "".join(f'<span class="{colour}"><i>{escape(name)}</i></span>' for colour, name in figure.legend)
    said_there = f'<div class="legend">{legend}</div>' if legend else ""
    about = f"<figcaption>{escape(figure.about)}</figcaption>"
    return f"<figure><h3>{escape(figure.title)}</h3>{about}{said_there}{figure.svg}</figure>"


def _sweep_table(report: Report) -> str:
    spreads, targets = ("p50", "p90", "p99"), (f"≤ {each}x" for each in TARGETS)
    heads = ("requests a second", "came", *spreads, *targets, "images/s", "failed")
    rows = []
    for run in report.runs:
        s = run.summary
        spread = (_seconds(value) for value in (s.latency_s.p50, s.latency_s.p90, s.latency_s.p99))
        kept = (f"{s.slo[each]:.1%}" for each in TARGETS)
        came = report.realised(run)
        rate = (f"{run.rate or 0:.3f}", "–" if came is None else f"{came:.3f}")
        rows.append((*rate, *spread, *kept, f"{s.images_per_s:.2f}", str(s.requests - s.succeeded)))
    return table(heads, rows)


def _kinds_table(report: Report, summary: Summary) -> str:
    heads = ("kind", "requests", "alone", "p50", "p90", "p99", *(f"≤ {each}x" for each in TARGETS))
    common = sorted(summary.kinds.items(), key=lambda item: -item[1].requests)[:KINDS_TOLD]
    rows = []
    for kind, each in sorted(common, key=lambda item: by_number(item[0])):
        spread = (_seconds(value) for value in (each.latency_s.p50, each.latency_s.p90, each.latency_s.p99))
        kept = (f"{each.slo[target]:.1%}" for target in TARGETS)
        alone = f"{'~' if report.solo[kind].is_estimate else ''}{_seconds(each.solo_s)}"
        rows.append((kind, str(each.requests), alone, *spread, *kept))
    return table(heads, rows)


def _errors(summary: Summary) -> str:
    return (
        table(("error", "requests"), [(code, str(n)) for code, n in summary.errors.items()]) if summary.errors else ""
    )


def _two(names: tuple[str, str], first: Report, second: Report) -> Iterator[str]:
    yield f"<h1>{escape(names[0])} and {escape(names[1])}</h1>"
    yield "".join(
        f'<p class="soft">{escape(n)}: {escape(_about(r))}</p>' for n, r in zip(names, (first, second), strict=True)
    )
    yield from (f'<p class="note">{escape(_capital(each))}.</p>' for each in differences(first, second))
    alone = alone_of(first, second)
    held = {kind: first.solo[kind] for kind in alone}
    yield _compared_table(names, compared_alone(first, second))
    for one, other in pairs_of(first, second):
        shared = [[each for each in run.outcomes if each.kind in held] for run in (one, other)]
        yield f"<h2>{escape(_capital(name_of(first, one)))}</h2>"
        plots = [
            latency_curve({names[0]: one.outcomes, names[1]: other.outcomes}),
            multiples_curve({names[0]: (shared[0], held), names[1]: (shared[1], held)}),
        ]
        told = {name: run.batches for name, run in zip(names, (one, other), strict=True) if run.batches is not None}
        yield gallery([*plots, batch_bars(told) if told else None])
        yield _compared_table(names, compared(one, other, alone))


def _compared_table(names: tuple[str, str], found: Iterable[Compared]) -> str:
    rows = "".join(
        f"<tr><td>{escape(each.name)}</td><td>{said(each.first, each.unit)}</td><td>{said(each.second, each.unit)}</td>"
        f'<td class="{each.verdict}">{change_said(each)} {each.verdict}</td></tr>'
        for each in found
    )
    heads = "".join(f"<th>{escape(head)}</th>" for head in ("", *names, "change"))
    return f'<div class="table"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text."""
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s" if value >= 0.1 else f"{value * 1000:.0f} ms"


def _capital(said_there: str) -> str:
    return said_there[:1].upper() + said_there[1:]
