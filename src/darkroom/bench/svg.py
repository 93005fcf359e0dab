"""Plots as SVG text, coloured by the classes of the page that they stand in; pure.

A series takes the colour of its slot: `s0` to `s4`, in the order of page.css, and `sx` for what is left over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 580, 270
LEFT, RIGHT, TOP, BOTTOM = 52, 18, 30, 40
SLOTS = 5
STEPS = (1.0, 2.0, 5.0, 10.0)
LOG_FROM = 30.0  # times the smallest, from which on an axis is better logarithmic
TICKS = 6

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Points under a name, in the colour of a slot; None is grey. `hints` says of each point what it is."""

    name: str
    points: Sequence[Point]
    slot: int | None = 0
    hints: Sequence[str] = field(default_factory=tuple)

    @property
    def colour(self) -> str:
        """The class that colours it."""
        return "sx" if self.slot is None else f"s{self.slot % SLOTS}"


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, which lie apart; `name` is written beside it, `said` writes its figures."""

    low: float
    high: float
    name: str
    is_log: bool = False
    said: Callable[[float], str] = lambda value: f"{value:g}"

    def place(self, value: float) -> float:
        """Where a value lies, 0 to 1; what is beyond the ends lies on them."""
        held = min(max(value, self.low), self.high)
        if self.is_log:
            return math.log(held / self.low) / math.log(self.high / self.low)
        return (held - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values within it."""
        return _log_ticks(self.low, self.high) if self.is_log else _even_ticks(self.low, self.high)


@dataclass(frozen=True)
class Plot:
    """Axes and what is drawn between them."""

    x: Scale
    y: Scale
    label: str  # what the plot shows, for those who do not see it
    height: int = HEIGHT

    def at(self, point: Point) -> Point:
        """Pixels of a point."""
        x = LEFT + self.x.place(point[0]) * (WIDTH - LEFT - RIGHT)
        return round(x, 1), round(self._bottom - self.y.place(point[1]) * (self._bottom - TOP), 1)

    @property
    def _bottom(self) -> int:
        return self.height - BOTTOM

    def draw(self, *parts: str) -> str:
        """The whole SVG: axes, then the parts."""
        head = f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(self.label)}">'
        return "".join((head, *self._axes(), *parts, "</svg>"))

    def _axes(self) -> Iterator[str]:
        right, bottom = WIDTH - RIGHT, self._bottom
        for value in self.y.ticks():
            y = self.at((self.x.low, value))[1]
            yield f'<path class="grid" d="M{LEFT} {y}H{right}"/>'
            yield text(LEFT - 8, y + 4, self.y.said(value), "end")
        for value in self.x.ticks():
            x = self.at((value, self.y.low))[0]
            yield f'<path class="tick" d="M{x} {bottom}v5"/>' + text(x, bottom + 18, self.x.said(value), "middle")
        yield f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>'
        yield text(LEFT - 8, 14, self.y.name, "start", "name") if self.y.name else ""
        yield text(right, bottom + 34, self.x.name, "end", "name") if self.x.name else ""

    def line(self, series: Series) -> str:
        """A line through the points, the last of which is marked where there are few."""
        said = "L".join(f"{x} {y}" for x, y in (self.at(point) for point in series.points))
        return f'<path class="line {series.colour}" d="M{said}"><title>{escape(series.name)}</title></path>'

    def area(self, series: Series) -> str:
        """The same with what is below it filled."""
        first, last = self.at(series.points[0])[0], self.at(series.points[-1])[0]
        said = "L".join(f"{x} {y}" for x, y in (self.at(point) for point in series.points))
        below = f"M{first} {self._bottom}L{said}L{last} {self._bottom}Z"
        return f'<path class="area {series.colour}" d="{below}"/>{self.line(series)}'

    def dots(self, series: Series, radius: float = 3.0) -> str:
        """A dot at each point, with its hint."""
        hints = series.hints or ("",) * len(series.points)
        drawn = (
            f'<circle class="dot {series.colour}" cx="{x}" cy="{y}" r="{radius}"><title>{escape(hint)}</title></circle>'
            for (x, y), hint in zip((self.at(point) for point in series.points), hints, strict=True)
        )
        return "".join(drawn)

    def crosses(self, series: Series) -> str:
        """A cross at each point: what failed."""
        drawn = (
            f'<path class="cross" d="M{x - 3.5} {y - 3.5}l7 7m0-7l-7 7"><title>{escape(hint)}</title></path>'
            for (x, y), hint in zip((self.at(point) for point in series.points), series.hints, strict=True)
        )
        return "".join(drawn)

    def bars(self, series: Series, breadth: float) -> str:
        """A bar from the ground to each point, `breadth` wide in units of x."""
        drawn = []
        for (x, y), hint in zip(series.points, series.hints, strict=True):
            left, top = self.at((x - breadth / 2, y))
            right = self.at((x + breadth / 2, y))[0]
            box = f'x="{left}" y="{top}" width="{right - left:.1f}" height="{max(0.0, self._bottom - top):.1f}"'
            drawn.append(f'<rect class="bar {series.colour}" rx="2" {box}><title>{escape(hint)}</title></rect>')
        return "".join(drawn)

    def upright(self, x: float, said: str) -> str:
        """A dashed line at a value of x, named at its top."""
        at = self.at((x, self.y.high))[0]
        return f'<path class="mark" d="M{at} {TOP}V{self._bottom}"/>' + text(at, TOP - 5, said, "middle")

    def level(self, y: float, said: str) -> str:
        """A dashed line at a value of y, named at its right end."""
        at = self.at((self.x.low, y))[1]
        return f'<path class="mark" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>' + text(WIDTH - RIGHT, at - 5, said, "end")


def text(x: float, y: float, said: str, anchor: str, kind: str = "") -> str:
    """Words at a place."""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}">{escape(said)}</text>'


def scale_of(values: Sequence[float], name: str, *, may_log: bool = False) -> Scale:
    """An axis that holds all values: from 0, or logarithmic where that may be and they lie far apart."""
    most, least = max(values, default=1.0), min((value for value in values if value > 0), default=1.0)
    if may_log and most > LOG_FROM * least:
        return Scale(least * 0.9, most * 1.1, name, is_log=True)
    return Scale(0.0, (most or 1.0) * 1.04, name)


def percent_scale(name: str) -> Scale:
    """From nothing to all."""
    return Scale(0.0, 1.0, name, said=lambda share: f"{share:.0%}")


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most about so many of the points, evenly chosen, with the last."""
    every = max(1, math.ceil(len(points) / most))
    return [*points[:-1:every], *points[-1:]]


def _even_ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in STEPS if each * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [each * 10.0**power for power in powers for each in STEPS[:3]]
    return [float(f"{value:.6g}") for value in every if low <= value <= high]
