"""Pictures from outside, by upload, data URL or https URL: each is decoded once before anybody relies on it.

PNG, JPEG and WebP are taken, told by their bytes and never by a name or header. What moves (GIF, animated PNG and WebP)
is refused: which of its pictures was meant would be a guess.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import ssl
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import OutOfMemory, TooLarge, UnreadableImage
from .fetching import Fetch
from .guard import Resolver, resolve
from .images import READING_FAULTS, eight_bits

# By Pillow's name. MPO is what many cameras write: a JPEG with further pictures behind it.
KINDS = {
    "PNG": ("image/png", ".png"),
    "JPEG": ("image/jpeg", ".jpg"),
    "MPO": ("image/jpeg", ".jpg"),
    "WEBP": ("image/webp", ".webp"),
}
ALLOWED = "PNG, JPEG or WebP"
DATA_URL = re.compile(r"data:image/[\w.+-]+(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.IGNORECASE)
# What Pillow's decoders raise on damaged files beyond what they say; `Warning` where warnings are errors.
FAULTS = (*READING_FAULTS, EOFError, ArithmeticError, LookupError, TypeError, struct.error, zlib.error, Warning)
JPEG_SCAN = b"\xff\xda"  # the marker; inside a scan's data such bytes are escaped
MAX_SCANS = 100  # a progressive picture has about ten; each costs a few bytes, and a pass over all pixels


@dataclass(frozen=True)
class PictureLimits:
    """How large a picture from outside may be: bytes as sent, pixels when decoded; `timeout_s` for all of a fetch."""

    max_bytes: int
    max_pixels: int
    timeout_s: float = 20.0


@dataclass(frozen=True)
class Received:
    """A picture that came in and could be decoded; `width` and `height` in pixels as a person sees it, None of what is
    no picture."""

    data: bytes
    content_type: str
    suffix: str
    width: int | None
    height: int | None


def receive(data: bytes, field: str, limits: PictureLimits) -> Received:
    """Check uploaded bytes; raises `TooLarge` or `UnreadableImage` with the field."""
    kind, image = _decode(data, field, limits)
    content_type, suffix = KINDS[kind]
    return Received(data, content_type, suffix, image.width, image.height)


def decode_data_url(text: str, field: str, limits: PictureLimits) -> Received:
    """The picture in `data:image/…;base64,…` (RFC 2397); raises `TooLarge` or `UnreadableImage` with the field."""
    head = DATA_URL.match(text)
    if head is None:
        raise UnreadableImage(f"{field}: a data URL must begin with data:image/…;base64,", field=field)
    if (len(text) - head.end()) // 4 * 3 > limits.max_bytes + 2:
        raise _too_many_bytes(field, limits)
    try:
        data = base64.b64decode(text[head.end() :].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise UnreadableImage(f"{field}: what follows ;base64, is not base64: {error}", field=field) from error
    return receive(data, field, limits)


def fetch_url(
    url: str,
    field: str,
    limits: PictureLimits,
    allow_private: bool = False,
    *,
    resolver: Resolver = resolve,
    trust: ssl.SSLContext | None = None,
) -> Received:
    """The picture at an https URL; blocks for at most `limits.timeout_s` and the system's own time to resolve names.

    `allow_private` admits http and private addresses. Raises `BadInput` where nothing is fetched, `TooLarge`, or
    `UnreadableImage`, with the field. See `guard` for what is refused.
    """
    until = time.monotonic() + limits.timeout_s
    return receive(Fetch(field, limits.max_bytes, until, allow_private, resolver, trust).run(url), field, limits)


def read_input_picture(data: bytes, limits: PictureLimits, field: str = "image", mode: str = "RGB") -> Image.Image:
    """The picture as a person sees it (turned as its camera says), in `mode`.

    Raises `TooLarge` or `UnreadableImage` with the field.
    """
    with _telling(field, limits):
        return eight_bits(_decode(data, field, limits)[1]).convert(mode)


def read_transparent(data: bytes, limits: PictureLimits, field: str) -> bytes | None:
    """A mask of the same size as PNG, white where the picture is wholly transparent (alpha 0), black elsewhere.

    None where it nowhere is. Raises `TooLarge` or `UnreadableImage` with the field.
    """
    with _telling(field, limits):
        picture = eight_bits(_decode(data, field, limits)[1])
        if not picture.has_transparency_data:
            return None
        alpha = (picture if picture.mode in ("RGBA", "LA") else picture.convert("RGBA")).getchannel("A")
        mask = alpha.point(lambda value: 0 if value else 255)
        if mask.getbbox() is None:
            return None
        buffer = io.BytesIO()
        mask.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


def _decode(data: bytes, field: str, limits: PictureLimits) -> tuple[str, Image.Image]:
    """Its kind, and the picture with every pixel read and turned upright."""
    if len(data) > limits.max_bytes:
        raise _too_many_bytes(field, limits)
    with _telling(field, limits):
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
        kind = str(image.format)
        _check_still(image, kind, field)
        if image.width * image.height > limits.max_pixels:
            raise _too_many_pixels(field, limits)
        if kind in ("JPEG", "MPO") and data.count(JPEG_SCAN) > MAX_SCANS:
            raise UnreadableImage(f"{field} is a JPEG of more than {MAX_SCANS} scans: save it anew", field=field)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return kind, image


@contextmanager
def _telling(field: str, limits: PictureLimits) -> Iterator[None]:
    """Turn what Pillow raises over somebody's bytes into our errors."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"{field} is no picture that can be read: give {ALLOWED}", field=field) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(field, limits) from error
    except MemoryError as error:
        raise OutOfMemory(f"there is no memory for {field} just now: try again, or give a smaller one") from error
    except FAULTS as error:
        raise UnreadableImage(f"{field} is damaged and cannot be read as a picture: {error}", field=field) from error


def _check_still(image: Image.Image, kind: str, field: str) -> None:
    if kind != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise UnreadableImage(f"{field} moves: give one picture, as {ALLOWED}", field=field)


def _too_many_bytes(field: str, limits: PictureLimits) -> TooLarge:
    return TooLarge(f"{field} is larger than {limits.max_bytes} bytes", field=field)


def _too_many_pixels(field: str, limits: PictureLimits) -> TooLarge:
    most = min(limits.max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or limits.max_pixels))  # Pillow's own limit
    return TooLarge(f"{field} has more than {most} pixels", field=field)
