"""Contact sheets: many pictures in a grid."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image


def make_sheet(pictures: Sequence[Image.Image], columns: int, gap: int = 6) -> Image.Image:
    """Lay pictures out row by row, every cell as large as the largest picture; the gap is in pixels."""
    wide, tall = max(p.width for p in pictures), max(p.height for p in pictures)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (wide + gap) + gap, rows * (tall + gap) + gap), (250, 250, 248))
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        sheet.paste(picture, (gap + column * (wide + gap), gap + row * (tall + gap)))
    return sheet
