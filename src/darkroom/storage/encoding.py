"""What is made out, in the format asked for, with the settings that made it inside or with nothing but pixels.

            the JSON that we read back    the line that other programs read
    PNG     text chunk `darkroom`         text chunk `parameters`
    JPEG    XMP                           EXIF UserComment
    WebP    XMP                           EXIF UserComment
    MP4     tag `darkroom`                tag `parameters`
    WAV     RIFF chunk `drkr`

The same picture and settings give the same bytes (under one Pillow: its codecs change with their releases).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any, TypeAlias

from PIL import ExifTags, Image

from ..errors import BadInput
from .images import PNG_OPTIONS, encode_png, parameters_of, xmp_of
from .sounds import Sound, encode_wav
from .videos import Video, encode_mp4

PICTURES, VIDEOS, SOUNDS = "pictures", "videos", "sounds"
Made: TypeAlias = Image.Image | Video | Sound
FORMATS: Mapping[str, tuple[str, str]] = {
    "png": ("image/png", ".png"),
    "jpeg": ("image/jpeg", ".jpg"),
    "webp": ("image/webp", ".webp"),
    "mp4": ("video/mp4", ".mp4"),
    "wav": ("audio/wav", ".wav"),
}
# The usual one first.
FORMATS_OF: Mapping[str, tuple[str, ...]] = {PICTURES: ("png", "jpeg", "webp"), VIDEOS: ("mp4",), SOUNDS: ("wav",)}
WITH_QUALITY = ("jpeg", "webp")
DEFAULT_QUALITY = 90
QUALITIES = range(1, 101)
SEGMENT = 65_000  # bytes that one JPEG segment holds, less what names it
PREVIEW_SIDE = 192  # pixels
PREVIEW_QUALITY = 70


def check_output(format: str | None, quality: int | None) -> None:  # noqa: A002  # the API's own word
    """Raise `BadInput` unless something can be written so; for the door, where it is said before the work."""
    if format is not None and format not in FORMATS:
        raise BadInput(f"output.format {format!r} is not known: give {', '.join(FORMATS)}", field="output.format")
    if quality is not None and quality not in QUALITIES:
        raise BadInput(f"output.quality {quality!r} is not allowed: give 1 to 100", field="output.quality")


def format_for(kind: str, format: str | None, quality: int | None, model: str) -> str:  # noqa: A002  # the API's own word
    """The format that such things of a model are written in; None asks for the usual one. Raises `BadInput`."""
    chosen, fit = format or FORMATS_OF[kind][0], FORMATS_OF[kind]
    if chosen not in fit:
        raise BadInput(f"output.format {chosen}: {model} makes {kind}, in {', '.join(fit)}", field="output.format")
    if quality is not None and chosen not in WITH_QUALITY:
        raise BadInput(f"output.quality is for {', '.join(WITH_QUALITY)}; {chosen} has none", field="output.quality")
    return chosen


def encode(
    made: Made,
    settings: Mapping[str, Any],
    format: str | None = None,  # noqa: A002  # the API's own word
    quality: int | None = None,
    keep_metadata: bool = True,
) -> tuple[bytes, str, str]:
    """Its bytes, content type and file suffix; raises `BadInput` with the field.

    `quality` is 1 to 100 as the codecs mean it, 90 when None; PNG loses nothing and has none. Without `keep_metadata`
    there is nothing in the file but pixels.
    """
    check_output(format, quality)
    if isinstance(made, Video):
        return encode_mp4(made, settings if keep_metadata else None), *FORMATS["mp4"]
    if isinstance(made, Sound):
        return encode_wav(made, settings if keep_metadata else None), *FORMATS["wav"]
    return _encode_picture(made, settings, format or "png", quality, keep_metadata)


def _encode_picture(
    image: Image.Image,
    settings: Mapping[str, Any],
    format: str,  # noqa: A002
    quality: int | None,
    keep_metadata: bool,
) -> tuple[bytes, str, str]:
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


def shape_of(made: Made) -> dict[str, Any]:
    """What an artifact says of it: pixels, of a video its frames and how many a second, of a sound nothing more."""
    if isinstance(made, Sound):
        return {}
    width, height = made.size
    said: dict[str, Any] = {"width": width, "height": height}
    return {**said, "frames": len(made.frames), "fps": made.rate} if isinstance(made, Video) else said


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
