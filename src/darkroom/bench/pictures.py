"""Pictures that requests start from, and whether what comes back is one."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image, ImageDraw

from .plan import Size

SIGNATURES = {"png": (0, b"\x89PNG"), "jpeg": (0, b"\xff\xd8\xff"), "webp": (8, b"WEBP"), "gif": (0, b"GIF8")}


class Picture(NamedTuple):
    """A picture that came back: `kind` is png, jpeg, webp or gif."""

    kind: str
    content: bytes


def kind_of(content: bytes) -> str | None:
    """What kind of picture these bytes begin as; None: none of those."""
    return next((kind for kind, (at, sign) in SIGNATURES.items() if content[at : at + len(sign)] == sign), None)


def draw_start(size: Size) -> bytes:
    """A PNG of an evening sky over dark land, to begin from."""
    sky = Image.linear_gradient("L").resize(size)
    tinted = Image.merge("RGB", (sky.point(lambda v: 60 + v * 0.7), sky.point(lambda v: 80 + v * 0.3), sky))
    ImageDraw.Draw(tinted).rectangle((0, size[1] * 2 // 3, size[0], size[1]), fill=(24, 36, 30))
    return _png(tinted)


def draw_mask(size: Size) -> bytes:
    """A PNG, white in the middle: there it is painted anew."""
    mask = Image.new("L", size, 0)
    width, height = size
    ImageDraw.Draw(mask).rectangle((width // 4, height // 4, width * 3 // 4, height * 3 // 4), fill=255)
    return _png(mask)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
