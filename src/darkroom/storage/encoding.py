"""Pictures out, in the format that was asked for, with the settings that made them inside or with nothing but pixels.

            the JSON that we read back    the line that other programs read
    PNG     text chunk `darkroom`         text chunk `parameters`
    JPEG    XMP                           EXIF UserComment
    WebP    XMP                           EXIF UserComment

The same picture and settings give the same bytes (under one Pillow: its codecs change with their releases).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image

from ..errors import BadInput
from .images import PNG_OPTIONS, encode_png, parameters_of, xmp_of

FORMATS: Mapping[str, tuple[str, str]] = {
    "png": ("image/png", ".png"),
    "jpeg": ("image/jpeg", ".jpg"),
    "webp": ("image/webp", ".webp"),
}
DEFAULT_QUALITY = 90
QUALITIES = range(1, 101)
SEGMENT = 65_000  # bytes that one JPEG segment holds, less what names it
PREVIEW_SIDE = 192  # pixels
PREVIEW_QUALITY = 70


def check_output(format: str, quality: int | None) -> None:  # noqa: A002  # the API's own word
    """Raise `BadInput` unless pictures can be written so; for the door, where it is said before the work."""
    if format not in FORMATS:
        raise BadInput(f"output.format {format!r} is not known: give {', '.join(FORMATS)}", field="output.format")
    if quality is not None and quality not in QUALITIES:
        raise BadInput(f"output.quality {quality!r} is not allowed: give 1 to 100", field="output.quality")


def encode(
    image: Image.Image,
    settings: Mapping[str, Any],
    format: str = "png",  # noqa: A002  # the API's own word
    quality: int | None = None,
    keep_metadata: bool = True,
) -> tuple[bytes, str, str]:
    """The picture's bytes, content type and file suffix; raises `BadInput` with the field.

    `quality` is 1 to 100 as the codecs mean it, 90 when None; PNG loses nothing and has none. Without `keep_metadata`
    there is nothing in the file but pixels.
    """
    check_output(format, quality)
    content_type, suffix = FORMATS[format]
    bare = image.copy()
    bare.info = {}  # what the pipeline's own inputs carried is none of the output's
    if format == "png":
        data = encode_png(bare, settings) if keep_metadata else _saved(bare, "PNG", **PNG_OPTIONS)
        return data, content_type, suffix
    extra = _metadata(settings, format) if keep_metadata else {}
    return (
        _saved(_opaque(bare, format), format.upper(), quality=quality or DEFAULT_QUALITY, **extra),
        content_type,
        suffix,
    )


def preview_data_url(image: Image.Image, most_side: int = PREVIEW_SIDE) -> str:
    """A small JPEG of it, as a data URL; `most_side` in pixels is the longer side's, smaller pictures keep theirs."""
    small = image.convert("RGB")
    small.thumbnail((most_side, most_side), Image.Resampling.BILINEAR)
    small.info = {}
    content = _saved(small, "JPEG", quality=PREVIEW_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"


def _saved(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def _opaque(image: Image.Image, format: str) -> Image.Image:  # noqa: A002
    if format == "jpeg" and image.has_transparency_data:
        raise BadInput(
            "output.format jpeg has no transparency, and this picture does: ask for png or webp", field="output.format"
        )
    return image


def _metadata(settings: Mapping[str, Any], format: str) -> dict[str, bytes]:  # noqa: A002
    extra = {"exif": _exif(parameters_of(settings)), "xmp": xmp_of(settings)}
    if format == "jpeg" and max(map(len, extra.values())) > SEGMENT:
        raise BadInput(
            "these settings are too long to go into a JPEG: ask for png or webp, or for keep_metadata false",
            field="output.format",
        )
    return extra


def _exif(text: str) -> bytes:
    """The text as EXIF UserComment, its character code "UNICODE" (Exif 2.32, 4.6.5).

    Big-endian throughout, as AUTOMATIC1111's web UI writes it: readers look for no other order.
    """
    exif = Image.Exif()
    exif.endian = ">"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif.tobytes()
