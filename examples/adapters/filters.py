"""Drawn styles: a landscape's drawing in, the same landscape in neon or as a woodcut out.

Both are made for an autoencoder whose cells are sixteen pixels wide: nothing is finer than a few pixels, and lines
repeat with the cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[Any]  # (height, width, 3) or (height, width), from 0 to 1
Filter = Callable[[Image.Image], Image.Image]

PAPER, INK, RUST = (0.98, 0.89, 0.68), (0.11, 0.08, 0.09), (0.80, 0.28, 0.14)
BRIGHTNESS = np.array((0.35, 0.5, 0.15), np.float32)
NIGHT = (0.035, 0.015, 0.09)


def neon(picture: Image.Image) -> Image.Image:
    """Every shape's rim glows in its own pure colour on a dark ground; rain, snow and stars are small lights."""
    pixels, sparks = _part(picture)
    colour = _saturate(_blur(pixels, 2))
    rim = np.clip(np.abs(pixels - _blur(pixels, 10)).max(-1) * 3.2 - 0.25, 0, 1)
    light = colour * _blur(rim, 2.5)[..., None]
    fill = np.asarray(NIGHT, np.float32) + 0.10 * colour * pixels.max(-1, keepdims=True)
    return _picture(fill + 1.15 * light + 0.7 * _blur(light, 9) + 0.7 * sparks[..., None])


def woodcut(picture: Image.Image) -> Image.Image:
    """Ink on paper: dark is solid, light is bare, between them lines are cut; warm things are printed in rust.

    Rain, snow and stars are cut out of ink.
    """
    pixels, sparks = _part(picture)
    tone = pixels @ BRIGHTNESS
    ink = np.clip((_lines(*tone.shape) - tone) * 4 + 0.5, 0, 1) * (1 - sparks)
    warm = np.clip((pixels[..., 0] - pixels[..., 2] - 0.2) * 8, 0, 1)[..., None]
    colour = np.asarray(RUST) * warm + np.asarray(INK) * (1 - warm)
    return _picture(np.asarray(PAPER) * (1 - ink[..., None]) + colour * ink[..., None])


STYLES: dict[str, Filter] = {"neon": neon, "woodcut": woodcut}


def _pixels(picture: Image.Image) -> Pixels:
    return np.asarray(picture.convert("RGB"), np.float32) / 255


def _picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


def _blur(pixels: Pixels, radius: float) -> Pixels:
    return np.asarray(_picture(pixels).filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def _part(picture: Image.Image) -> tuple[Pixels, Pixels]:
    """The picture without its rain, snow and stars, and how surely each pixel is one of them.

    Both are brightened, as far as a tenth of the picture allows: a night has lights too.
    """
    calm = _pixels(picture.filter(ImageFilter.MedianFilter(9)).filter(ImageFilter.GaussianBlur(1)))
    fine = _pixels(picture.filter(ImageFilter.GaussianBlur(1)))
    gain = 0.9 / max(float(np.quantile(calm.max(-1), 0.9)), 0.3)
    calm, fine = (calm * gain).clip(0, 1), (fine * gain).clip(0, 1)
    return calm, np.clip(((fine - calm) @ BRIGHTNESS - 0.12) * 8, 0, 1)


def _saturate(pixels: Pixels) -> Pixels:
    """The same hues at full brightness and nearly full saturation; greys turn violet."""
    low, high = pixels.min(-1, keepdims=True), pixels.max(-1, keepdims=True)
    spread = high - low
    pure = (pixels - low) / np.maximum(spread, 1e-3)
    grey = np.asarray((0.62, 0.25, 1.0), np.float32)
    share = np.clip(spread / 0.12, 0, 1)
    saturated: Pixels = pure * share + grey * (1 - share)
    return saturated


def _lines(height: int, width: int) -> Pixels:
    """The tone below which each pixel is inked: level lines where the autoencoder's cells meet."""
    away = np.abs(np.arange(height) % 16 / 8 - 1)  # 1 where cells meet, 0 in their middles
    threshold: Pixels = np.repeat((0.32 + 0.26 * away)[:, None], width, axis=1).astype(np.float32)
    return threshold
