"""The figures as a table for the terminal and as Markdown for the docs."""

from __future__ import annotations

from collections.abc import Iterator

from .figure import Figure


def shown(value: float, unit: str) -> str:
    """A value with its unit, in as many digits as mean something."""
    if unit == "%":
        return f"{value * 100:.1f} %"
    if unit == "":
        return f"{value:.1e}"
    if unit in ("ticks", "rows"):
        return f"{value:.3g} {unit}"
    text = f"{value:.2f}" if value < 100 else f"{value:.0f}"
    return f"{text}{unit}" if unit == "x" else f"{text} {unit}"


def rows(by_threads: dict[int, list[Figure]]) -> Iterator[list[str]]:
    """What, floor, aim, then value and verdict for each thread count."""
    named: dict[tuple[str, str, str], dict[int, Figure]] = {}
    for threads, figures in by_threads.items():
        for figure in figures:
            named.setdefault((figure.part, figure.name, figure.unit), {})[threads] = figure
    for (part, name, unit), found in named.items():
        one = next(iter(found.values()))
        marks = ["" if mark is None else shown(mark, unit) for mark in (one.floor, one.aim)]
        cells = [_cell(found.get(threads)) for threads in by_threads]
        yield [f"{part}: {name}", *marks, *cells]


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    verdict = f" ({figure.verdict})" if figure.verdict else ""
    return shown(figure.value, figure.unit) + verdict


def table(by_threads: dict[int, list[Figure]]) -> str:
    """Aligned columns."""
    lines = [_head(by_threads), *rows(by_threads)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def markdown(by_threads: dict[int, list[Figure]], command: str, about: str) -> str:
    """A page's worth: the command, the conditions, the table."""
    head = _head(by_threads)
    lines = [head, ["---"] * len(head), *rows(by_threads)]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"`{command}`\n\n{about}\n\n{body}\n"


def _head(by_threads: dict[int, list[Figure]]) -> list[str]:
    return ["what", "floor", "aim", *(f"{threads} thread{'s' * (threads > 1)}" for threads in by_threads)]


def missed(by_threads: dict[int, list[Figure]]) -> list[str]:
    """What did not reach its floor."""
    found = [(threads, figure) for threads, figures in by_threads.items() for figure in figures]
    return [f"{f.part}: {f.name}, {threads} threads" for threads, f in found if f.verdict == "NOT REACHED"]
