"""The land: mountains, hills, ground and water."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw

from .canvas import SUPERSAMPLING, Canvas, Point
from .palette import ROCKS, Colour, Palette, mix, scale, tint
from .scene import Scene
from .sky import HORIZON, body_position

LAKE = (0.06, 0.635, 0.94, 0.835)


def draw_land(canvas: Canvas, scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Everything from the farthest range to the ground underfoot."""
    if scene.ranges != "none":
        _draw_ranges(canvas, scene, palette, rng)
    if scene.hills == "hills":
        _draw_hills(canvas, scene, palette, rng)
    if scene.water == "sea":
        _draw_sea(canvas, scene, palette)
    else:
        _draw_meadow(canvas, scene, palette)
    if scene.water == "lake":
        _draw_lake(canvas, scene, palette)


def grass(scene: Scene, palette: Palette) -> Colour:
    """The ground's colour, white where snow falls."""
    return tint((240, 244, 250) if scene.weather == "snow" else (104, 176, 78), palette.ambient)


def _draw_ranges(canvas: Canvas, scene: Scene, palette: Palette, rng: random.Random) -> None:
    rock = tint(ROCKS[scene.mountain_colour], palette.rock)
    tops = ((0.36, 0.0),) if scene.ranges == "one" else ((0.27, 0.5), (0.38, 0.25), (0.475, -0.12))
    for index, (top, haze) in enumerate(tops):
        colour = mix(rock, palette.sky[2], haze) if haze >= 0 else scale(rock, 1 + 2 * haze)
        capped = scene.snow_caps == "caps" and index < 2
        _draw_range(canvas, top, index * 0.5, colour, tint((255, 255, 255), palette.rock) if capped else None, rng)


def _draw_range(
    canvas: Canvas, top: float, shift: float, colour: Colour, cap: Colour | None, rng: random.Random
) -> None:
    base = canvas.height * HORIZON + 4
    count = max(2, round(canvas.width / 88))
    step = canvas.width / count
    for index in [*range(0, count + 1, 2), *range(-1, count + 1, 2)]:
        x = (index + 0.5 - shift) * step + rng.uniform(-8, 8)
        tall = 1.0 if index % 2 == 0 else 0.78
        peak = base - (base - top * canvas.height) * (tall + rng.uniform(-0.05, 0.05))
        _draw_peak(canvas, x, peak, base, step * (0.92 if tall == 1.0 else 0.8), colour, cap)


def _draw_peak(
    canvas: Canvas, x: float, top: float, base: float, half: float, colour: Colour, cap: Colour | None
) -> None:
    drop = base - top
    canvas.polygon([(x - half, base), (x, top), (x + half, base)], colour)
    shade = [
        (x, top),
        (x + half, base),
        (x + half * 0.1, base),
        (x - half * 0.04, top + drop * 0.62),
        (x + half * 0.12, top + drop * 0.4),
    ]
    canvas.polygon(shade, scale(colour, 0.78))
    if cap is None:
        return
    low = 0.40
    teeth = [(-low, low), (-0.22, 0.31), (-0.1, 0.44), (0.04, 0.33), (0.17, 0.45), (0.24, 0.32), (low, low)]
    canvas.polygon([(x, top), *[(x + half * dx, top + drop * dy) for dx, dy in teeth]], cap)
    canvas.polygon(
        [(x, top), (x + half * 0.06, top + drop * 0.34), *[(x + half * dx, top + drop * dy) for dx, dy in teeth[4:]]],
        scale(cap, 0.86),
    )


def _wave(canvas: Canvas, level: float, swing: float, period: float, phase: float) -> list[Point]:
    """A curve across the picture at a level and swing given as shares of the height."""
    points = []
    for x in range(0, canvas.width + 8, 8):
        y = level - swing * math.cos(2 * math.pi * (x / period + phase))
        points.append((float(x), y * canvas.height))
    return [*points, (canvas.width + 8.0, float(canvas.height)), (0.0, float(canvas.height))]


def _draw_hills(canvas: Canvas, scene: Scene, palette: Palette, rng: random.Random) -> None:
    green = grass(scene, palette)
    jitter = rng.uniform(-0.08, 0.08)
    canvas.polygon(_wave(canvas, 0.515, 0.045, 150, jitter), mix(scale(green, 0.74), palette.sky[2], 0.12))
    canvas.polygon(_wave(canvas, 0.565, 0.04, 128, 0.45 + jitter), scale(green, 0.87))


