"""Outpainting: inpainting on a larger canvas, whose margins are painted and whose middle is the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import BadInput
from .values import shown

if TYPE_CHECKING:
    from PIL import Image

SIDES = ("left", "right", "top", "bottom")
MOST = 2048  # pixels of one margin


def margins_of(given: Mapping[str, Any]) -> Mapping[str, int]:
    """The margins asked for, all four, in pixels; empty where none are. Raises `BadInput`."""
    if "outpaint" not in given:
        return {}
    said = given["outpaint"]
    if not isinstance(said, Mapping) or not said or not said.keys() <= set(SIDES):
        raise BadInput(f"outpaint must be {{side: pixels}} with sides out of {', '.join(SIDES)}", field="outpaint")
    for side, pixels in said.items():
        if isinstance(pixels, bool) or not isinstance(pixels, int) or not 0 <= pixels <= MOST:
            what = f"outpaint.{side} must be a whole number of pixels from 0 to {MOST}, not {shown(pixels)}"
            raise BadInput(what, field="outpaint")
    if not any(said.values()):
        raise BadInput("outpaint adds nothing: one of its sides must be above 0", field="outpaint")
    if "image" not in given:
        raise BadInput("outpaint needs an image to add to", field="image")
    if "mask_image" in given:
        raise BadInput(
            "outpaint makes its own mask: give no mask_image, or both on the larger canvas", field="mask_image"
        )
    return {side: said.get(side, 0) for side in SIDES}


def widened(size: tuple[int, int], margins: Mapping[str, int], sign: int = 1) -> tuple[int, int]:
    """The size of the canvas for a picture of that size; with `sign` -1 of the picture on a canvas."""
    if not margins:
        return size
    across, down = margins["left"] + margins["right"], margins["top"] + margins["bottom"]
    return size[0] + sign * across, size[1] + sign * down


def canvas(picture: Image.Image, margins: Mapping[str, int]) -> tuple[Image.Image, Image.Image]:
    """The picture on its canvas, and the mask: white where it is to be painted.

    The edge is drawn out into the margins: with a strength below 1 that is what painting starts from.
    """
    import numpy
    from PIL import Image

    pads = ((margins["top"], margins["bottom"]), (margins["left"], margins["right"]))
    wide = numpy.pad(numpy.asarray(picture.convert("RGB")), (*pads, (0, 0)), mode="edge")
    mask = numpy.pad(numpy.zeros(picture.size[::-1], numpy.uint8), pads, constant_values=255)
    return Image.fromarray(wide), Image.fromarray(mask)
