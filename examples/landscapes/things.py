"""What people and plants put into a landscape; sizes are in output pixels and the same in every picture size."""

from __future__ import annotations

import math
import random

from .canvas import Canvas
from .palette import Colour, Palette, mix, scale, tint
from .scene import Scene

GROUND = 0.905
WATERLINE = 0.735


def draw_things(canvas: Canvas, scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Boat, trees and building, from far to near."""
    side = _tree_side(scene, rng)
    if scene.boat == "boat":
        _draw_boat(canvas, scene, palette, side, rng)
    if scene.trees != "none":
        _draw_trees(canvas, scene, palette, side, rng)
    if scene.building != "none":
        x = canvas.width * (0.2 if scene.building_place == "left" else 0.8) + rng.uniform(-4, 4)
        draw = _draw_house if scene.building == "house" else _draw_lighthouse
        draw(canvas, x, GROUND * canvas.height + rng.uniform(-2, 2), scene, palette)


def _tree_side(scene: Scene, rng: random.Random) -> str:
    """Trees keep clear of the building."""
    if scene.building == "none":
        return rng.choice(("left", "right"))
    return "left" if scene.building_place == "right" else "right"


def _draw_trees(canvas: Canvas, scene: Scene, palette: Palette, side: str, rng: random.Random) -> None:
    count = {"one": 1, "two": 2, "several": 4}[scene.tree_count]
    size = 1.0 if count < 3 else 0.74
    gap = 44 if count < 3 else 28
    draw = _draw_pine if scene.trees == "pine" else _draw_palm
    for index in range(count):
        inset = 27 + gap * index + (12 if count == 1 else 0) + rng.uniform(-2, 2)
        x = inset if side == "left" else canvas.width - inset
        lift = 5 * (index % 2)
        draw(canvas, x, (GROUND + 0.03) * canvas.height - lift, size * rng.uniform(0.96, 1.04), scene, palette)


def _draw_pine(canvas: Canvas, x: float, y: float, size: float, scene: Scene, palette: Palette) -> None:
    green = tint((24, 98, 66), mix_factors(palette.ambient, 0.3))
    canvas.box(x - 4 * size, y - 16 * size, x + 4 * size, y, tint((104, 68, 44), palette.ambient))
    for base, top, half in ((-12, -46, 21), (-32, -66, 17), (-52, -88, 13)):
        canvas.polygon(
            [(x - half * size, y + base * size), (x, y + top * size), (x + half * size, y + base * size)], green
        )
        canvas.polygon(
            [(x, y + base * size), (x, y + top * size), (x + half * size, y + base * size)], scale(green, 0.74)
        )


def _draw_palm(canvas: Canvas, x: float, y: float, size: float, scene: Scene, palette: Palette) -> None:
    bark = tint((150, 100, 58), mix_factors(palette.ambient, 0.3))
    left = [(x - 5 * size, y), (x - 1 * size, y - 30 * size), (x - 2 * size, y - 66 * size)]
    right = [(x + 3 * size, y - 66 * size), (x + 5 * size, y - 30 * size), (x + 4 * size, y)]
    canvas.polygon([*left, *right], bark)
    green = tint((62, 168, 66), mix_factors(palette.ambient, 0.3))
    for angle in (200, 340, 168, 12, 235, 305):
        _draw_frond(
            canvas, x, y - 66 * size, math.radians(angle), 27 * size, green if angle > 180 else scale(green, 0.76)
        )


def _draw_frond(canvas: Canvas, x: float, y: float, angle: float, length: float, colour: Colour) -> None:
    ux, uy = math.cos(angle), math.sin(angle)
    upper, lower = [], []
    for step in range(6):
        share = step / 5
        droop = 13 * share * share
        px, py = x + ux * length * share, y + uy * length * share + droop
        thick = 5.2 * math.sin(math.pi * (0.12 + 0.88 * share)) + 0.6
        upper.append((px, py - thick))
        lower.append((px, py + thick * 0.7))
    canvas.polygon([*upper, *reversed(lower)], colour)


def _window(scene: Scene, palette: Palette) -> Colour:
    return (255, 216, 96) if scene.time in ("night", "storm", "sunset") else tint((96, 140, 176), palette.ambient)


def _draw_house(canvas: Canvas, x: float, y: float, scene: Scene, palette: Palette) -> None:
    wall = tint((250, 236, 208), mix_factors(palette.ambient, 0.25))
    roof = tint((246, 248, 252) if scene.weather == "snow" else (196, 66, 52), mix_factors(palette.ambient, 0.1))
    canvas.box(x + 9, y - 60, x + 17, y - 40, tint((128, 82, 70), palette.ambient))
    canvas.box(x - 25, y - 34, x + 25, y, wall)
    canvas.box(x + 8, y - 34, x + 25, y, scale(wall, 0.88))
    canvas.polygon([(x - 32, y - 32), (x - 14, y - 58), (x + 14, y - 58), (x + 32, y - 32)], roof)
    canvas.box(x - 5, y - 20, x + 5, y, tint((112, 70, 48), palette.ambient))
    for dx in (-20, 10):
        canvas.box(x + dx, y - 25, x + dx + 11, y - 13, _window(scene, palette))


def _draw_lighthouse(canvas: Canvas, x: float, y: float, scene: Scene, palette: Palette) -> None:
    factors = mix_factors(palette.ambient, 0.25)
    white, red = tint((250, 248, 242), factors), tint((212, 56, 52), factors)
    bands = 5
    for band in range(bands):
        low, high = y - 80 * band / bands, y - 80 * (band + 1) / bands
        wide, thin = 15 - 6 * band / bands, 15 - 6 * (band + 1) / bands
        canvas.polygon(
            [(x - wide, low), (x + wide, low), (x + thin, high), (x - thin, high)], white if band % 2 else red
        )
    if scene.time in ("night", "storm"):
        canvas.polygon([(x, y - 87), (x - 70, y - 104), (x - 70, y - 78)], (255, 238, 160), 90)
        canvas.polygon([(x, y - 87), (x + 70, y - 104), (x + 70, y - 78)], (255, 238, 160), 90)
    canvas.box(x - 12, y - 82, x + 12, y - 79, scale(red, 0.6))
    canvas.box(x - 7, y - 94, x + 7, y - 81, (255, 232, 120))
    canvas.polygon([(x - 10, y - 93), (x, y - 105), (x + 10, y - 93)], red)


def _draw_boat(canvas: Canvas, scene: Scene, palette: Palette, side: str, rng: random.Random) -> None:
    shift = 0.0
    if scene.tree_count in ("two", "several") or scene.building != "none":
        shift = 0.05 if side == "left" and scene.tree_count != "none" else -0.05
    x, y = canvas.width * (0.5 + shift) + rng.uniform(-5, 5), WATERLINE * canvas.height + 4
    factors = mix_factors(palette.ambient, 0.35)
    canvas.ellipse(x, y + 3, 30, 4, scale(palette.water, 0.62), 150)
    canvas.box(x - 1.2, y - 56, x + 1.2, y - 6, tint((96, 64, 48), factors))
    canvas.polygon([(x + 3, y - 54), (x + 3, y - 12), (x + 27, y - 12)], tint((255, 255, 250), factors))
    canvas.polygon([(x - 3, y - 50), (x - 3, y - 12), (x - 20, y - 12)], tint((238, 122, 60), factors))
    canvas.polygon([(x - 27, y - 9), (x + 29, y - 9), (x + 20, y + 3), (x - 19, y + 3)], tint((128, 52, 44), factors))


def mix_factors(factors: tuple[float, float, float], share: float) -> tuple[float, float, float]:
    """A tint eased towards none, for things that should stand out at night."""
    r, g, b = (f + (1 - f) * share for f in factors)
    return (r, g, b)


__all__ = ["draw_things", "mix"]
