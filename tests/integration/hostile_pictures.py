"""Files that a stranger may send: damaged, untrue, of the wrong kind; and odd ones that are pictures all the same."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

SIDES = (256, 256)
TEAL = (0, 128, 128)
PICTURE = Image.merge("RGB", [Image.linear_gradient("L"), Image.linear_gradient("L").rotate(90), Image.new("L", SIDES)])
NOISE = Image.effect_noise(SIDES, 80).convert("RGB")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, rows: int, extra: bytes = b"", is_colour: bool = False) -> bytes:
    """A PNG of zeros that says it is so large and holds so many rows, made without holding its pixels.

    Of one bit a pixel; `is_colour`: 8 bits of red, green, blue and alpha.
    """
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (width * 4 if is_colour else max(1, width // 8)))
    data = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, *((8, 6) if is_colour else (1, 0)), 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_that_says(width: int, height: int) -> bytes:
    data = bytearray(saved(PICTURE, "JPEG"))
    at = data.find(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_that_says(width: int, height: int) -> bytes:
    """A canvas of that size around a small picture."""
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + sides + saved(PICTURE, "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def lossless_webp_that_says(width: int, height: int) -> bytes:
    data = bytearray(saved(PICTURE, "WEBP", lossless=True))
    at = data.find(b"VP8L") + 9
    data[at : at + 4] = struct.pack("<I", (width - 1) | ((height - 1) << 14))
    return bytes(data)


def jpeg_of_many_scans(count: int) -> bytes:
    data = saved(Image.new("RGB", SIDES), "JPEG", progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * count + b"\xff\xd9"


def moving(kind: str) -> bytes:
    return saved(PICTURE, kind, save_all=True, append_images=[PICTURE.rotate(90), PICTURE.rotate(180)], duration=100)


TRUNCATED = {
    f"{kind} cut at {part:.0%}": saved(NOISE, kind)[: int(len(saved(NOISE, kind)) * part)]
    for kind in ("PNG", "JPEG", "WEBP")
    for part in (0.01, 0.5, 0.97)
}
HUGE = {
    "png of 60000 squared": png(60_000, 60_000, rows=1),
    "png of 2^31-1 squared": png(2**31 - 1, 2**31 - 1, rows=0),
    "jpeg of 65000 squared": jpeg_that_says(65_000, 65_000),
    "webp of 16383 squared": webp_that_says(16_383, 16_383),
    "webp of 2^24 squared": webp_that_says(2**24, 2**24),
    "lossless webp of 16383 squared": lossless_webp_that_says(16_383, 16_383),
    "png of 20000 squared, all there": png(20_000, 20_000, rows=20_000),
}
# Under Pillow's own limit and over ours; what their decoder says first is either.
LARGE = {
    "webp of 13000 squared": webp_that_says(13_000, 13_000),
    "lossless webp of 13000 squared": lossless_webp_that_says(13_000, 13_000),
    "lossless webp of 4096 squared with nothing behind it": lossless_webp_that_says(4096, 4096)[:64],
}
BOMBS = {
    "png with 100 MB of colour profile": png(
        8, 8, rows=8, extra=chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 100_000_000, 9))
    ),
    "png with 100 MB of text": png(8, 8, rows=8, extra=chunk(b"zTXt", b"c\0\0" + zlib.compress(b"a" * 100_000_000, 9))),
    "png with 100 texts of 1 MB": png(
        8, 8, rows=8, extra=chunk(b"zTXt", b"c\0\0" + zlib.compress(b"a" * 1_000_000, 9)) * 100
    ),
    "jpeg of a thousand scans": jpeg_of_many_scans(1000),
}
WRONG = {
    "gif": saved(PICTURE, "GIF"),
    "bmp": saved(PICTURE, "BMP"),
    "tiff": saved(PICTURE, "TIFF"),
    "ico": saved(PICTURE, "ICO"),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "html": b"<!doctype html><script>alert(1)</script>",
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "zip": b"PK\x03\x04" + b"\0" * 60,
    "elf": b"\x7fELF" + b"\0" * 60,
    "zeros": b"\0" * 4096,
    "a png's signature alone": b"\x89PNG\r\n\x1a\n",
    "html before a png": b"<script>alert(1)</script>" + saved(PICTURE, "PNG"),
    "a gif's head before a png": b"GIF89a" + saved(PICTURE, "PNG"),
}
MOVING = {"moving gif": moving("GIF"), "moving png": moving("PNG"), "moving webp": moving("WEBP")}
UNREADABLE = {**TRUNCATED, **BOMBS, **WRONG, **MOVING}


def turned(kind: str) -> bytes:
    """A picture of 192x320 as a camera held on its side stores it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = PICTURE.resize((192, 320))
    return saved(upright.rotate(90, expand=True), kind, exif=exif, **({} if kind == "PNG" else {"quality": 95}))


def wide_grey() -> bytes:
    """16 bits a pixel: a Pillow that cuts off what is above 8 makes it white."""
    raw = b"".join(struct.pack("<H", 257 * level) for level in Image.linear_gradient("L").tobytes())
    return saved(Image.frombytes("I;16", SIDES, raw), "PNG")


def wide_colour() -> bytes:
    levels = PICTURE.tobytes()
    rows = [levels[at : at + 768] for at in range(0, len(levels), 768)]
    wide = b"".join(b"\0" + b"".join(bytes((level, level)) for level in row) for row in rows)
    head = struct.pack(">IIBBBBB", 256, 256, 16, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(wide))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


GREY = Image.linear_gradient("L").convert("RGB")
# What is taken, and how a person sees it.
TAKEN: dict[str, tuple[bytes, Image.Image]] = {
    "plain png": (saved(PICTURE, "PNG"), PICTURE),
    "cmyk jpeg": (saved(Image.new("CMYK", SIDES, (0, 255, 255, 0)), "JPEG"), Image.new("RGB", SIDES, (254, 0, 0))),
    "progressive jpeg": (saved(PICTURE, "JPEG", progressive=True, quality=95), PICTURE),
    "grey jpeg": (saved(Image.linear_gradient("L"), "JPEG", quality=95), GREY),
    "grey png of 16 bits": (wide_grey(), GREY),
    "colour png of 16 bits": (wide_colour(), PICTURE),
    "png with a palette": (saved(Image.new("RGB", SIDES, TEAL).quantize(4), "PNG"), Image.new("RGB", SIDES, TEAL)),
    "black and white png": (saved(Image.new("1", SIDES, 1), "PNG"), Image.new("RGB", SIDES, "white")),
    "interlaced webp, lossless": (saved(PICTURE, "WEBP", lossless=True), PICTURE),
    "camera's jpeg with further pictures": (moving("MPO"), PICTURE),
    "jpeg turned by its camera": (turned("JPEG"), PICTURE.resize((192, 320))),
    "png turned by its camera": (turned("PNG"), PICTURE.resize((192, 320))),
    "webp turned by its camera": (turned("WEBP"), PICTURE.resize((192, 320))),
    "png with html behind it": (saved(PICTURE, "PNG") + b"<script>alert(1)</script>", PICTURE),
    "jpeg with a zip behind it": (saved(PICTURE, "JPEG", quality=95) + WRONG["zip"], PICTURE),
}
