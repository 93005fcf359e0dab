"""A picture of simulated fleets: for each policy its workers and what waited, over time, and what it came to."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from .simulation import Run, Sample

SCALE = 2  # drawn so much larger and then reduced: smooth edges
WIDTH, PANEL, TOP, BOTTOM, LEFT, RIGHT, GAP = 1200, 170, 46, 40, 62, 62, 34
PAPER, INK, FAINT = (252, 252, 251), (32, 34, 38), (226, 227, 230)
WORKERS, WORKERS_LINE, WAITING = (186, 214, 235), (49, 104, 152), (214, 96, 36)
DAY_S = 86400.0


@dataclass(frozen=True)
class Column:
    """What a pixel's breadth of time held: workers on average, jobs waiting at most."""

    workers: float
    waiting: int


def columns_of(samples: Sequence[Sample], ends_at: float, count: int) -> list[Column]:
    """`count` equal spans from 0 to `ends_at`; between samples the fleet stays as it was."""
    breadth = ends_at / count
    workers, waiting = [0.0] * count, [0] * count
    for sample, until in zip(samples, [*(later.at for later in samples[1:]), ends_at], strict=True):
        first = min(count - 1, int(sample.at / breadth))
        for place in range(first, min(count - 1, int(until / breadth)) + 1):
            overlap_s = min(until, (place + 1) * breadth) - max(sample.at, place * breadth)
            if overlap_s > 0:
                workers[place] += overlap_s / breadth * sample.workers
                waiting[place] = max(waiting[place], sample.waiting)
    return [Column(*pair) for pair in zip(workers, waiting, strict=True)]


def draw(runs: Mapping[str, Run], captions: Sequence[str]) -> bytes:
    """A PNG with a panel and a caption for each policy, all with the same axes."""
    size = (WIDTH, TOP + BOTTOM + len(runs) * PANEL + (len(runs) - 1) * GAP)
    image = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), PAPER)
    pen = _Pen(ImageDraw.Draw(image))
    ends_at = max(run.ended_at for run in runs.values())
    columns = {name: columns_of(run.samples, ends_at, WIDTH - LEFT - RIGHT) for name, run in runs.items()}
    most_workers = max(1.0, *(column.workers for each in columns.values() for column in each))
    most_waiting = max(1, *(column.waiting for each in columns.values() for column in each))
    _draw_legend(pen)
    for place, ((name, each), caption) in enumerate(zip(columns.items(), captions, strict=True)):
        top = TOP + place * (PANEL + GAP)
        _draw_panel(pen, top, name, each, (most_workers, most_waiting))
        pen.text(WIDTH - RIGHT, top - 10, caption, INK, "rm", 12)
    _draw_days(pen, size[1] - BOTTOM, ends_at)
    file = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(file, "PNG", optimize=True)
    return file.getvalue()


class _Pen:
    """Draws in the picture's own pixels."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self._draw = draw

    def line(self, points: Sequence[tuple[float, float]], color: tuple[int, int, int], width: float = 1.0) -> None:
        self._draw.line([(x * SCALE, y * SCALE) for x, y in points], color, round(width * SCALE), joint="curve")

    def box(self, x: float, y: float, right: float, bottom: float, color: tuple[int, int, int]) -> None:
        self._draw.rectangle((x * SCALE, y * SCALE, right * SCALE - 1, max(y, bottom) * SCALE), color)

    def text(self, x: float, y: float, said: str, color: tuple[int, int, int], anchor: str, size: int = 13) -> None:
        font = ImageFont.load_default(size * SCALE)
        self._draw.text((x * SCALE, y * SCALE), said, color, font, anchor)


def _draw_legend(pen: _Pen) -> None:
    pen.box(WIDTH - 330, 14, WIDTH - 316, 26, WORKERS)
    pen.text(WIDTH - 310, 20, "workers, mean", WORKERS_LINE, "lm")
    pen.line([(WIDTH - 196, 20), (WIDTH - 178, 20)], WAITING, 1.6)
    pen.text(WIDTH - 172, 20, "jobs waiting, most", WAITING, "lm")


def _draw_panel(pen: _Pen, top: float, name: str, columns: Sequence[Column], most: tuple[float, int]) -> None:
    bottom = top + PANEL
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (PANEL - 8)
        pen.line([(LEFT, y), (WIDTH - RIGHT, y)], FAINT)
        pen.text(LEFT - 8, y, f"{share * most[0]:.3g}", WORKERS_LINE, "rm", 12)
        pen.text(WIDTH - RIGHT + 8, y, f"{share * most[1]:.0f}", WAITING, "lm", 12)
    heights = [bottom - column.workers / most[0] * (PANEL - 8) for column in columns]
    for place, height in enumerate(heights):
        pen.box(LEFT + place, height, LEFT + place + 1, bottom, WORKERS)
    pen.line([(LEFT + place, height) for place, height in enumerate(heights)], WORKERS_LINE, 0.8)
    waits = [bottom - column.waiting / most[1] * (PANEL - 8) for column in columns]
    pen.line([(LEFT + place, height) for place, height in enumerate(waits)], WAITING, 0.8)
    pen.text(LEFT, top - 10, name, INK, "lm", 15)


def _draw_days(pen: _Pen, y: float, ends_at: float) -> None:
    days = ends_at / DAY_S
    step, unit, whole = (1.0 / 24, "hour", 24) if days < 2 else (1.0, "day", 1)
    every = max(1, round(days / step / 12))
    for number in range(0, int(days / step) + 1, every):
        x = LEFT + number * step / days * (WIDTH - LEFT - RIGHT)
        pen.line([(x, y), (x, y + 5)], INK)
        pen.text(x, y + 16, f"{unit} {number % whole if whole > 1 else number}", INK, "mm", 12)
