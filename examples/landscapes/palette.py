"""The colours of each time of day."""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """One time of day: the sky from top to horizon, its lights, and the tint it lays on land (factors per channel)."""

    sky: tuple[Colour, Colour, Colour]
    cloud: Colour
    cloud_shade: Colour
    light: Colour
    water: Colour
    ambient: tuple[float, float, float]
    rock: tuple[float, float, float]


PALETTES: dict[str, Palette] = {
    "dawn": Palette(
        ((156, 190, 232), (247, 196, 214), (255, 232, 206)),
        (255, 240, 240),
        (243, 196, 214),
        (255, 246, 196),
        (176, 190, 226),
        (0.98, 0.90, 0.94),
        (1.06, 1.0, 1.04),
    ),
    "day": Palette(
        ((38, 132, 226), (92, 178, 242), (206, 238, 252)),
        (255, 255, 255),
        (214, 232, 246),
        (255, 226, 64),
        (40, 136, 206),
        (1.0, 1.0, 1.0),
        (1.0, 1.0, 1.0),
    ),
    "sunset": Palette(
        ((84, 36, 112), (222, 66, 84), (255, 176, 56)),
        (248, 128, 96),
        (178, 64, 104),
        (255, 224, 116),
        (150, 66, 108),
        (0.80, 0.60, 0.58),
        (0.86, 0.66, 0.70),
    ),
    "night": Palette(
        ((8, 12, 44), (18, 28, 80), (46, 66, 132)),
        (72, 84, 138),
        (44, 54, 104),
        (246, 240, 206),
        (34, 54, 122),
        (0.34, 0.42, 0.58),
        (0.54, 0.54, 0.68),
    ),
    "storm": Palette(
        ((38, 44, 50), (72, 82, 86), (146, 156, 146)),
        (66, 72, 78),
        (40, 45, 51),
        (255, 244, 160),
        (62, 82, 88),
        (0.50, 0.55, 0.54),
        (0.62, 0.64, 0.64),
    ),
}

ROCKS: dict[str, Colour] = {"blue": (66, 112, 190), "purple": (142, 84, 184), "red": (204, 92, 62)}


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour `share` (0 to 1) of the way from the first to the second."""
    r, g, b = (round(a + (z - a) * share) for a, z in zip(first, second, strict=True))
    return (r, g, b)


def tint(colour: Colour, factors: tuple[float, float, float]) -> Colour:
    """The colour under a light, each channel multiplied and kept within a byte."""
    r, g, b = (min(255, round(c * f)) for c, f in zip(colour, factors, strict=True))
    return (r, g, b)


def scale(colour: Colour, factor: float) -> Colour:
    """The colour brightened or darkened evenly."""
    return tint(colour, (factor, factor, factor))