def _draw_meadow(canvas: Canvas, scene: Scene, palette: Palette) -> None:
    green = grass(scene, palette)
    canvas.gradient(
        (mix(green, palette.sky[2], 0.10), green, scale(green, 0.82)), HORIZON * canvas.height, canvas.height
    )
    canvas.polygon(_wave(canvas, 0.86, 0.012, canvas.width * 1.1, 0.2), scale(green, 0.80))
    if scene.water == "none":
        canvas.polygon(_wave(canvas, 0.70, 0.015, canvas.width * 1.3, 0.6), scale(green, 0.92))
        canvas.polygon(_wave(canvas, 0.86, 0.012, canvas.width * 1.1, 0.2), scale(green, 0.80))


def _draw_lake(canvas: Canvas, scene: Scene, palette: Palette) -> None:
    left, top, right, bottom = (v * s for v, s in zip(LAKE, (canvas.width, canvas.height) * 2, strict=True))
    rx, ry = (right - left) / 2, (bottom - top) / 2
    canvas.ellipse((left + right) / 2, (top + bottom) / 2 - 1, rx + 5, ry + 4, scale(grass(scene, palette), 0.66))
    first, last = round(top * SUPERSAMPLING), round(bottom * SUPERSAMPLING)
    mask = Image.new("L", (canvas.image.width, last - first))
    ImageDraw.Draw(mask).ellipse((left * SUPERSAMPLING, 0, right * SUPERSAMPLING, last - first), fill=255)
    shore = round(HORIZON * canvas.height * SUPERSAMPLING)
    _reflect(canvas, palette.water, shore, first, last, mask)
    _draw_glitter(canvas, scene, palette, top + 6, bottom - 10)


def _reflect(canvas: Canvas, water: Colour, shore: int, first: int, last: int, mask: Image.Image | None) -> None:
    """Paste what stands above the shore, flipped and flattened by half, into the water's rows (in drawn pixels)."""
    width, depth = canvas.image.width, last - first
    above = canvas.image.crop((0, max(0, shore - 2 * depth), width, shore))
    flipped = above.resize((width, depth)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    mixed = Image.blend(flipped, Image.new("RGB", flipped.size, water), 0.42)
    canvas.image.paste(mixed, (0, first), mask)


def _draw_sea(canvas: Canvas, scene: Scene, palette: Palette) -> None:
    top = HORIZON * canvas.height
    canvas.gradient(
        (mix(palette.water, palette.sky[2], 0.35), palette.water, scale(palette.water, 0.8)), top, canvas.height
    )
    shore = round(top * SUPERSAMPLING)
    _reflect(canvas, palette.water, shore, shore, round(0.74 * canvas.height * SUPERSAMPLING), None)
    _draw_glitter(canvas, scene, palette, top + 5, 0.8 * canvas.height)
    foam = mix(palette.water, (255, 255, 255), 0.55)
    for row, level in enumerate((0.655, 0.72, 0.785)):
        for x in range(-16 + 24 * (row % 2), canvas.width + 32, 48):
            _draw_crest(canvas, float(x), level * canvas.height, foam)
    sand = tint((244, 244, 248) if scene.weather == "snow" else (240, 208, 142), palette.ambient)
    canvas.polygon(_wave(canvas, 0.845, 0.012, canvas.width * 1.1, 0.2), foam)
    canvas.polygon(_wave(canvas, 0.862, 0.012, canvas.width * 1.1, 0.2), sand)


def _draw_crest(canvas: Canvas, x: float, y: float, foam: Colour) -> None:
    canvas.polygon(
        [(x - 15, y + 2), (x - 6, y - 2.4), (x + 6, y - 2.4), (x + 15, y + 2), (x + 5, y + 0.6), (x - 5, y + 0.6)], foam
    )


def _draw_glitter(canvas: Canvas, scene: Scene, palette: Palette, top: float, bottom: float) -> None:
    if scene.body == "none":
        return
    x, _ = body_position(canvas, scene)
    y, half = top, 18.0
    while y < bottom:
        canvas.polygon([(x - half, y + 1.4), (x, y), (x + half, y + 1.4), (x, y + 2.8)], palette.light, 200)
        y, half = y + 6, 11 + (half * 7) % 10
