"""A picture drawn at twice its size, so that reducing it smooths every edge."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from .palette import Colour

SUPERSAMPLING = 2
Point = tuple[float, float]


class Canvas:
    """Draws in output pixels; the image behind is SUPERSAMPLING times larger."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.image = Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING))
        self._pen = ImageDraw.Draw(self.image, "RGBA")

    def polygon(self, points: Sequence[Point], colour: Colour, alpha: int = 255) -> None:
        """Fill a polygon."""
        self._pen.polygon([(x * SUPERSAMPLING, y * SUPERSAMPLING) for x, y in points], (*colour, alpha))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, alpha: int = 255) -> None:
        """Fill an ellipse given its centre and radii."""
        box = [(v * SUPERSAMPLING) for v in (x - rx, y - ry, x + rx, y + ry)]
        self._pen.ellipse(box, (*colour, alpha))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, alpha: int = 255) -> None:
        """Fill an upright rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour, alpha)

    def gradient(self, stops: Sequence[Colour], top: float, bottom: float) -> None:
        """Fill the full width between two heights with colours blended downwards."""
        first, last = round(top * SUPERSAMPLING), round(bottom * SUPERSAMPLING)
        if last <= first:
            return
        at = np.linspace(0, len(stops) - 1, last - first)
        column = np.stack([np.interp(at, range(len(stops)), [s[c] for s in stops]) for c in range(3)], axis=-1)
        strip = Image.fromarray(column.round().astype(np.uint8)[:, None, :])
        self.image.paste(strip.resize((self.image.width, last - first)), (0, first))

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
        """Lay a light that fades to nothing at the radius; strength 0 to 1 is its opacity at the centre."""
        mask = _halo(round(2 * radius * SUPERSAMPLING)).point([round(v * strength) for v in range(256)])
        corner = (round((x - radius) * SUPERSAMPLING), round((y - radius) * SUPERSAMPLING))
        self.image.paste(colour, (*corner, corner[0] + mask.width, corner[1] + mask.height), mask)

    def finish(self) -> Image.Image:
        """The picture in its output size."""
        return self.image.reduce(SUPERSAMPLING)


@lru_cache(maxsize=64)
def _halo(size: int) -> Image.Image:
    """A square mask, opaque in the middle and empty at the rim."""
    return (
        ImageChops.invert(Image.radial_gradient("L"))
        .resize((size, size))
        .point([round(max(0, (v - 75)) ** 1.5 / (180**1.5) * 255) for v in range(256)])
    )
