"""The sky: its gradient, lights, clouds, stars and what falls from it."""

from __future__ import annotations

import random

from .canvas import Canvas
from .palette import Colour, Palette, mix
from .scene import Scene

PLACES = {"left": 0.2, "centre": 0.5, "right": 0.8}
HORIZON = 0.58


def draw_sky(canvas: Canvas, scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Everything behind the land."""
    grey: Colour = (128, 134, 146) if scene.time != "night" else (34, 42, 74)
    veil = 0.30 if scene.weather != "dry" else 0.0
    top, middle, low = (mix(c, grey, veil) for c in palette.sky)
    canvas.gradient((top, middle, low, low), 0, canvas.height)
    canvas.gradient((top, middle, low), 0, canvas.height * HORIZON + 4)
    if scene.stars == "stars":
        _draw_stars(canvas, rng)
    if scene.body != "none":
        _draw_body(canvas, scene, palette, rng)
    if scene.time == "storm":
        _draw_bolt(canvas, rng)
    if scene.clouds == "clouds":
        _draw_clouds(canvas, scene, palette, rng)


def body_position(canvas: Canvas, scene: Scene) -> tuple[float, float]:
    """Centre of the sun or moon in pixels."""
    height = 0.26 if scene.time in ("dawn", "sunset") else 0.19
    return PLACES[scene.body_place] * canvas.width, max(30.0, height * canvas.height)


def _draw_body(canvas: Canvas, scene: Scene, palette: Palette, rng: random.Random) -> None:
    x, y = body_position(canvas, scene)
    x, y = x + rng.uniform(-5, 5), y + rng.uniform(-3, 3)
    if scene.body == "moon":
        canvas.glow(x, y, 62, (150, 166, 226), 0.55)
        canvas.ellipse(x, y, 21, 21, palette.light)
        for dx, dy, radius in ((-7, -5, 5), (6, 3, 6), (-4, 9, 3.5)):
            canvas.ellipse(x + dx, y + dy, radius, radius, (214, 206, 176))
        return
    canvas.glow(x, y, 84, palette.light, 0.75)
    radius = 27 if scene.time in ("dawn", "sunset") else 23
    canvas.ellipse(x, y, radius, radius, palette.light)
    canvas.ellipse(x, y, radius - 5, radius - 5, mix(palette.light, (255, 255, 255), 0.35))


def _draw_stars(canvas: Canvas, rng: random.Random) -> None:
    step = 32
    for row in range(0, int(canvas.height * HORIZON), step):
        for column in range(0, canvas.width, step):
            x, y = column + 10 + rng.uniform(-6, 18), row + 10 + rng.uniform(-6, 18)
            if rng.random() < 0.8:
                _draw_star(canvas, x, y, rng.choice((2.2, 2.8, 4.2)))


def _draw_star(canvas: Canvas, x: float, y: float, r: float) -> None:
    q = r * 0.34
    tips = [
        (x, y - r),
        (x + q, y - q),
        (x + r, y),
        (x + q, y + q),
        (x, y + r),
        (x - q, y + q),
        (x - r, y),
        (x - q, y - q),
    ]
    canvas.polygon(tips, (255, 250, 226))
    canvas.ellipse(x, y, q * 1.5, q * 1.5, (255, 255, 240))


def _draw_bolt(canvas: Canvas, rng: random.Random) -> None:
    x, top, bottom = rng.choice((0.28, 0.5, 0.72)) * canvas.width, 0.16 * canvas.height, HORIZON * canvas.height
    canvas.glow(x, (top + bottom) / 2, 70, (206, 214, 180), 0.5)
    drop = bottom - top
    spine = [(4, 0.0), (-9, 0.42), (2, 0.42), (-10, 1.0), (14, 0.34), (4, 0.34), (16, 0.0)]
    canvas.polygon([(x + dx, top + drop * f) for dx, f in spine], (255, 246, 176))


def _draw_clouds(canvas: Canvas, scene: Scene, palette: Palette, rng: random.Random) -> None:
    heavy = scene.time == "storm" or scene.weather != "dry"
    grey: Colour = (96, 102, 116) if scene.time not in ("night", "storm") else palette.cloud_shade
    body = mix(palette.cloud, grey, 0.45 if heavy else 0.0)
    shade = mix(palette.cloud_shade, grey, 0.45 if heavy else 0.0)
    if heavy:
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            _draw_cloud(canvas, share * canvas.width + rng.uniform(-8, 8), rng.uniform(6, 20), 1.5, body, shade)
        return
    for place, row in (("left", 0.13), ("centre", 0.25), ("right", 0.16)):
        if place != scene.body_place:
            x = PLACES[place] * canvas.width + rng.uniform(-8, 8)
            _draw_cloud(canvas, x, row * canvas.height + rng.uniform(-5, 5), rng.uniform(0.85, 1.0), body, shade)


def _draw_cloud(canvas: Canvas, x: float, y: float, size: float, body: Colour, shade: Colour) -> None:
    puffs = ((-26, 4, 12), (-10, -4, 16), (10, -6, 18), (28, 3, 13))
    for dx, dy, radius in puffs:
        canvas.ellipse(x + dx * size, y + (dy + 5) * size, radius * size, radius * size * 0.8, shade)
    canvas.box(x - 34 * size, y + 6 * size, x + 38 * size, y + 16 * size, shade)
    for dx, dy, radius in puffs:
        canvas.ellipse(x + dx * size, y + dy * size, radius * size, radius * size * 0.8, body)
    canvas.box(x - 30 * size, y + 2 * size, x + 33 * size, y + 11 * size, body)


def draw_rain(canvas: Canvas) -> None:
    """Slanted strokes on a 32-pixel lattice, which the autoencoder's 16-pixel cells can hold."""
    for row in range(-32, canvas.height, 32):
        for column in range(-32, canvas.width + 32, 32):
            for dx, dy in ((6, 4), (22, 20)):
                x, y = column + dx, row + dy
                canvas.polygon(
                    [(x + 4, y - 11), (x + 6, y - 11), (x - 3.2, y + 11), (x - 5.2, y + 11)], (228, 238, 250), 215
                )


def draw_snowfall(canvas: Canvas, rng: random.Random) -> None:
    """Round flakes, one or two to each 32-pixel square."""
    for row in range(0, canvas.height, 32):
        for column in range(0, canvas.width, 32):
            for dx, dy in ((8, 8), (24, 24)):
                radius = rng.choice((2.6, 3.4))
                canvas.ellipse(
                    column + dx + rng.uniform(-4, 4),
                    row + dy + rng.uniform(-4, 4),
                    radius,
                    radius,
                    (255, 255, 255),
                    245,
                )
