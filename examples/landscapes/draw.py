"""Scenes turned into pictures."""

from __future__ import annotations

import random

from PIL import Image

from .canvas import Canvas
from .land import draw_land
from .palette import PALETTES
from .scene import Scene
from .sky import draw_rain, draw_sky, draw_snowfall
from .things import draw_things


def draw_scene(scene: Scene, width: int, height: int, rng: random.Random) -> Image.Image:
    """A picture of the scene in pixels; the generator only decides small shifts, never an attribute."""
    canvas = Canvas(width, height)
    palette = PALETTES[scene.time]
    draw_sky(canvas, scene, palette, rng)
    draw_land(canvas, scene, palette, rng)
    draw_things(canvas, scene, palette, rng)
    if scene.weather == "rain":
        draw_rain(canvas)
    if scene.weather == "snow":
        draw_snowfall(canvas, rng)
    return canvas.finish()
